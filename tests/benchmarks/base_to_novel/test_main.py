"""The command on two small data sets in CoOp's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import constants

from benchmarks.base_to_novel import __main__ as module
from benchmarks.base_to_novel import tasks
from benchmarks.base_to_novel.datasets import Dataset
from benchmarks.base_to_novel.tasks import fixed_texts
from benchmarks.poster import POSTER

from ..conftest import Command

pytestmark = pytest.mark.slow

ROWS = [
    "CLIP, hand-written template",
    "CLIP, generic template",
    "CLIP, 80-template ensemble",
    "CLIP, the poster's prompt",
    "IPO",
]
FEW = ("--steps", 2, "--prompts-per-step", 3, "--seeds", 1, 2)


@pytest.fixture
def run(command: Callable[[ModuleType], Command]) -> Command:
    return command(module)


def written(name: str = "base_to_novel") -> dict[str, Any]:
    return json.loads(Path("results", f"{name}.json").read_text())


def percent(tested: dict[str, int]) -> tuple[float, float]:
    base = 100 * tested["base_right"] / tested["base_images"]
    return base, 100 * tested["novel_right"] / tested["novel_images"]


def test_the_table_over_the_datasets_that_are_found(run: Command, root: Path) -> None:
    outcome = run("--root", root, *FEW)
    assert outcome.code == 0
    content = written()
    assert content["complete"] is True
    assert content["settings"]["seeds"] == [1, 2]
    assert content["provenance"]["command"].startswith("python -m benchmarks.base_to_novel")
    assert list(content["datasets"]) == ["DTD", "EuroSAT"]
    means = []
    for name, of_dataset in content["datasets"].items():
        assert list(of_dataset["rows"]) == ROWS
        assert of_dataset["posters_prompt"] == POSTER.best_prompts[name]
        seeds = [percent(of_seed["ipo"]["tested"]) for of_seed in of_dataset["seeds"]]
        base, novel = (fmean(of_half) for of_half in zip(*seeds, strict=True))
        row = of_dataset["rows"]["IPO"]
        assert (row["base"], row["novel"]) == (round(base, 2), round(novel, 2))
        assert row["poster"]["base"] == POSTER.datasets[name]["IPO"].base
        means.append((base, novel))
    base, novel = (fmean(of_half) for of_half in zip(*means, strict=True))
    average = content["averages"]["2 data sets"]["IPO"]
    assert average["base"] == round(base, 2)
    assert average["h"] == round(2 * base * novel / (base + novel), 2)
    text = Path("results", "base_to_novel.md").read_text()
    assert outcome.out.strip() == text.strip()
    assert f"`{POSTER.best_prompts['DTD']}`" in text
    assert content["datasets"]["DTD"]["seeds"][0]["ipo"]["text"] in text
    assert "Left out, as not complete: ImageNet, Caltech101" in outcome.err
    assert "UCF101; ipo-dspy check-data" in outcome.err


def test_counts_are_compared_for_the_published_encoder_or_when_asked(
    run: Command, root: Path
) -> None:
    chosen = ("--root", root, "--datasets", "dtd", *FEW)
    run(*chosen)
    assert written()["datasets"]["DTD"]["published_counts"]["state"] == "not checked"
    outcome = run(*chosen, "--published-counts")
    assert written()["datasets"]["DTD"]["published_counts"]["state"] == "different"
    assert "DTD, CLIP's counts: different (9 base images instead of 864" in outcome.err


def test_a_hand_written_template_that_is_too_long_costs_its_row_and_not_the_run(
    run: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def long_ones(dataset: Dataset) -> dict[str, str]:
        return {**fixed_texts(dataset), "CLIP, hand-written template": f"{'very ' * 99} <CLASS>."}

    monkeypatch.setattr(tasks, "fixed_texts", long_ones)
    outcome = run("--root", root, "--datasets", "dtd", *FEW, "--published-counts")
    assert outcome.code == 0
    of_dataset = written()["datasets"]["DTD"]
    assert list(of_dataset["rows"]) == ROWS[1:]
    assert of_dataset["published_counts"]["state"] == "not checked"


def test_a_second_time_nothing_is_searched_or_encoded(run: Command, root: Path) -> None:
    chosen = ("--root", root, "--datasets", "EuroSAT", *FEW)
    first = run(*chosen)
    before = written()["datasets"]
    second = run(*chosen)
    assert "step 2 of 2" in first.err
    assert "Encoding" in first.err
    assert "step" not in second.err
    assert "Encoding" not in second.err
    assert written()["datasets"] == before


def test_another_seed_is_added_to_what_is_there(run: Command, root: Path) -> None:
    chosen = ("--root", root, "--datasets", "EuroSAT", "--steps", 2, "--prompts-per-step", 1)
    run(*chosen, "--seeds", 1)
    (first,) = written()["datasets"]["EuroSAT"]["seeds"]
    outcome = run(*chosen, "--seeds", 1, 2)
    again, other = written()["datasets"]["EuroSAT"]["seeds"]
    assert again == first
    assert other["seed"] == 2
    assert outcome.err.count("step 2 of 2") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give either --root"),
        (("--demo", "--root", "."), "Give either --root"),
        (("--root", "nowhere"), "there is no folder nowhere"),
        (("--root", "."), "ipo-dspy check-data . says what is missing"),
        (("--root", ".", "--datasets", "Flowers"), "the names are ImageNet"),
        (("--root", ".", "--datasets", "ImageNet-A"), "not tested on base and novel halves"),
        (("--demo", "--seeds"), "at least one seed"),
        (("--demo", "--shots", 0), "--shots must be at least 1, got 0"),
        (("--demo", "--clip", "resnet"), "names no encoder"),
        (("--demo", "--image-model", "file:x"), "belongs to the images of one search"),
        (("--demo", "--image-model", "offline"), "sees no images"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    run: Command, arguments: tuple[object, ...], said: str
) -> None:
    outcome = run(*arguments)
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith("benchmarks.base_to_novel: ")
    assert said in last
    assert "Traceback" not in outcome.err


def test_a_dataset_that_is_asked_for_must_be_complete(run: Command, root: Path) -> None:
    outcome = run("--root", root, "--datasets", "DTD", "UCF101")
    assert outcome.code == 1
    assert "UCF101 is not complete" in outcome.err
    assert "it lacks UCF-101-midframes; ipo-dspy check-data" in outcome.err


def test_listed_images_must_be_there(run: Command, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some" / "dtd"
    (folder / "images").mkdir(parents=True)
    split = root / "dtd" / "split_zhou_DescribableTextures.json"
    (folder / split.name).write_text(split.read_text())
    outcome = run("--root", folder.parent, "--datasets", "DTD")
    assert outcome.code == 1
    assert "36 listed images are not there" in outcome.err


@pytest.mark.parametrize("option", ["--clip", "--prompt-model", "--image-model"])
def test_a_model_that_is_not_there_is_one_sentence(
    run: Command, root: Path, option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    outcome = run("--root", root, option, "hf:nobody/no-such-model", *FEW)
    assert outcome.code == 1
    assert "nobody/no-such-model" in outcome.err.splitlines()[-1]
    # Found out before test images are encoded, which may take hours.
    assert "Encoding" not in outcome.err


def test_rows_with_texts_for_each_class_stand_among_the_others(run: Command) -> None:
    methods = ("--methods", "CLIP", "DCLIP", "WaffleCLIP", "IPO")
    outcome = run("--demo", *methods, "--class-texts", 2, *FEW[:-1])

    assert outcome.code == 0
    rows = written("base_to_novel_demo")["datasets"]["demo"]["rows"]
    assert list(rows)[-4:] == ["DCLIP", "WaffleCLIP", "IPO", "IPO, with class texts"]
