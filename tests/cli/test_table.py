import csv
import json
from pathlib import Path

import pytest

from ipo_dspy.cli.table import check_out, rows_of, write_rows
from ipo_dspy.errors import ArgumentError
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Score
from ipo_dspy.scoring.comparison import Evaluation


def evaluation(text: str, hits: tuple[bool, ...]) -> Evaluation:
    accuracy = 100 * sum(hits) / len(hits)
    score = Score(accuracy=accuracy, loss=1.0, n=len(hits), per_class={})
    return Evaluation(Template(text), score, hits)


NAMES = ["a <CLASS>", "=1|<CLASS>"]
ROWS = rows_of(
    NAMES,
    [evaluation("a <CLASS>", (True, False, False)), evaluation("<CLASS>", (True, True, True))],
)


def test_rows_have_intervals_and_a_p_value_against_the_first() -> None:
    first, second = ROWS
    assert first["low"] < first["accuracy"] < first["high"]
    assert second["high"] == pytest.approx(100)
    assert (first["p"], second["p"]) == (None, 0.5)


@pytest.mark.parametrize("ending", [".csv", ".json", ".md"])
def test_the_ending_says_how_rows_are_written(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    check_out(path)
    write_rows(ROWS, path)
    text = path.read_text("utf-8")
    if ending == ".json":
        assert json.loads(text) == ROWS
    elif ending == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["prompt"] for row in rows] == [NAMES[0], "'" + NAMES[1]]
    else:
        assert [line.count("|") - line.count("\\|") for line in text.splitlines()] == [9] * 4


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="xlsx"):
        check_out(tmp_path / "table.xlsx")
