"""Searches and tests that go on after a stop, on colours whose good words are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from benchmarks.base_to_novel.bench import Bench, Method
from benchmarks.base_to_novel.outcomes import Counted, Found
from ipo_dspy import LMDescriber, NoDescriber
from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages, labeled_image
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.testing import COLOURS, ColourEncoder, ScriptedEngine, colour_examples, scripted_lm

STEPS, PROMPTS = 3, 2
ANSWERS = [f"a {word} picture of a <CLASS>." for word in ("dull", "flat", "crisp", "wet", "bad")]


@pytest.fixture
def task() -> Task:
    images = LabeledImages(tuple(colour_examples(2)), tuple(COLOURS))
    base, novel = images.base_and_novel()
    return Task(
        "colours",
        base.few_shot(1, 1),
        {"base": base, "novel": novel},
        DEFAULT_TEMPLATE.text,
        seed=1,
    )


def method(lm: dspy.LM, **changes: object) -> Method:
    whole = Method(lm, NoDescriber(), STEPS, PROMPTS, history_size=5, num_threads=1)
    return replace(whole, **changes)  # type: ignore[arg-type]


def bench(runs: Path, encoder: ColourEncoder | None = None) -> Bench:
    return Bench(Embedder(encoder or ColourEncoder()), runs)


def calls(lm: dspy.LM) -> int:
    engine: ScriptedEngine = lm.engine
    return len(engine.requests)


def test_a_search_finds_and_tests_the_best_prompt(task: Task, tmp_path: Path) -> None:
    lm = scripted_lm([*ANSWERS, "a crisp flat picture of a <CLASS>."])
    found = bench(tmp_path).search(task, method(lm))
    assert found.text == "a crisp flat picture of a <CLASS>."
    assert (found.step, found.calls, found.tokens) == (3, 6, 660)
    assert found.accuracy == 100.0
    assert found.tested == Counted(base_images=6, base_right=6, novel_images=6, novel_right=6)


def test_the_curve_has_means_and_the_best_so_far(task: Task, tmp_path: Path) -> None:
    found = bench(tmp_path).search(task, method(scripted_lm([*ANSWERS, "no slot"])))
    assert [step.step for step in found.curve] == [0, 1, 2, 3]
    assert [step.prompts for step in found.curve[1:]] == [2, 2, 1]
    best = [step.best_accuracy for step in found.curve]
    assert best == sorted(best)
    first, last = found.curve[0], found.curve[-1]
    assert (first.loss, first.accuracy) == (first.best_loss, first.best_accuracy)
    assert (last.best_loss, last.best_accuracy) == (found.loss, found.accuracy)


def test_what_is_finished_asks_nothing_again(task: Task, tmp_path: Path) -> None:
    lm = scripted_lm(ANSWERS)
    first = bench(tmp_path).search(task, method(lm))
    encoder = ColourEncoder()
    again = bench(tmp_path, encoder).search(task, method(lm))
    assert again == first
    assert calls(lm) == STEPS * PROMPTS
    assert encoder.texts_encoded == 0


def test_a_stopped_search_goes_on_and_ends_as_if_it_had_not(task: Task, tmp_path: Path) -> None:
    whole = bench(tmp_path / "whole").search(task, method(scripted_lm(ANSWERS)))

    def stopped(number: int, request: str) -> str:
        if number == 3:
            raise dspy.lm15.AuthError("wrong key", provider="p", status=401)
        return ANSWERS[number % len(ANSWERS)]

    broken = scripted_lm(stopped)
    with pytest.raises(SearchStoppedError, match="wrong key"):
        bench(tmp_path / "stopped").search(task, method(broken))
    lm = scripted_lm(lambda number, request: ANSWERS[(number + 3) % len(ANSWERS)])
    assert bench(tmp_path / "stopped").search(task, method(lm)) == whole
    assert calls(lm) == STEPS * PROMPTS - 3


@pytest.mark.slow
def test_other_settings_models_and_images_are_other_searches(task: Task, tmp_path: Path) -> None:
    def spec(name: str) -> dspy.LM:
        return dspy.LM(name, engine=ScriptedEngine(lambda number, request: "x"), cache=False)

    lm = scripted_lm(ANSWERS)
    other_images = replace(task, train=LabeledImages(task.train.examples[:2], ("red", "green")))
    variants: Sequence[tuple[Task, Method]] = [
        (task, method(lm)),
        (task, method(lm, steps=2)),
        (task, method(lm, history_size=0)),
        (task, method(lm, prompts_per_step=1)),
        (task, method(lm, describer=None)),
        (replace(task, seed=2), method(lm)),
        (other_images, method(lm)),
    ]
    for of_variant, chosen in variants:
        bench(tmp_path).search(of_variant, chosen)
    assert len(list(tmp_path.iterdir())) == len(variants)
    described = LMDescriber(spec("scripted/vision"))
    assert method(lm, describer=described).facts["describer"] == described.spec


def test_a_better_prompt_too_long_for_a_novel_name_is_passed_over(
    task: Task, tmp_path: Path
) -> None:
    long_name = "black as the night is in a wood"
    examples = [
        labeled_image(e.image, long_name if e.label == "black" else e.label)
        for e in task.tests["novel"].examples
    ]
    novel = LabeledImages(tuple(examples), ("yellow", "white", long_name))
    best = "a crisp and also rather flat picture of a <CLASS>."
    lm = scripted_lm([best, "a crisp picture of a <CLASS>."])
    found = bench(tmp_path).search(
        replace(task, tests={**task.tests, "novel": novel}), method(lm, steps=1)
    )
    assert found.text == "a crisp picture of a <CLASS>."
    assert found.passed_over == 1


def test_fixed_prompts_are_tested_once_and_too_long_ones_left_out(
    task: Task, tmp_path: Path
) -> None:
    texts = {
        "plain": "a <CLASS>",
        "good": "crisp flat <CLASS>",
        "two lines": "<CLASS>\na crisp <CLASS>",
        "long": f"{'word ' * 20}<CLASS>",
    }
    tested = bench(tmp_path).test(task, texts)
    assert list(tested) == ["plain", "good", "two lines"]
    assert tested["good"].figures.h == 100.0
    encoder = ColourEncoder()
    assert bench(tmp_path, encoder).test(task, texts) == tested
    assert encoder.texts_encoded == 0


def test_an_outcome_that_is_no_outcome_is_refused(task: Task, tmp_path: Path) -> None:
    bench(tmp_path).search(task, method(scripted_lm(ANSWERS)))
    (file,) = tmp_path.glob("*/outcome.json")
    file.write_text('{"outcome": {}}')
    with pytest.raises(ValueError, match="text"):
        bench(tmp_path).search(task, method(scripted_lm(ANSWERS)))


def test_outcomes_survive_the_file(task: Task, tmp_path: Path) -> None:
    found = bench(tmp_path).search(task, method(scripted_lm(ANSWERS)))
    assert Found.model_validate_json(found.model_dump_json()) == found
