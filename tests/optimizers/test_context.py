from __future__ import annotations

import pytest
import torch

from ipo_dspy import CLIPClassifier, CoOp
from ipo_dspy.encoders.prompted_towers import Towers, towers_of
from ipo_dspy.errors import ArgumentError
from ipo_dspy.optimizers.context import Context

NAMES = ["cat", "golden_retriever", "Boeing 737-200"]


@pytest.fixture
def towers(program: CLIPClassifier) -> Towers:
    return towers_of(program.embedder.encoder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("init", "n", "words", "rest"),
    [
        ("a photo of a", None, "a photo of a", "<CLASS>."),
        ("a photo of a", 2, "a photo", "of a <CLASS>."),
        ("a sketch of a <CLASS> on paper", None, "a sketch of a", "<CLASS> on paper"),
        ("a non-<CLASS>.", None, "a", "non-<CLASS>."),
        ("a photo of a", 16, "", "<CLASS>."),
        (None, 4, "", "<CLASS>."),
        ("<CLASS> in chalk", 4, "", "<CLASS> in chalk"),
    ],
)
def test_first_words_are_learned_and_the_rest_stays_text(
    towers: Towers, init: str | None, n: int | None, words: str, rest: str
) -> None:
    context = Context.of(towers, init, n)
    assert (context.words, context.text.text) == (words, rest)
    assert n is None or context.n == n


def test_untouched_vectors_leave_the_text_as_it_was(towers: Towers) -> None:
    context = Context.of(towers, "a photo of a", 2)
    vectors = context.initial(towers, torch.Generator())
    placed = context.place(towers, NAMES)
    found = towers.text.features(placed, vectors)
    texts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    expected = towers.plain_text_features(texts)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(
        expected,
        towers.encoder.model.encode_text(  # type: ignore[operator]
            towers.encoder.tokenizer(texts)
        ),
        atol=1e-5,
    )


def test_texts_are_cut_behind_the_longest(towers: Towers) -> None:
    placed = Context.of(towers, "a photo of a", None).place(towers, NAMES)
    assert placed.tokens.shape[1] == int(placed.ends.max()) + 1 < 20


@pytest.mark.parametrize(("position", "before"), [("end", 4), ("middle", 2), ("front", 0)])
def test_class_name_stands_where_it_was_told_to(towers: Towers, position: str, before: int) -> None:
    context = Context.of(towers, "a photo of a", None, position)  # type: ignore[arg-type]
    slots = context.place(towers, ["cat"]).slots[0].tolist()
    vectors = [0, 1, 2, 3]
    assert slots == [-1, *vectors[:before], -1, *vectors[before:], -1, -1]


def test_random_vectors_have_the_authors_spread(towers: Towers) -> None:
    context = Context.of(towers, None, 64)
    vectors = context.initial(towers, torch.Generator().manual_seed(0))
    assert vectors.std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("init", "n"),
    [
        ("a photo of a", 0),
        ("a chalk drawing", 7),
        ("<CLASS>.", None),
        (None, None),
        ("a <CLASS>\nthe <CLASS>", None),
        ("a hippopotamus-shaped photo of a", 2),
    ],
)
def test_contexts_that_cannot_be_are_refused(
    towers: Towers, init: str | None, n: int | None
) -> None:
    with pytest.raises(ArgumentError):
        Context.of(towers, init, n)


def test_class_names_move_only_where_all_words_are_learned(towers: Towers) -> None:
    with pytest.raises(ArgumentError, match="middle"):
        Context.of(towers, "a photo of a <CLASS> on paper", None, "middle")


def test_a_class_name_that_does_not_fit_is_named(towers: Towers) -> None:
    long = "very " * 80 + "long"
    with pytest.raises(ArgumentError, match="very long"):
        Context.of(towers, "a photo of a", None).place(towers, ["cat", long])


@pytest.mark.parametrize("n", [75, 10**9, 10**308])
def test_more_vectors_than_tokens_are_refused_before_anything_is_made(
    n: int, towers: Towers
) -> None:
    with pytest.raises(ArgumentError, match=r"at most 74|from 1 to"):
        CoOp(n_ctx=n, init=None).prompted(CLIPClassifier(["cat"], towers.encoder))
