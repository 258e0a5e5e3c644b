import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy import ArgumentError, CLIPClassifier, StorageError, TipAdapter
from ipo_dspy.demo.world import draw
from ipo_dspy.exports.autodistill import AutodistillExporter
from ipo_dspy.exports.base import Exporter, Found
from ipo_dspy.exports.fiftyone import FiftyOneExporter
from ipo_dspy.exports.huggingface import HuggingFaceExporter, TransformersJSExporter
from ipo_dspy.exports.label_studio import LabelStudioExporter
from ipo_dspy.exports.open_clip import (
    CLIPBenchmarkExporter,
    OpenCLIPExporter,
    WebDatasetExporter,
)
from ipo_dspy.images.names import TwinName
from ipo_dspy.testing import ColourEncoder, check_exporter

NAMES = ("red", "green", "blue_sky")
BRACES = "a crisp {flat} <CLASS>, 100 %"
ENSEMBLE = "a crisp <CLASS>\na flat <CLASS>"
ALL = (
    OpenCLIPExporter,
    CLIPBenchmarkExporter,
    WebDatasetExporter,
    HuggingFaceExporter,
    TransformersJSExporter,
    FiftyOneExporter,
    AutodistillExporter,
)
ONE_TEMPLATE = (
    HuggingFaceExporter,
    TransformersJSExporter,
    FiftyOneExporter,
    AutodistillExporter,
)


class Named(ColourEncoder):
    """An encoder under the name of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = "open_clip:ViT-B-32-quickgelu/openai"


def found(template: str = BRACES, names: Any = NAMES, **settings: Any) -> Found:
    return Found(CLIPClassifier(names, Named(), template, **settings))


def written(exporter: Exporter, what: Found, folder: Path) -> Any:
    exporter.write(folder / "out.json", what)
    return json.loads((folder / "out.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", ALL)
def test_each_keeps_the_promises_of_an_exporter(kind: type, tmp_path: Path) -> None:
    check_exporter(kind(), found(), tmp_path)
    assert kind().usage(tmp_path / "out.json", found())


def test_open_clip_doubles_braces_and_keeps_ensembles(tmp_path: Path) -> None:
    content = written(OpenCLIPExporter(), found(), tmp_path)
    assert [line.format("red") for line in content["templates"]] == ["a crisp {flat} red, 100 %"]
    assert content["classnames"] == ["red", "green", "blue sky"]
    assert content["labels"] == list(NAMES)
    assert (content["model"], content["pretrained"]) == ("ViT-B-32-quickgelu", "openai")
    assert len(written(OpenCLIPExporter(), found(ENSEMBLE), tmp_path)["templates"]) == 2


def test_clip_benchmark_is_told_which_data_set(tmp_path: Path) -> None:
    what = Found(found().program, dataset="wds/own")
    CLIPBenchmarkExporter().write(tmp_path / "new", what)
    templates = json.loads((tmp_path / "new/templates.json").read_text("utf-8"))
    assert templates["wds/own"][0].format(c="red") == "a crisp {flat} red, 100 %"
    names = json.loads((tmp_path / "new/classnames.json").read_text("utf-8"))
    assert names == {"wds/own": ["red", "green", "blue sky"]}


def test_labels_of_shards_keep_their_class_names(tmp_path: Path) -> None:
    names = tmp_path / "classnames.txt"
    names.write_text("green\nblue sky\nred\n")
    WebDatasetExporter().write(tmp_path, found())
    assert names.read_text() == "green\nblue sky\nred\n"
    names.write_text("cat\ndog\n")
    with pytest.raises(ArgumentError, match="classnames"):
        WebDatasetExporter().write(tmp_path, found())
    assert names.read_text() == "cat\ndog\n"


def test_javascript_gets_single_braces(tmp_path: Path) -> None:
    content = written(TransformersJSExporter(), found(), tmp_path)
    assert content["hypothesis_template"] == "a crisp {flat} {}, 100 %"
    assert content["model"] == "Xenova/clip-vit-base-patch32"
    python = written(HuggingFaceExporter(), found(), tmp_path)
    assert python["hypothesis_template"].format("red") == "a crisp {flat} red, 100 %"
    assert python["model"] == "openai/clip-vit-base-patch32"


@pytest.mark.parametrize("name", ["$& co", "a$$b", "$`", "$'"])
def test_names_that_act_in_javascript_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        TransformersJSExporter().write(tmp_path / "x.json", found(names=[name, "red"]))


def test_fiftyone_gets_a_prefix_or_whole_captions(tmp_path: Path) -> None:
    prefix = written(FiftyOneExporter(), found("a crisp <CLASS>"), tmp_path)
    assert prefix["arguments"]["text_prompt"] == "a crisp"
    assert prefix["labels"] == {"red": "red", "green": "green", "blue sky": "blue_sky"}
    whole = written(FiftyOneExporter(), found("a <CLASS>."), tmp_path)
    assert whole["arguments"]["text_prompt"] == ""
    assert whole["labels"] == {"a red.": "red", "a green.": "green", "a blue sky.": "blue_sky"}
    for content in (prefix, whole):
        assert set(content["labels"]) == set(content["arguments"]["classes"])


def test_autodistill_gets_captions(tmp_path: Path) -> None:
    captions = written(AutodistillExporter(), found("a <CLASS>."), tmp_path)
    assert captions == {"a red.": "red", "a green.": "green", "a blue sky.": "blue_sky"}


@pytest.mark.parametrize("kind", ONE_TEMPLATE)
def test_ensembles_are_refused_where_one_template_is_taken(kind: type, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        kind().write(tmp_path / "x.json", found(ENSEMBLE))


@pytest.mark.parametrize("kind", ONE_TEMPLATE)
def test_two_classes_of_one_name_are_refused_where_names_tell_apart(
    kind: type, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        kind().write(tmp_path / "x.json", found(names=["red", TwinName("red"), "green"]))


@pytest.mark.parametrize("kind", ALL)
def test_demos_that_count_are_refused(kind: type, tmp_path: Path) -> None:
    what = found(demo_cache=TipAdapter())
    what.program.predict.demos = [dspy.Example(image=draw("cup", "chalk", seed=1), label="red")]
    with pytest.raises(ArgumentError, match="program"):
        kind().write(tmp_path / "x", what)


def test_fiftyone_without_a_model_for_the_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        FiftyOneExporter().write(
            tmp_path / "x.json", Found(CLIPClassifier(NAMES, ColourEncoder(), BRACES))
        )


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("ViT-B-32-quickgelu/openai", "clip-vit-base-patch32"),
        ("ViT-L-14-336-quickgelu/openai", "clip-vit-large-patch14-336"),
        ("ViT-B-16-quickgelu/laion400m", None),
    ],
)
def test_the_hub_has_the_weights_of_openai_under_its_own_names(
    spec: str, name: str | None, tmp_path: Path
) -> None:
    what = found()
    what.program.embedder.encoder.spec = f"open_clip:{spec}"
    python = written(HuggingFaceExporter(), what, tmp_path)["model"]
    javascript = written(TransformersJSExporter(), what, tmp_path)["model"]
    assert python == (None if name is None else f"openai/{name}")
    assert javascript == (None if name is None else f"Xenova/{name}")


@pytest.mark.parametrize("kind", [CLIPBenchmarkExporter, WebDatasetExporter])
def test_a_folder_that_cannot_be_made_is_an_error_of_the_tree(kind: type, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        kind().write(tmp_path / "file", found())


class TestLabelStudio:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        file = tmp_path / "a cup ü.png"
        draw("cup", "chalk", seed=1).save(file)
        return file

    @pytest.fixture
    def what(self, image: Path) -> Found:
        program = CLIPClassifier(["cup", "key"], "demo", "a chalk drawing of a <CLASS>")
        return Found(program, images=[image])

    def test_it_keeps_the_promises_of_an_exporter(self, what: Found, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        check_exporter(LabelStudioExporter(), what, tmp_path / "out")

    def test_each_image_has_the_label_of_the_program(self, what: Found, tmp_path: Path) -> None:
        [task] = written(LabelStudioExporter(), what, tmp_path)
        [prediction] = task["predictions"]
        one = what.program(image=what.images[0])
        assert prediction["result"][0]["value"]["choices"] == [one.label]
        assert prediction["score"] == pytest.approx(one.scores[one.label])
        assert task["data"]["image"].endswith("a%20cup%20%C3%BC.png")

    def test_what_cannot_be_read_is_a_task_without_a_label(
        self, what: Found, tmp_path: Path
    ) -> None:
        gone = Found(what.program, images=[tmp_path / "gone.png"])
        [task] = written(LabelStudioExporter(), gone, tmp_path)
        assert "predictions" not in task

    def test_no_images_are_told(self, what: Found, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="--images"):
            LabelStudioExporter().write(tmp_path / "x.json", Found(what.program))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siglip", "siglip_2_of_one_size", "siglip_2"])
def test_siglip_is_handed_what_it_reads(
    name: str, saved_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    spec = f"hf:{saved_encoder(name)}"
    what = Found(CLIPClassifier(["St. Bernard", "cat"], spec, "A photo, of {the} <CLASS>."))
    content = written(HuggingFaceExporter(), what, tmp_path)
    assert content["hypothesis_template"] == "a photo of the {}"
    assert content["candidate_labels"] == ["st bernard", "cat"]
    assert content["labels"] == ["St. Bernard", "cat"]


@pytest.mark.parametrize("exporter", ALL)
@pytest.mark.parametrize("settings", [{"class_texts": {"red": ["crisp"]}}, {"describe": 2}])
def test_texts_for_each_class_are_refused_with_the_export_that_carries_them(
    exporter: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        exporter().write(tmp_path / "out", found("a <CLASS>", **settings))
