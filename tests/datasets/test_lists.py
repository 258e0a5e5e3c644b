import json
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets.lists import (
    ImageLists,
    SplitFile,
    VariantLists,
    missing_images,
    unique_names,
)
from ipo_dspy.errors import DataError
from ipo_dspy.prompts.template import Template


def read(folder: Path, content: Any) -> ImageLists:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "split.json").write_text(text)
    return SplitFile("split.json").read(folder)


def test_classes_are_the_sorted_labels_of_the_training_list(tmp_path: Path) -> None:
    lists = read(
        tmp_path,
        {
            "train": [["z/1.jpg", 9, "zebra_fish"], ["a/1.jpg", 2, "ant"], ["b/1.jpg", 5, "Bee"]],
            "val": [["b/2.jpg", 5, "Bee"]],
            "test": [["z/2.jpg", 9, "zebra_fish"]],
        },
    )
    assert lists.classnames == ("ant", "Bee", "zebra fish")
    assert lists.train == (("z/1.jpg", 2), ("a/1.jpg", 0), ("b/1.jpg", 1))
    assert (lists.val, lists.test) == ((("b/2.jpg", 1),), (("z/2.jpg", 2),))


GOOD = {"train": [["a.jpg", 0, "ant"]], "val": [], "test": [["b.jpg", 0, "ant"]]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"train": [["a.jpg", 0, "an', r"split\.json is not valid JSON .*; fetch it again"),
        ([], "needs the lists train, val and test"),
        ({"train": [], "test": []}, "needs the lists train, val and test"),
        ({**GOOD, "val": {"a.jpg": "ant"}}, "needs the lists train, val and test"),
        ({**GOOD, "val": ["a.jpg"]}, r'item 0 of \'val\' in .* is "a\.jpg"; expected \[path'),
        ({**GOOD, "val": [["a.jpg", "0", "ant"]]}, r"expected \[path, label, class name\]"),
        ({**GOOD, "val": [["a.jpg", 0, " "]]}, r"expected \[path, label, class name\]"),
        ({**GOOD, "val": [["a.jpg", 0, "bee"]]}, "calls the class 0 of a.jpg 'bee'"),
        ({**GOOD, "test": [["a.jpg", 1, "bee"]]}, r"'bee', which in its training list is None"),
        ({**GOOD, "test": []}, "lists no images to train or to test on"),
    ],
)
def test_a_damaged_split_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*split_zhou_X\.json"):
        SplitFile("split_zhou_X.json").read(tmp_path)


def test_a_split_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"split\.json cannot be read"):
        SplitFile("split.json").read(tmp_path)


def write_variants(folder: Path, train: str) -> None:
    (folder / "variants.txt").write_text("707-320\nBoeing 717\nYak-42\n")
    (folder / "images_variant_train.txt").write_text(train)
    (folder / "images_variant_val.txt").write_text("0000003 707-320\n")
    (folder / "images_variant_test.txt").write_text("0000004 Yak-42\n")


def test_variants_may_have_blanks_and_keep_their_own_order(tmp_path: Path) -> None:
    write_variants(tmp_path, "0000001 Yak-42\n0000002 Boeing 717\n")
    lists = VariantLists().read(tmp_path)
    assert lists.classnames == ("707-320", "Boeing 717", "Yak-42")
    assert lists.train == (("0000001.jpg", 2), ("0000002.jpg", 1))
    assert (lists.val, lists.test) == ((("0000003.jpg", 0),), (("0000004.jpg", 2),))


def test_a_variant_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    write_variants(tmp_path, "0000001 Concorde\n")
    with pytest.raises(DataError, match=r"the line '0000001 Concorde', whose variant is not in"):
        VariantLists().read(tmp_path)


def test_classes_of_one_name_stay_two_with_one_text() -> None:
    names = unique_names(["missile", "sun_glasses", "missile", "sun glasses", "missile"])
    assert names == ("missile", "sun glasses", "missile_", "sun glasses_", "missile__")


def test_clip_reads_classes_of_one_name_alike() -> None:
    from open_clip import get_tokenizer

    template = Template("a photo of a {}.")
    texts = [template.fill(name)[0] for name in unique_names(["missile"] * 3)]
    tokens = get_tokenizer("ViT-B-16-quickgelu")(texts)
    assert len(set(texts)) == 3
    assert (tokens == tokens[0]).all()


def test_missing_images_are_found_by_listing_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    (tmp_path / "2.jpg").touch()
    lists = ImageLists(
        ("a", "b"),
        train=(("a/1.jpg", 0), ("a/3.jpg", 0)),
        val=(("2.jpg", 1),),
        test=(("b/4.jpg", 1), ("a/1.jpg/5.jpg", 1)),
    )
    assert missing_images(tmp_path, lists) == ["a/3.jpg", "b/4.jpg", "a/1.jpg/5.jpg"]
