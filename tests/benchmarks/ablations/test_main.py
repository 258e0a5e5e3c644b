"""The ablations on a small data set in CoOp's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from huggingface_hub import constants

from benchmarks.ablations import __main__ as module
from benchmarks.poster import POSTER
from ipo_dspy.local_models.presets import read_presets

from ..conftest import Command

pytestmark = pytest.mark.slow

FEW = ("--datasets", "EuroSAT", "--steps", 2, "--prompts-per-step", 2, "--seeds", 1)


@pytest.fixture
def run(command: Callable[[ModuleType], Command], root: Path) -> Command:
    of_module = command(module)
    return lambda name, *arguments: of_module(name, "--root", root, *FEW, *arguments)


def rows(name: str) -> list[dict[str, Any]]:
    return json.loads(Path("results", f"ablation_{name}.json").read_text())["rows"]


def test_descriptions_are_compared_with_none(run: Command) -> None:
    outcome = run("descriptions")
    assert outcome.code == 0
    without, described = rows("descriptions")
    assert (without["value"], described["value"]) == ("none", "vocabulary")
    assert without["poster"] == {"base": 71.12, "novel": 76.03, "h": 73.49}
    assert described["poster"] == {"base": 71.76, "novel": 77.0, "h": 74.29}
    assert without["figures"].keys() == {"base", "novel", "h"}
    table = Path("results", "ablation_descriptions.md").read_text()
    assert outcome.out.strip() == table.strip()
    assert "image model `varied`" in table


def test_histories_are_compared_and_share_their_searches_with_the_rest(run: Command) -> None:
    run("history", "--lengths", 0, 20)
    none, twenty = rows("history")
    assert none["poster"]["h"] == 72.05
    assert twenty["poster"]["h"] == 74.29
    outcome = run("descriptions")
    assert outcome.err.count("step 2 of 2") == 1, "with descriptions, all is as with 20 prompts"
    assert rows("descriptions")[1]["figures"] == twenty["figures"]


def test_a_model_that_cannot_be_used_leaves_its_row_empty(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    outcome = run("llms", "--prompt-models", "hf:microsoft/phi-2", "offline")
    assert outcome.code == 1
    phi, offline = rows("llms")
    assert phi["name"] == "Phi-2 2.7B"
    assert phi["figures"] is None
    assert "microsoft/phi-2" in phi["problem"]
    assert phi["poster"]["base"] == POSTER.prompt_models["Phi-2 2.7B"].base
    assert offline["name"] == "–"
    assert offline["figures"]["h"] > 0
    assert offline["poster"] is None
    assert "| Phi-2 2.7B " in outcome.out
    assert "- hf:microsoft/phi-2: The language model" in outcome.out


def test_models_that_describe_are_compared(run: Command) -> None:
    assert run("lmms", "--image-models", "none", "vocabulary").code == 0
    assert [row["value"] for row in rows("lmms")] == ["none", "vocabulary"]


def test_descriptions_need_something_that_describes(run: Command) -> None:
    outcome = run("descriptions", "--image-model", "none")
    assert outcome.code == 1
    assert "compare with none" in outcome.err


def test_the_curve_is_a_table_and_a_picture(run: Command) -> None:
    outcome = run("curve")
    assert outcome.code == 0
    content = json.loads(Path("results", "curve.json").read_text())
    assert content["dataset"] == "EuroSAT"
    assert content["steps"] == [1, 2]
    assert len(content["losses"]) == len(content["best_accuracies"]) == 2
    assert "poster: ImageNet, 100 steps" in outcome.out
    picture = Path("results", "curve.svg")
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    first = picture.read_bytes()
    run("curve")
    assert picture.read_bytes() == first


@pytest.mark.parametrize("name", ["llms", "lmms"])
def test_by_default_all_models_of_the_poster_are_compared(name: str) -> None:
    from benchmarks.ablations.variants import image_models, prompt_models
    from benchmarks.base_to_novel.options import BenchmarkOptions

    variants = (prompt_models if name == "llms" else image_models)(BenchmarkOptions(), ())
    role = "prompt" if name == "llms" else "image"
    assert [(v.name, v.value) for v in variants] == [
        (preset.name, preset.use) for preset in read_presets() if preset.role == role
    ]
    assert all(variant.poster for variant in variants)
