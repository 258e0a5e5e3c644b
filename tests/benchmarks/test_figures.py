import pytest

from benchmarks.figures import Figures, Row, aligned, average, parallel


def test_h_of_an_average_is_that_of_the_averages_and_no_average_of_h() -> None:
    # Base (60 + 80) / 2, novel (80 + 40) / 2, H = 2 * 70 * 60 / 130.
    figures = average([Figures(60, 80), Figures(80, 40)])
    assert figures == Figures(70, 60)
    assert figures.cells == ("70.00", "60.00", "64.62")


def test_an_average_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        average([])


def test_columns_line_up() -> None:
    lines = aligned(["name", "n"], [["a", "1000"], ["longer", "7"]])
    assert lines == [
        "| name   |    n |",
        "|--------|-----:|",
        "| a      | 1000 |",
        "| longer |    7 |",
    ]


def test_the_posters_columns_are_left_out_where_it_has_nothing() -> None:
    with_poster = parallel(["name"], [Row(("a",), Figures(1, 1), Figures(2, 2))])
    without = parallel(["name"], [Row(("a",), Figures(1, 1))])
    assert "poster" in with_poster[0]
    assert "poster" not in without[0]


def test_a_missing_figure_is_no_zero() -> None:
    line = parallel(["name"], [Row(("a",), None, Figures(2, 2))])[-1]
    assert line.split("|")[2:5] == ["    – ", "     – ", "   – "]
