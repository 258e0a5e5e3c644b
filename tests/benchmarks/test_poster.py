"""The poster's figures against each other, and against the names used elsewhere."""

import pytest

from benchmarks.ablations.variants import HISTORY_LENGTHS
from benchmarks.poster import POSTER, Printed
from ipo_dspy import Template
from ipo_dspy.datasets import BASE_TO_NOVEL
from ipo_dspy.local_models.presets import read_presets

NAMES = [benchmark.name for benchmark in BASE_TO_NOVEL]


def test_every_dataset_and_model_has_its_figures() -> None:
    assert list(POSTER.datasets) == NAMES
    assert set(POSTER.generic_template) == set(POSTER.best_prompts) == set(NAMES)
    assert all(list(methods) == list(POSTER.averages) for methods in POSTER.datasets.values())
    assert set(POSTER.prompt_models) == {p.name for p in read_presets() if p.role == "prompt"}
    assert set(POSTER.image_models) == {p.name for p in read_presets() if p.role == "image"}
    assert tuple(POSTER.history) == HISTORY_LENGTHS


def test_just_two_printed_values_of_h_are_wrong() -> None:
    tables: dict[str, dict[str, Printed]] = {
        **POSTER.datasets,
        "averages": POSTER.averages,
        "generic": POSTER.generic_template,
        "prompt models": POSTER.prompt_models,
        "image models": POSTER.image_models,
        "descriptions": POSTER.descriptions,
        "history": {str(length): figures for length, figures in POSTER.history.items()},
    }
    wrong = {
        (table, row): figures.cells[2]
        for table, rows in tables.items()
        for row, figures in rows.items()
        if figures.is_misprinted
    }
    assert wrong == {
        ("OxfordPets", "IPO"): "96.17 (printed: 96.43)",
        ("image models", "BLIP-2"): "74.16 (printed: 73.16)",
    }


@pytest.mark.parametrize("method", list(POSTER.averages))
def test_the_datasets_average_to_what_is_printed(method: str) -> None:
    averaged, printed = POSTER.average(method, NAMES), POSTER.averages[method]
    assert averaged.base == pytest.approx(printed.base, abs=0.006)
    assert averaged.novel == pytest.approx(printed.novel, abs=0.006)
    assert averaged.h == pytest.approx(printed.printed_h, abs=0.01)


def test_without_fgvc_aircraft_promptsrc_is_ahead_of_ipo() -> None:
    others = [name for name in NAMES if name != "FGVCAircraft"]
    assert POSTER.average("PromptSRC", others).cells == ("79.63", "77.94", "78.77")
    assert POSTER.average("IPO", others).cells == ("75.80", "81.07", "78.34")


def test_clip_has_the_accuracy_of_the_published_counts() -> None:
    for benchmark in BASE_TO_NOVEL:
        clip = POSTER.datasets[benchmark.name]["CLIP"]
        for half, printed in ((benchmark.base, clip.base), (benchmark.novel, clip.novel)):
            assert half is not None
            assert round(100 * half.correct / half.images, 2) == printed


def test_the_best_prompts_are_templates() -> None:
    for text in POSTER.best_prompts.values():
        assert Template(text).text == text


def test_what_the_poster_does_not_have_is_none() -> None:
    assert POSTER.of("IPO", "demo") is None
    assert POSTER.of("another method", "DTD") is None
