import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import numpy as np
import pytest
from PIL import Image

from ipo_dspy.errors import DataError, IPOError, UnreadableImage
from ipo_dspy.images.image import content_hash, image_key, open_image
from ipo_dspy.images.readers.dataset import read_dataset

COLOURS = ["red", "lime", "blue"]


def picture(index: int) -> Image.Image:
    return Image.new("RGB", (2, 2), COLOURS[index])


class Columns:
    """Looks like `datasets.Dataset`: rows by number, columns by name, class names in features."""

    column_names = ("image", "label")

    def __init__(self, labels: list[Any], names: list[str] | None) -> None:
        self.labels = labels
        self.features = {"label": SimpleNamespace(names=names) if names else SimpleNamespace()}
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self.labels
        self.decoded.append(key)
        return {"image": picture(key), "label": self.labels[key]}


class Pairs:
    """Looks like a torchvision dataset: (image, label) by number."""

    def __init__(self, items: list[tuple[Any, int]], **attributes: Any) -> None:
        self.items = items
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.items[index]


def colours(data: Any) -> list[Any]:
    return [open_image(example.image).getpixel((0, 0)) for example in data.examples]


def test_columns_keep_the_declared_order_of_classes_and_decode_late() -> None:
    dataset = Columns([1, 0, 1], ["tabby_cat", "ant", "bee"])
    data = read_dataset(dataset)
    assert data.classnames == ("tabby cat", "ant", "bee")
    assert [e.label for e in data.examples] == ["ant", "tabby cat", "ant"]
    assert dataset.decoded == [0]
    assert colours(data) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_columns_of_text_labels_are_sorted() -> None:
    assert read_dataset(Columns(["b", "a", "b"], None)).classnames == ("a", "b")


def test_names_may_be_given_in_label_order_or_by_class() -> None:
    dataset = Columns([1, 0, 1], ["n01", "n02"])
    assert read_dataset(dataset, names=["b_b", "a"]).classnames == ("b_b", "a")
    assert read_dataset(dataset, names={"n02": "bee"}).classnames == ("n01", "bee")


def test_numbers_without_names_ask_for_names() -> None:
    with pytest.raises(DataError, match=r"numbers; pass names=\[...\]"):
        read_dataset(Columns([0, 1, 1], None))


def test_label_without_a_class_is_named() -> None:
    with pytest.raises(DataError, match="image 1 has the label -1, but there are 2"):
        read_dataset(Columns([0, -1, 1], ["a", "b"]))


def test_other_columns_are_listed() -> None:
    with pytest.raises(DataError, match="no column 'img'; it has 'image', 'label'"):
        read_dataset(Columns([0, 1, 1], ["a", "b"]), image="img")


@pytest.mark.parametrize("attribute", ["targets", "_labels", "y"])
def test_pairs_take_labels_from_the_items_themselves(attribute: str) -> None:
    # A subset, or a dataset with a target transform, keeps other labels beside its items.
    items = [(picture(i), label) for i, label in enumerate([1, 0, 1])]
    data = read_dataset(Pairs(items, classes=["ant", "bee"], **{attribute: [0, 0, 0]}))
    assert [e.label for e in data.examples] == ["bee", "ant", "bee"]
    assert colours(data) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_transformed_images_are_refused() -> None:
    with pytest.raises(DataError, match="is a list, not a PIL image; make the dataset without"):
        read_dataset(Pairs([([1.0], 0), ([1.0], 1)], classes=["a", "b"]))


def test_undecodable_item_is_named() -> None:
    class Damaged(Pairs):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            if index == 1:
                raise OSError("image file is truncated")
            return super().__getitem__(index)

    items = [(picture(i), i) for i in range(2)]
    damaged = Damaged(items, classes=["a", "b"])
    with pytest.raises(UnreadableImage, match="image 1 of the dataset cannot be read"):
        read_dataset(damaged)
    assert [e.label for e in read_dataset(damaged, skip_bad_images=True).examples] == ["a"]


def labelled(*labels: Any) -> list[dspy.Example]:
    return [dspy.Example(image=picture(0), label=label) for label in labels]


def test_every_given_name_is_kept_in_order_also_of_classes_without_images() -> None:
    names = ["dog", "cat", "bird"]
    assert read_dataset(labelled("cat", "dog"), names=names).classnames == tuple(names)
    assert read_dataset(labelled(1, 0), names=names).classnames == tuple(names)


@pytest.mark.parametrize("one", [1, 1.0, np.int64(1), np.float32(1)])
def test_whole_numbers_of_any_kind_are_labels(one: Any) -> None:
    data = read_dataset(labelled(0, one), names=["no", "yes"])
    assert [e.label for e in data.examples] == ["no", "yes"]


def test_numbers_are_named_by_a_mapping_too() -> None:
    data = read_dataset(labelled(7, 3), names={"3": "three", "7": "seven"})
    assert [e.label for e in data.examples] == ["seven", "three"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((0.7, 1.9), ["a", "b"]),
        ((0, float("nan")), ["a", "b"]),
        (("a", None), None),
        ((None, "a"), None),
        (("a", 1), ["a", "b"]),
        ((["a"], ["b"]), ["a", "b"]),
        (("a", " "), None),
        (("a", "c"), ["a", "b"]),
        (("a", "b"), {"a", "b"}),
        (("a", "b"), ["a", "b", "B"]),
    ],
)
def test_labels_and_names_that_say_nothing_clear_are_refused(labels: Any, names: Any) -> None:
    with pytest.raises(IPOError):
        read_dataset(labelled(*labels), names=names)


def test_dataset_images_have_identity_copy_and_pickle() -> None:
    dataset = Pairs([(picture(i % 3), i % 2) for i in range(6)], classes=["a", "b"])
    (
        first,
        second,
        *_,
    ) = (e.image for e in read_dataset(dataset).examples)
    other = read_dataset(dataset).examples[0].image
    assert len({image_key(first), image_key(second), image_key(other)}) == 3
    assert content_hash(first) == content_hash(other) == content_hash(picture(0))
    assert copy.deepcopy(first) == first
    assert content_hash(pickle.loads(pickle.dumps(first))) == content_hash(first)
    assert first.format()[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_examples_take_paths_pil_and_dspy_images(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", picture(1), dspy.Image(picture(2))]
    examples = [
        dspy.Example(photo=source, kind=kind).with_inputs("photo")
        for source, kind in zip(sources, ["b", "a_a", "b"], strict=True)
    ]
    data = read_dataset(examples, image="photo", label="kind")
    assert data.classnames == ("a a", "b")
    assert [e.label for e in data.examples] == ["b", "a a", "b"]
    assert colours(data) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert list(data.examples[0].inputs()) == ["image"]


def test_example_without_a_label_is_numbered() -> None:
    examples = [dspy.Example(image="a.png", label="a"), dspy.Example(image="b.png")]
    with pytest.raises(DataError, match="example 1 needs the fields 'image' and 'label'"):
        read_dataset(examples)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "is empty"),
        (iter([1]), "a list_iterator cannot be indexed"),
        ([1, 2], "gives int items; expected pairs"),
    ],
)
def test_other_objects_are_refused(dataset: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(dataset)
