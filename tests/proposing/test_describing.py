from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.proposing.describing import describe_images, spread_images, word_counts
from ipo_dspy.records import Description
from ipo_dspy.runs.journal import NoJournal

IMAGES = ["first", "second", "third", "fourth"]


class Log(NoJournal):
    """Keeps events in memory."""

    def append(self, event: Mapping[str, Any]) -> None:
        self.events.append(dict(event))


class Upper:
    """Describes an image by its text in capitals, the last one first, and fails on some."""

    spec = "upper"
    calls_per_image = 1

    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.asked: list[object] = []

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        for index, image in reversed(images.items()):
            self.asked.append(image)
            if image in self.broken:
                yield Description(index=index, error="blurred")
            else:
                yield Description(index=index, text=str(image).upper())


def describe(describer: Upper, log: Log | None = None, most_failures: int = 10) -> list[str]:
    return describe_images(describer, IMAGES, ["third_one", "fourth"], log or Log(), most_failures)


def test_descriptions_are_numbered_in_the_order_of_the_images_and_name_no_class() -> None:
    assert describe(Upper()) == [
        "Image 0: FIRST",
        "Image 1: SECOND",
        "Image 2: THIRD",
        "Image 3: object",
    ]


def test_each_description_is_kept_before_the_next_one_is_asked_for() -> None:
    class Watching(Log):
        def append(self, event: Mapping[str, Any]) -> None:
            super().append(event)
            seen.append((len(self.events), len(describer.asked)))

    seen: list[tuple[int, int]] = []
    describer = Upper()
    describe(describer, Watching())
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_of_a_description_no_more_is_kept_than_can_be_told_with_every_call() -> None:
    class Long(Upper):
        def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
            for index in images:
                yield Description(index=index, text="x" * 10_000_000)

    log = Log()
    assert all(len(text) < 5000 for text in describe(Long(), log))
    assert len(str(log.events)) < 25_000


def test_what_is_known_is_not_described_again() -> None:
    log, describer = Log(), Upper()
    first = describe(Upper(), log)
    del log.events[2:]
    assert describe(describer, log) == first
    assert describer.asked == ["second", "first"]


def test_what_failed_is_left_out_and_asked_again_before_the_first_proposal() -> None:
    log = Log()
    assert describe(Upper("second"), log) == [
        "Image 0: FIRST",
        "Image 2: THIRD",
        "Image 3: object",
    ]
    again = Upper("second")
    describe(again, log)
    assert again.asked == ["second"]
    log.append({"reply": {}})
    never = Upper()
    describe(never, log)
    assert never.asked == []


def test_failures_in_a_row_end_it() -> None:
    describer = Upper("second", "third")
    with pytest.raises(SearchStoppedError, match=r"failed 2 times in a row; .* blurred"):
        describe(describer, most_failures=2)
    assert describer.asked == ["fourth", "third", "second"]


def test_where_no_image_can_be_described_it_ends() -> None:
    with pytest.raises(SearchStoppedError, match=r"No image could be described; .* blurred"):
        describe(Upper(*IMAGES))


def test_without_images_nothing_is_asked() -> None:
    assert describe_images(Upper(), [], ["dog"], Log(), 10) == []


def test_missing_descriptions_are_told(caplog: pytest.LogCaptureFixture) -> None:
    describe(Upper("second"))
    assert "1 of 4 images have no description." in caplog.text


@pytest.mark.slow
@given(count=st.integers(0, 300), most=st.integers(0, 80))
def test_images_are_picked_at_even_distances(count: int, most: int) -> None:
    examples = [dspy.Example(image=f"{n}.png").with_inputs("image") for n in range(count)]
    picked = [int(str(image).removesuffix(".png")) for image in spread_images(examples, most)]
    assert len(picked) == min(count, most)
    steps = {after - before for before, after in pairwise(picked)}
    assert not steps or max(steps) - min(steps) <= 1
    assert picked == sorted(set(picked))


def test_no_image_is_picked_where_an_example_has_none() -> None:
    examples = [dspy.Example(image="a.png"), dspy.Example(question="?").with_inputs("question")]
    assert spread_images(examples, 5) == []


def test_word_lists_are_summed_up_with_counts() -> None:
    assert word_counts(["chalk, rough", "chalk, grey", "rough, chalk, chalk"]).endswith(
        "3 images, and how many each: chalk (3), rough (2), grey (1)"
    )
