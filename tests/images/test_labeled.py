import random
from pathlib import Path

import dspy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.image import ImageFile
from ipo_dspy.images.labeled import LabeledImages, labeled_image


def images(counts: dict[str, int]) -> LabeledImages:
    """Class `c` with `counts[c]` images of paths `/c/0.png`, `/c/1.png`, ..."""
    examples = [
        labeled_image(ImageFile(f"/{label}/{number}.png"), label)
        for label, count in counts.items()
        for number in range(count)
    ]
    return LabeledImages(tuple(examples), tuple(counts))


def paths(data: LabeledImages) -> list[str]:
    return [str(example.image.path) for example in data.examples]


def test_few_shot_draws_from_classes_in_order_of_first_appearance() -> None:
    data = images({"a": 9, "b": 9, "c": 9})
    shuffled = LabeledImages(data.examples[9:] + data.examples[:9], data.classnames)
    random.seed(1)
    expected = []
    for label in "bca":
        expected += random.sample([f"/{label}/{number}.png" for number in range(9)], 2)
    assert paths(shuffled.few_shot(2, seed=1)) == expected
    assert shuffled.few_shot(2, seed=1).classnames == data.classnames


def test_few_shot_takes_all_of_a_small_class_without_a_draw() -> None:
    data = images({"a": 2, "b": 9})
    drawn = random.Random(3).sample([f"/b/{number}.png" for number in range(9)], 4)
    assert paths(data.few_shot(4, seed=3)) == ["/a/0.png", "/a/1.png", *drawn]


def test_few_shot_goes_on_with_a_generator() -> None:
    data = images({"a": 50})
    generator = random.Random(0)
    first, second = data.few_shot(3, generator), data.few_shot(3, generator)
    assert paths(first) == paths(data.few_shot(3, seed=0))
    assert paths(second) != paths(first)


def test_few_shot_of_no_shots_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shots must be .* got 0"):
        images({"a": 1}).few_shot(0, seed=0)


def test_base_is_the_first_half_of_the_classes_rounded_up() -> None:
    base, novel = images({"a": 1, "b": 2, "c": 3}).base_and_novel()
    assert base.classnames == ("a", "b")
    assert novel.classnames == ("c",)
    assert (len(base), len(novel)) == (3, 3)
    assert {example.label for example in novel.examples} == {"c"}


def test_base_and_novel_need_two_classes() -> None:
    with pytest.raises(DataError, match="at least two classes"):
        images({"a": 1}).base_and_novel()


@pytest.mark.slow
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_split_divides_every_class_and_loses_nothing(
    counts: list[int], fraction: float, seed: int
) -> None:
    data = images({str(number): count for number, count in enumerate(counts)})
    kept, held_out = data.split(fraction, seed)
    assert sorted(paths(kept) + paths(held_out)) == sorted(paths(data))
    for label, count in zip(data.classnames, counts, strict=True):
        given = sum(example.label == label for example in held_out.examples)
        assert given <= count - 1
        assert given >= (count > 1)
        assert abs(given - fraction * count) <= 1
    assert kept.classnames == held_out.classnames == data.classnames
    again = data.split(fraction, seed)
    assert (kept, held_out) == again


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 20])
def test_split_refuses_other_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        images({"a": 2}).split(fraction, seed=0)


def on_disk(folder: Path, colours: dict[str, str]) -> LabeledImages:
    folder.mkdir()
    examples = []
    for label, colour in colours.items():
        Image.new("RGB", (2, 2), colour).save(folder / f"{label}.png")
        examples.append(labeled_image(ImageFile(folder / f"{label}.png"), label))
    return LabeledImages(tuple(examples), tuple(colours))


def test_fingerprint_follows_content_and_labels_not_place(tmp_path: Path) -> None:
    data = on_disk(tmp_path / "one", {"a": "red", "b": "blue"})
    moved = on_disk(tmp_path / "two", {"a": "red", "b": "blue"})
    repainted = on_disk(tmp_path / "three", {"a": "red", "b": "green"})
    renamed = on_disk(tmp_path / "four", {"a": "red", "c": "blue"})
    subset = LabeledImages(data.examples[:1], data.classnames)
    assert data.fingerprint() == moved.fingerprint()
    others = {d.fingerprint() for d in (data, repainted, renamed, subset)}
    assert len(others) == 4


def test_examples_are_dspy_examples_with_the_image_as_input() -> None:
    example = images({"a": 1}).examples[0]
    assert isinstance(example, dspy.Example)
    assert list(example.labels()) == ["label"]


def copies(folder: Path) -> LabeledImages:
    """Three classes of four pictures, each there five times; and one picture in two classes."""
    examples = []
    for label, name in enumerate("abc"):
        for number in range(4):
            for copy in range(5):
                path = folder / f"{name}{number}-{copy}.png"
                Image.new("RGB", (2, 2), (80 * label, 60 * number, 5)).save(path)
                examples.append(labeled_image(ImageFile(path), name))
    other = folder / "other.png"
    other.write_bytes((folder / "a0-0.png").read_bytes())
    return LabeledImages((*examples, labeled_image(ImageFile(other), "b")), ("a", "b", "c"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_copies_never_lie_on_both_sides_of_a_split(tmp_path: Path, seed: int) -> None:
    kept, held_out = copies(tmp_path).split(0.5, seed)
    sides = [{e.image.path.read_bytes() for e in side.examples} for side in (kept, held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert len(kept) + len(held_out) == 61
    assert len(held_out) >= 30


def test_copies_are_left_out_within_their_class(tmp_path: Path) -> None:
    names = [e.image.path.name for e in copies(tmp_path).without_copies().examples]
    assert names == [*(f"{c}{n}-0.png" for c in "abc" for n in range(4)), "other.png"]


@pytest.mark.parametrize("seed", [7, np.int64(7), np.uint8(7)])
def test_whole_numbers_of_numpy_are_seeds(seed: int) -> None:
    data = images({"a": 9, "b": 9})
    assert data.few_shot(2, seed) == data.few_shot(2, 7)
    assert data.split(0.5, seed) == data.split(0.5, 7)


def test_seeds_may_be_longer_than_64_bits() -> None:
    data = images({"a": 50})
    assert data.few_shot(3, 2**70) != data.few_shot(3, 2**71)


@pytest.mark.parametrize("seed", [1.5, "1", None])
def test_other_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ArgumentError, match="seed"):
        images({"a": 5}).few_shot(1, seed)  # type: ignore[arg-type]


def test_labelled_images_are_a_training_set() -> None:
    data = images({"a": 2, "b": 1})
    assert list(data) == list(data.examples)
    assert data[-1].label == "b"
    assert [example.label for example in data[:2]] == ["a", "a"]
