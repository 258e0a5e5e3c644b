"""Files of programs, damaged in every way: the documented error, one sentence, nothing changed."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from pathlib import Path
from typing import Any

import dspy
import orjson
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipo_dspy import CLIPClassifier, CoOp, TipAdapter
from ipo_dspy.errors import ArgumentError, EncoderError, IPOError, StorageError
from ipo_dspy.testing import ColourEncoder

DATA = Path(__file__).parent / "data"
SAVED: dict[str, Any] = json.loads((DATA / "program_0_1_demos.json").read_text())
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = [at]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else [])
    )
    for key, item in items:
        inner += places(item, (*at, key))
    return inner


PLACES = [place for place in places(SAVED) if len(place) > 1 and place[0] == "predict"]


def load(content: bytes, folder: Path) -> CLIPClassifier:
    path = folder / "program.json"
    path.write_bytes(content)
    return CLIPClassifier.from_file(path, ColourEncoder())


@pytest.mark.slow
@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON, st.booleans())
def test_any_value_anywhere_loads_or_is_refused(
    place: tuple[Any, ...], value: Any, remove: bool
) -> None:
    state = copy.deepcopy(SAVED)
    parent: Any = state
    for key in place[:-1]:
        parent = parent[key]
    if remove:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    program = CLIPClassifier(["x", "y"], ColourEncoder(), "an old <CLASS>")
    refused = False
    try:
        program.predict.load_state(state["predict"])
    except IPOError:
        refused = True
    if refused:
        assert (program.classnames, program.template.text) == (("x", "y"), "an old <CLASS>")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 5000, b'{"predict": null}',
        b'{"predict": {"clip": []}}', b'{"predict": {"clip": {"encoder": "demo"}}}',
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        load(content, tmp_path)
    assert "\n" not in str(caught.value)
    program = CLIPClassifier(["x"], ColourEncoder())
    with pytest.raises(ArgumentError):
        program.load(tmp_path / "program.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        CLIPClassifier.from_file(tmp_path / "nowhere.json")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "program.json")
    with pytest.raises(StorageError, match="a pipe or a device"):
        CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())


def test_the_place_of_the_damage_is_named(tmp_path: Path) -> None:
    state = copy.deepcopy(SAVED)
    state["predict"]["clip"]["demo_cache"]["weight"] = "2"
    with pytest.raises(ArgumentError, match=r"clip\.demo_cache\.weight"):
        load(orjson.dumps(state), tmp_path)


def test_no_language_model_and_no_attribute_comes_out_of_a_file(tmp_path: Path) -> None:
    state = copy.deepcopy(SAVED)
    state["predict"]["lm"] = {"model": "openai/x", "api_base": "http://127.0.0.1:9"}
    state["predict"] |= {"embedder": "x", "forward": "x", "config": {"x": 1}, "stage": "x"}
    program = load(orjson.dumps(state), tmp_path)
    assert program.predict.lm is None
    assert callable(program.predict.forward)
    assert program.predict.config == {}
    assert isinstance(program.embedder.encoder, ColourEncoder)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.png", "https://127.0.0.1:9/a.png", ""])
def test_demos_are_not_fetched(address: str, tmp_path: Path) -> None:
    state = copy.deepcopy(SAVED)
    state["predict"]["demos"][1]["image"] = address
    with pytest.raises(ArgumentError, match="Demo 1"):
        load(orjson.dumps(state), tmp_path)


def test_weights_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for spec in ("hf:somebody/model", "open_clip:ViT-B-32/laion2b_s34b_b79k"):
        state = copy.deepcopy(SAVED)
        state["predict"]["clip"]["encoder"] = spec
        (tmp_path / "program.json").write_bytes(orjson.dumps(state))
        with pytest.raises(EncoderError, match="clip=load_encoder"):
            CLIPClassifier.from_file(tmp_path / "program.json")
        with pytest.raises(EncoderError):
            CLIPClassifier(["x"], ColourEncoder()).load(tmp_path / "program.json")


odd = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1e308,
        10**9,
        2**70,
        "",
        "x",
        "\u202ecat",
        "a" * 10_000,
        [],
        {},
        [[]],
        {"a": 1},
        ["cat"] * 3,
        "file:///etc/passwd",
        "http://127.0.0.1:9/x",
        "../../x.safetensors",
        "ipo_dspy.cli:main",
        "open_clip:local-dir:/tmp",
    ]
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A program with a cache and demos, and a learned one."""
    folder = tmp_path_factory.mktemp("saved")
    image = PIL.Image.new("RGB", (8, 8), "red")
    program = CLIPClassifier(["cat", "dog"], demo_cache=TipAdapter())
    program.predict.demos = [dspy.Example(image=image, label="cat")]
    examples = [dspy.Example(image=image, label="cat").with_inputs("image")]
    learned = CoOp(epochs=1, progress=False).compile(
        CLIPClassifier(["cat", "dog"]), trainset=examples
    )
    files = [folder / "plain.json", folder / "learned.json"]
    for each, file in zip((program, learned), files, strict=True):
        each.save(file)
    return files


@pytest.mark.parametrize("names", ["", [], {}, "cat", ["cat", "cat"], ["x" * 10**5]])
def test_class_names_of_a_learned_prompt_are_checked_like_those_of_the_program(
    names: Any, saved: list[Path]
) -> None:
    state = json.loads(saved[1].read_text())
    state["predict"]["clip"]["learned"]["classnames"] = names
    changed = saved[1].with_name("changed.json")
    changed.write_text(json.dumps(state))
    with pytest.raises(ArgumentError):
        CLIPClassifier.from_file(changed)(image=PIL.Image.new("RGB", (8, 8)))


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_file_it_loads_and_works_or_is_refused(
    saved: list[Path], data: st.DataObject
) -> None:
    file = data.draw(st.sampled_from(saved))
    state = json.loads(file.read_text())
    place = data.draw(st.sampled_from(places(state)[1:]))
    inner = state
    for key in place[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[place[-1]] = data.draw(odd)
    else:
        del inner[place[-1]]
    changed = file.with_name("changed.json")
    changed.write_text(json.dumps(state))
    with contextlib.suppress(IPOError):
        CLIPClassifier.from_file(changed)(image=PIL.Image.new("RGB", (8, 8)))
    with contextlib.suppress(IPOError):
        CLIPClassifier(["cat", "dog"]).load(changed)


def test_a_state_without_a_predictor_is_none_of_a_classifier() -> None:
    with pytest.raises(ArgumentError):
        CLIPClassifier(["cat", "dog"]).load_state({"metadata": {}})
