"""Texts for each class as others make them, each to its recipe."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest
import torch

from benchmarks.base_to_novel.bench import Bench
from benchmarks.base_to_novel.described import (
    CUPL,
    CUPL_ANSWERS,
    CUPL_QUESTIONS,
    DCLIP,
    DESCRIBED,
    WAFFLE,
    WAFFLE_PAIRS,
    WAFFLE_REPETITIONS,
    WholeTexts,
    make_texts,
    waffle,
    which,
)
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.testing import COLOURS, ColourEncoder, check_prompt, colour_examples, scripted_lm

NAMES = ["sea_lion", "cup"]


@pytest.fixture
def task() -> Task:
    images = LabeledImages(tuple(colour_examples(2)), tuple(COLOURS))
    base, novel = images.base_and_novel()
    tests = {"base": base, "novel": novel}
    return Task("colours", base.few_shot(1, 1), tests, DEFAULT_TEMPLATE.text, seed=1)


def test_cupl_takes_ten_sentences_of_each_question_as_they_come() -> None:
    lm = scripted_lm(
        lambda number, request: f"Answer {number}\nof a cup. And more.", field="descriptions"
    )

    texts = make_texts(CUPL, NAMES, lm, num_threads=1)

    count = len(CUPL_QUESTIONS) * CUPL_ANSWERS
    assert texts.calls == len(lm.engine.requests) == 2 * count
    assert len(texts.sets[0]["cup"]) == count
    assert texts.sets[0]["sea_lion"][0] == "Answer 0 of a cup."
    assert "How can you identify a sea lion?" in lm.engine.requests[CUPL_ANSWERS]


def test_dclip_puts_features_behind_the_class_name() -> None:
    lm = scripted_lm(
        lambda number, request: "- long whiskers\n- a smooth skin" if number == 0 else "none",
        field="descriptions",
    )

    texts = make_texts(DCLIP, NAMES, lm, num_threads=1)

    assert texts.sets[0]["sea_lion"] == (
        "sea lion, which has long whiskers",
        "sea lion, which is a smooth skin",
    )
    assert texts.sets[0]["cup"] == ("cup",)
    assert texts.calls == len(lm.engine.requests) == 2


@pytest.mark.parametrize(
    ("feature", "clause"),
    [
        ("a long tail", "which is a long tail"),
        ("has fur", "which has fur"),
        ("often grey", "which often grey"),
        ("used for tea", "which is used for tea"),
        ("four legs", "which has four legs"),
    ],
)
def test_a_clause_is_made_of_a_feature(feature: str, clause: str) -> None:
    assert which(feature) == clause


def test_waffle_says_the_same_nonsense_of_all_classes() -> None:
    texts = waffle(NAMES, seed=0)

    assert len(texts["cup"]) == 2 * WAFFLE_PAIRS
    assert [text.replace("sea lion", "cup") for text in texts["sea_lion"]] == list(texts["cup"])
    assert waffle(NAMES, seed=0) == texts != waffle(NAMES, seed=1)


def test_features_are_averaged_with_and_without_length() -> None:
    embedder = Embedder(ColourEncoder())
    texts = {"red": ("crisp flat red", "blue"), "green": ("green",)}
    single = embedder.class_features([["crisp flat red"], ["blue"]])

    unit, plain = (
        WholeTexts(texts, normalised).class_features(embedder, ["red", "green"])
        for normalised in (True, False)
    )

    torch.testing.assert_close(plain[0], single.mean(dim=0))
    torch.testing.assert_close(unit[0], torch.nn.functional.normalize(plain[0], dim=-1))
    check_prompt(WholeTexts(texts, True), embedder, ["red", "green"], [colour_examples()[0].image])


@pytest.mark.parametrize("method", DESCRIBED)
def test_a_row_is_made_once_and_asked_for_once(method: str, task: Task, tmp_path: Path) -> None:
    lm: dspy.LM = scripted_lm(["crisp flat"], field="descriptions")
    calls = []
    for _ in range(2):
        bench = Bench(Embedder(ColourEncoder()), tmp_path)
        counted = bench.describe(task, method, lm, num_threads=2)
        calls.append(len(lm.engine.requests))

    draws = WAFFLE_REPETITIONS if method == WAFFLE else 1
    assert (counted.base_images, counted.novel_images) == (6 * draws, 6 * draws)
    assert calls[0] == calls[1]
    if method == DCLIP:
        assert counted.base_right == 6
