from pathlib import Path

import dspy
import PIL.Image

from ipo_dspy import clip_acc
from ipo_dspy.runs.identity.earlier import callable_name, digest, fingerprint


def test_the_fingerprint_is_that_of_content_and_order(tmp_path: Path) -> None:
    def examples(*paths: Path) -> list[dspy.Example]:
        return [dspy.Example(image=str(p), label="red").with_inputs("image") for p in paths]

    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        PIL.Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    assert fingerprint(examples(a, c)) == fingerprint(examples(b, c))
    assert fingerprint(examples(a, c)) != fingerprint(examples(c, a))
    assert fingerprint(examples(a)) != fingerprint(examples(c))
    relabelled = [dspy.Example(image=str(a), label="blue").with_inputs("image")]
    assert fingerprint(examples(a)) != fingerprint(relabelled)


def test_examples_without_images_have_a_fingerprint() -> None:
    one, other = (dspy.Example(question=text).with_inputs("question") for text in "ab")
    assert fingerprint([one]) != fingerprint([other])
    assert fingerprint([one]) == fingerprint([one.copy()])


def test_a_digest_tells_where_one_text_ends() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_functions_of_one_name_are_told_apart_by_their_code() -> None:
    def accuracy() -> float:
        return 1.0

    first = callable_name(accuracy)

    def accuracy() -> float:  # type: ignore[no-redef]
        return 0.25

    assert callable_name(accuracy) != first
    assert callable_name(lambda: 1) != callable_name(lambda: 2)
    assert callable_name(clip_acc) == "clip_acc"
