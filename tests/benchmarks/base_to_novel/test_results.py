"""Averages over seeds and data sets, worked out by hand."""

import pytest

from benchmarks.base_to_novel.datasets import Dataset
from benchmarks.base_to_novel.outcomes import Counted, Found
from benchmarks.base_to_novel.published_counts import CountCheck
from benchmarks.base_to_novel.results import (
    GENERIC,
    HAND_WRITTEN,
    IPO,
    POSTER_PROMPT,
    DatasetOutcome,
    SeedOutcome,
    as_json,
    averages,
)
from benchmarks.base_to_novel.table import origin, why_without_outlier
from benchmarks.figures import Figures
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE


def counted(base: int, novel: int) -> Counted:
    return Counted(base_images=50, base_right=base, novel_images=20, novel_right=novel)


def outcome(name: str, *seeds: tuple[Counted, Counted], extra: str | None = None) -> DatasetOutcome:
    outcomes = []
    for seed, (fixed, ipo) in enumerate(seeds, start=1):
        found = Found(
            text="a <CLASS>",
            accuracy=50.0,
            loss=1.0,
            step=1,
            passed_over=0,
            tested=ipo,
            calls=5,
            tokens=None,
            dollars=None,
            curve=(),
            commit="abc",
        )
        rows = {HAND_WRITTEN: fixed} | ({extra: fixed} if extra else {})
        outcomes.append(SeedOutcome(seed, rows, found))
    dataset = Dataset(name, DEFAULT_TEMPLATE, lambda: pytest.fail("not to be opened"))
    return DatasetOutcome(dataset, outcomes, CountCheck("not checked", ""))


DTD = outcome("DTD", (counted(25, 10), counted(30, 10)), (counted(25, 10), counted(40, 14)))
AIRCRAFT = outcome("FGVCAircraft", (counted(10, 4), counted(5, 2)), (counted(10, 4), counted(5, 2)))


def test_a_dataset_averages_its_seeds() -> None:
    assert DTD.rows == {HAND_WRITTEN: Figures(50, 50), IPO: Figures(70, 60)}
    assert DTD.rows[IPO].h == pytest.approx(2 * 70 * 60 / 130)


def test_averages_are_given_with_and_without_fgvc_aircraft() -> None:
    both = averages([DTD, AIRCRAFT])
    assert list(both) == ["2 data sets", "without FGVCAircraft"]
    ours, poster = both["2 data sets"][IPO]
    assert ours == Figures((70 + 10) / 2, (60 + 10) / 2)
    assert ours.h == pytest.approx(2 * 40 * 35 / 75)
    assert poster == Figures((55.45 + 31.43) / 2, (62.47 + 36.32) / 2)
    assert both["without FGVCAircraft"][IPO][0] == Figures(70, 60)


def test_averages_without_fgvc_aircraft_need_it_to_be_there() -> None:
    assert list(averages([DTD])) == ["1 data sets"]
    assert list(averages([AIRCRAFT])) == ["1 data sets"]


def test_a_row_that_a_dataset_lacks_has_no_average() -> None:
    with_more = outcome("EuroSAT", (counted(5, 5), counted(5, 5)), extra=POSTER_PROMPT)
    assert POSTER_PROMPT in averages([with_more])["1 data sets"]
    assert POSTER_PROMPT not in averages([with_more, DTD])["2 data sets"]


def test_an_average_has_no_poster_where_a_dataset_is_not_on_it() -> None:
    demo = outcome("demo", (counted(5, 5), counted(5, 5)))
    assert averages([demo, DTD])["2 data sets"][IPO][1] is None


def test_the_results_file_has_each_row_beside_the_posters() -> None:
    row = as_json([DTD])["datasets"]["DTD"]["rows"][HAND_WRITTEN]
    assert row == {
        "base": 50.0,
        "novel": 50.0,
        "h": 50.0,
        "poster": {"base": 53.24, "novel": 59.9, "h": 56.37},
    }


def test_the_generic_template_stands_beside_the_papers_own() -> None:
    of_generic = outcome("EuroSAT", (counted(5, 5), counted(5, 5)), extra=GENERIC)
    poster = as_json([of_generic])["datasets"]["EuroSAT"]["rows"][GENERIC]["poster"]
    assert poster == {"base": 50.26, "novel": 69.9, "h": 58.47}


def test_the_reason_to_leave_fgvc_aircraft_out_names_who_collapsed() -> None:
    why = why_without_outlier()
    assert "PromptSRC (H 8.33), CoPrompt (H 6.57)" in why
    assert "PromptSRC has H 78.77 and IPO 78.34" in why
    assert "\n" not in why


@pytest.mark.parametrize(("commit", "said"), [("abc", False), ("def", True)])
def test_searches_of_other_code_are_told(commit: str, said: bool) -> None:
    written = {
        "provenance": {"command": "", "date": "", "commit": commit, "uncommitted_changes": False},
        "settings": dict.fromkeys(
            (
                "clip",
                "prompt_model",
                "image_model",
                "shots",
                "steps",
                "prompts_per_step",
                "history_size",
            ),
            "",
        )
        | {"seeds": [1]},
        "complete": True,
    }
    text = origin(written, [of_seed.ipo for of_seed in DTD.seeds])
    assert ("Searches were kept from commit abc." in text) == said
