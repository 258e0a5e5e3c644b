"""Each export, read by the tool it is for: the same images get the same labels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers as tf
from PIL import Image

from ipo_dspy import CLIPClassifier
from ipo_dspy.exports.autodistill import AutodistillExporter
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.fiftyone import FiftyOneExporter
from ipo_dspy.exports.huggingface import HuggingFaceExporter, TransformersJSExporter
from ipo_dspy.exports.label_studio import LabelStudioExporter
from ipo_dspy.exports.open_clip import (
    CLIPBenchmarkExporter,
    OpenCLIPExporter,
    WebDatasetExporter,
)
from ipo_dspy.programs.probabilities import probabilities_of

pytestmark = pytest.mark.slow

NAMES = ("cat", "St. Bernard", "number_7", "chalk {x}")
TEMPLATE = "A {photo} of the <CLASS>, on a board."
ENSEMBLE = f"{TEMPLATE}\na <CLASS>"
PLAIN = ("cat", "pug", "board", "number")
Checkpoint = Callable[[str], Path]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Of the size of the tiny models, so that no library has to scale them."""
    generator = torch.Generator().manual_seed(3)
    return [
        Image.fromarray(
            torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8).numpy()
        )
        for _ in range(6)
    ]


def probabilities(program: CLIPClassifier, pictures: Sequence[Image.Image]) -> torch.Tensor:
    found = [probabilities_of(prediction) for prediction in program.predict_batch(pictures)]
    return torch.stack([torch.tensor(each.values) for each in found if each is not None])


def test_open_clip_gives_the_same_probabilities(
    checkpoint: Checkpoint, pictures: list[Image.Image], tmp_path: Path
) -> None:
    program = CLIPClassifier(NAMES, f"open_clip:tiny-vit/{checkpoint('tiny-vit')}", ENSEMBLE)
    file = tmp_path / "found.json"
    OpenCLIPExporter().write(file, Found(program))
    found = json.loads(file.read_text("utf-8"))
    model, _, preprocess = open_clip.create_model_and_transforms(
        found["model"], pretrained=found["pretrained"]
    )
    model.eval()
    with torch.no_grad():
        weights = open_clip.build_zero_shot_classifier(
            model, open_clip.get_tokenizer(found["model"]), found["classnames"], found["templates"]
        )
        images = model.encode_image(torch.stack([preprocess(p) for p in pictures]), normalize=True)
        logits = model.logit_scale.exp() * images @ weights
    torch.testing.assert_close(
        logits.softmax(-1), probabilities(program, pictures), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("beside_shards", [False, True])
def test_clip_benchmark_finds_the_same_labels(
    checkpoint: Checkpoint, pictures: list[Image.Image], tmp_path: Path, beside_shards: bool
) -> None:
    pytest.importorskip("clip_benchmark", reason="pip install clip_benchmark")
    pytest.importorskip("webdataset", reason="pip install webdataset")
    from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
    from clip_benchmark.metrics.zeroshot_classification import (
        run_classification,
        zero_shot_classifier,
    )

    file = checkpoint("tiny-vit")
    program = CLIPClassifier(NAMES, f"open_clip:tiny-vit/{file}", ENSEMBLE)
    ours = probabilities(program, pictures).argmax(-1).tolist()
    root = write_shards(tmp_path / "shards", pictures, ours)
    own: dict[str, str] = {}
    if beside_shards:
        WebDatasetExporter().write(root, Found(program))
    else:
        (root / "classnames.txt").write_text("wrong\n" * len(NAMES))
        CLIPBenchmarkExporter().write(tmp_path / "own", Found(program, dataset="wds/own"))
        own = {
            "custom_template_file": str(tmp_path / "own/templates.json"),
            "custom_classname_file": str(tmp_path / "own/classnames.json"),
        }
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-vit", pretrained=str(file))
    model.eval()
    dataset = build_dataset(
        "wds/own", root=str(root), transform=preprocess, split="test", download=False, **own
    )
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, collate_fn=get_dataset_collate_fn("wds/own")
    )
    # Its `evaluate` does not go with NumPy 2.4; these two make up what that reports on.
    classifier = zero_shot_classifier(
        model,
        open_clip.get_tokenizer("tiny-vit"),
        dataset.classes,
        dataset.templates,
        "cpu",
        amp=False,
    )
    logits, labels = run_classification(model, classifier, loader, "cpu", amp=False)
    assert logits.argmax(-1).tolist() == labels.tolist() == ours


def write_shards(root: Path, pictures: Sequence[Image.Image], labels: Sequence[int]) -> Path:
    (root / "test").mkdir(parents=True)
    (root / "test/nshards.txt").write_text("1")
    with tarfile.open(root / "test/0.tar", "w") as tar:
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            image = BytesIO()
            picture.save(image, "PNG")
            for ending, content in (("png", image.getvalue()), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(content)
                tar.addfile(info, BytesIO(content))
    return root


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip_2_of_one_size"])
def test_the_pipeline_of_transformers_gives_the_same(
    name: str, saved_encoder: Checkpoint, pictures: list[Image.Image], tmp_path: Path
) -> None:
    folder = saved_encoder(name)
    program = CLIPClassifier(NAMES, f"hf:{folder}", TEMPLATE)
    file = tmp_path / "found.json"
    HuggingFaceExporter().write(file, Found(program))
    found = json.loads(file.read_text("utf-8"))
    classify = tf.pipeline("zero-shot-image-classification", model=found["model"])
    ours = probabilities(program, pictures)
    for picture, expected in zip(pictures, ours, strict=True):
        results = classify(
            picture,
            candidate_labels=found["candidate_labels"],
            hypothesis_template=found["hypothesis_template"],
        )
        scores = {result["label"]: result["score"] for result in results}
        theirs = torch.tensor([scores[label] for label in found["candidate_labels"]])
        assert int(theirs.argmax()) == int(expected.argmax())
        if name == "clip":
            torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=0)


SCRIPT = """
import { pipeline, env, RawImage } from '@huggingface/transformers';
import { readFileSync } from 'node:fs';
env.allowRemoteModels = false;
env.localModelPath = process.argv[2];
const found = JSON.parse(readFileSync(process.argv[3], 'utf8'));
const classify = await pipeline('zero-shot-image-classification', process.argv[4],
                                { dtype: 'fp32' });
const images = await Promise.all(process.argv.slice(5).map(path => RawImage.read(path)));
const results = [];
for (const image of images) {
  results.push(await classify(image, found.candidate_labels,
                              { hypothesis_template: found.hypothesis_template }));
}
console.log(JSON.stringify(results));
"""


class _Logits(torch.nn.Module):
    """What transformers.js expects of CLIP's ONNX file."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, pixel_values: Any, attention_mask: Any) -> Any:
        found = self.model(
            input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask
        )
        return found.logits_per_image


def test_transformers_js_gives_the_same_probabilities(
    saved_encoder: Checkpoint, pictures: list[Image.Image], tmp_path: Path
) -> None:
    modules = os.environ.get("IPO_DSPY_NODE_MODULES")
    if not modules or shutil.which("node") is None:
        pytest.skip(
            "needs Node.js, and IPO_DSPY_NODE_MODULES, a folder where "
            "`npm install @huggingface/transformers` was done"
        )
    pytest.importorskip("onnx", reason="pip install onnx onnxscript")
    folder = shutil.copytree(saved_encoder("clip"), tmp_path / "models/tiny")
    program = CLIPClassifier(NAMES, f"hf:{saved_encoder('clip')}", TEMPLATE)
    file = tmp_path / "found.json"
    TransformersJSExporter().write(file, Found(program))
    write_onnx(folder)
    files = []
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    script = Path(modules) / "ipo_round_trip.mjs"
    script.write_text(SCRIPT)
    done = subprocess.run(
        ["node", str(script), str(tmp_path / "models"), str(file), "tiny", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    script.unlink()
    assert done.returncode == 0, done.stderr
    labels = json.loads(file.read_text("utf-8"))["candidate_labels"]
    for results, expected in zip(
        json.loads(done.stdout), probabilities(program, pictures), strict=True
    ):
        scores = {result["label"]: result["score"] for result in results}
        theirs = torch.tensor([scores[label] for label in labels])
        torch.testing.assert_close(theirs, expected, atol=1e-4, rtol=0)


def write_onnx(folder: Path) -> None:
    model = tf.CLIPModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.tensor([[49406, 320, 49407], [49406, 321, 49407]])
    example = (ids, torch.zeros(1, 3, 32, 32), torch.ones_like(ids))
    names = ["input_ids", "pixel_values", "attention_mask"]
    (folder / "onnx").mkdir()
    texts = {0: "texts", 1: "length"}
    torch.onnx.export(
        _Logits(model),
        example,
        folder / "onnx/model.onnx",
        input_names=names,
        output_names=["logits_per_image"],
        dynamic_axes={
            "input_ids": texts,
            "attention_mask": texts,
            "pixel_values": {0: "images"},
            "logits_per_image": {0: "images", 1: "texts"},
        },
        dynamo=False,
        opset_version=17,
    )


def test_autodistill_takes_the_captions(tmp_path: Path) -> None:
    detection = pytest.importorskip("autodistill.detection", reason="pip install autodistill")
    program = CLIPClassifier(NAMES, "demo", TEMPLATE)
    AutodistillExporter().write(tmp_path / "captions.json", Found(program))
    captions = json.loads((tmp_path / "captions.json").read_text("utf-8"))
    ontology = detection.CaptionOntology(captions)
    assert ontology.classes() == list(NAMES)
    assert ontology.prompts() == [program.template.fill(name)[0] for name in NAMES]


def test_label_studio_takes_the_tasks(tmp_path: Path) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="pip install label-studio-sdk"
    )
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    program = CLIPClassifier(["a <cat>", 'the "dog" & co'], "demo", TEMPLATE)
    what = Found(program, images=[tmp_path / "one.png"])
    exporter = LabelStudioExporter()
    exporter.write(tmp_path / "tasks.json", what)
    setup = [line for line in exporter.usage(tmp_path, what) if not line.startswith("#")]
    label = interface.LabelInterface("\n".join(setup))
    label.validate()
    [task] = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    [prediction] = task.pop("predictions")
    assert label.validate_task(task)
    assert label.validate_prediction(prediction)


@pytest.mark.parametrize("template", ["a photo of the <CLASS>", TEMPLATE])
@pytest.mark.parametrize("library", ["open_clip", "hf"])
def test_fiftyone_gives_the_same_probabilities(
    template: str,
    library: str,
    checkpoint: Checkpoint,
    saved_encoder: Checkpoint,
    pictures: list[Image.Image],
    tmp_path: Path,
) -> None:
    spec = (
        f"open_clip:tiny-vit/{checkpoint('tiny-vit')}"
        if library == "open_clip"
        else f"hf:{saved_encoder('clip')}"
    )
    program = CLIPClassifier(PLAIN, spec, template)
    FiftyOneExporter().write(tmp_path / "found.json", Found(program))
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    pytest.importorskip("fiftyone", reason="pip install fiftyone")
    import fiftyone.zoo as foz
    import numpy as np

    model = foz.load_zoo_model(found["name"], **found["arguments"])
    for picture, expected in zip(pictures, probabilities(program, pictures), strict=True):
        result = model.predict(np.array(picture))
        assert found["labels"][result.label] == PLAIN[int(expected.argmax())]
        assert result.confidence == pytest.approx(float(expected.max()), abs=1e-4)
