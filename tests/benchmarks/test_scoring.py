from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from benchmarks.scoring.report import growth_table, result, row_table
from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.scaling import Cost, Growth
from benchmarks.scoring.timing import Work, alternate
from benchmarks.scoring.workload import PROMPTS, Workload, filled

GROWTH = Growth(
    "bake",
    [
        Cost({"loaves": loaves, "ovens": ovens}, 3.0 * loaves**1.5 / ovens)
        for loaves in (1, 10, 100)
        for ovens in (1, 2)
    ],
)
ROW = Row("a loaf", "a cake", {"times as fast": Figure(7.0, at_least=6.5)}, {"loaf": 1.0})


def text_of(table: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_exponents_are_found() -> None:
    assert GROWTH.exponents == pytest.approx({"loaves": 1.5, "ovens": -1.0})


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure(6.5, at_least=6.5), True),
        (Figure(6.4, at_least=6.5), False),
        (Figure(1.05, at_most=1.05), True),
        (Figure(1.06, at_most=1.05), False),
        (Figure(float("nan"), at_least=1.0), False),
        (Figure(1.0), True),
    ],
)
def test_a_figure_knows_whether_its_bound_is_kept(figure: Figure, reached: bool) -> None:
    assert figure.reached is reached
    assert Row("", "", {"sure": Figure(1.0), "this": figure}).reached is reached


def test_works_take_turns() -> None:
    order: list[str] = []
    works = {"one": lambda: order.append("one"), "two": lambda: order.append("two")}
    seconds = alternate(works, rounds=2)
    assert order == ["one", "two", "one", "two"]
    assert all(taken >= 0 for taken in seconds.values())


def test_a_work_keeps_its_last_result() -> None:
    numbers = iter(range(9))
    work = Work(lambda: next(numbers))
    alternate({"count": work}, rounds=3)
    assert work.result == 2


def test_the_table_tells_what_was_reached() -> None:
    (line,) = [line for line in text_of(row_table([ROW])).splitlines() if "a loaf" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "a loaf",
        "a cake",
        "times as fast",
        "7",
        "at least 6.5",
        "yes",
    ]
    assert "1.50" in text_of(growth_table([GROWTH]))


def test_the_result_is_plain_json() -> None:
    found = json.loads(json.dumps(result(Workload(), [ROW], [GROWTH])))
    assert found["rows"][0]["figures"]["times as fast"]["value"] == 7.0
    assert found["rows"][0]["reached"] is True
    assert found["growth"][0]["costs"][0] == {"sizes": {"loaves": 1, "ovens": 1}, "seconds": 3.0}
    assert found["threads"] >= 1
    assert "torch" in found["provenance"]["versions"]


def test_the_workload_is_the_poster_s() -> None:
    assert len(PROMPTS) == 11
    assert filled(PROMPTS[0], 2) == [
        "Take a high-quality photo of a tench.",
        "Take a high-quality photo of a goldfish.",
    ]
