import csv
import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
import torch

from ipo_dspy import CLIPClassifier, CLIPPredict, clip_acc
from ipo_dspy.errors import ArgumentError, EvaluationError
from ipo_dspy.images import labeled_image
from ipo_dspy.images.image import ImageFile
from ipo_dspy.scoring.evaluate import BatchEvaluate, KnownEvaluate, has_batched_forward, number_of
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples


class Slow(CLIPClassifier):
    """Has a forward of its own, so that it is called for every example."""

    def forward(self, image: object) -> dspy.Prediction:
        return super().forward(image)


@pytest.fixture
def examples() -> list[dspy.Example]:
    return colour_examples(3)


@pytest.fixture(params=[CLIPClassifier, Slow])
def program(request: pytest.FixtureRequest) -> CLIPClassifier:
    program: CLIPClassifier = request.param(list(COLOURS), ColourEncoder(), "a flat <CLASS>.")
    return program


class FailsOn:
    """A metric that raises for some labels."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self.calls = 0

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction) -> float:
        self.calls += 1
        if example.label in self.labels:
            raise ValueError(f"no {example.label}")
        return 1.0


@pytest.mark.slow
@pytest.mark.parametrize("num_threads", [None, 1, 3])
def test_it_gives_what_dspy_gives(
    num_threads: int | None, program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    ours = BatchEvaluate(devset=examples, metric=clip_acc, num_threads=num_threads)(program)
    dspys = dspy.Evaluate(devset=examples, metric=clip_acc, num_threads=1)(program)
    assert ours.score == dspys.score
    given = [[(e, p.label, score) for e, p, score in result.results] for result in (ours, dspys)]
    assert given[0] == given[1]


def test_examples_that_raise_count_as_0_and_are_logged_as_dspy_does(
    program: CLIPClassifier, examples: list[dspy.Example], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("dspy")
    logger.addHandler(caplog.handler)
    scores = []
    for evaluate in (BatchEvaluate, dspy.Evaluate):
        metric = FailsOn("red")
        scores.append(evaluate(devset=examples, metric=metric, num_threads=1)(program).score)
    logger.removeHandler(caplog.handler)
    assert scores[0] == scores[1] == pytest.approx(100 * 15 / 18, abs=0.01)
    messages = [record.getMessage() for record in caplog.records]
    errors = [message for message in messages if message.startswith("Error")]
    assert len(errors) == 6
    assert errors[:3] == errors[3:]


def test_too_many_errors_end_the_evaluation_with_the_first_of_them(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    metric = FailsOn("red", "green")
    evaluate = BatchEvaluate(devset=examples, metric=metric, max_errors=4, num_threads=1)
    with pytest.raises(EvaluationError, match=r"^4 of 18 examples failed, the first with Value"):
        evaluate(program)
    assert metric.calls == 4


def test_a_failure_score_is_given_as_dspy_gives_it(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    scores = [
        evaluate(devset=examples, metric=FailsOn("red"), failure_score=-1.0, num_threads=1)(
            program
        ).score
        for evaluate in (BatchEvaluate, dspy.Evaluate)
    ]
    assert scores[0] == scores[1] == pytest.approx(100 * 12 / 18, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("display_table", [True, 5])
def test_progress_table_and_files_are_those_of_dspy(
    display_table: bool | int,
    program: CLIPClassifier,
    examples: list[dspy.Example],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, written = [], []
    for evaluate in (BatchEvaluate, dspy.Evaluate):
        files = [tmp_path / f"{evaluate.__name__}.{kind}" for kind in ("csv", "json")]
        evaluate(
            devset=examples[:7],
            metric=clip_acc,
            num_threads=1,
            display_table=display_table,
            save_as_csv=str(files[0]),
            save_as_json=str(files[1]),
        )(program, display_progress=True)
        shown.append(capsys.readouterr().out)
        tables = (list(csv.DictReader(files[0].open())), json.loads(files[1].read_text()))
        written.append([[{**row, "scores": None} for row in table] for table in tables])
    assert written[0] == written[1]
    assert [len(table) for table in written[0]] == [7, 7]
    # One image and many end in other last digits on some processors.
    cut = [re.sub(r"(0\.\d{3})\d*", r"\1", out) for out in shown]
    ours, dspys = ([part for part in out.split("\n") if part] for out in cut)
    assert [part for part in ours if "it/s" not in part] == [
        part for part in dspys if "it/s" not in part
    ]
    [bar] = [part for part in ours if "it/s" in part]
    assert "Average Metric: 7.00 / 7 (100.0%): 100%" in bar
    assert "7/7" in bar


def test_no_examples_are_an_error(program: CLIPClassifier) -> None:
    with pytest.raises(ValueError, match="at least one example"):
        BatchEvaluate(devset=[], metric=clip_acc)(program)


@pytest.mark.slow
def test_one_bad_image_fails_alone(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    bad = labeled_image(ImageFile(tmp_path / "gone.png"), "red")
    devset = [*examples[:3], bad, *examples[3:]]
    results = [
        evaluate(devset=devset, metric=clip_acc, num_threads=1)(program)
        for evaluate in (BatchEvaluate, dspy.Evaluate)
    ]
    assert results[0].score == results[1].score == pytest.approx(100 * 18 / 19, abs=0.01)
    assert [value for *_, value in results[0].results][3] == 0.0


def test_arguments_of_the_call_come_before_those_of_the_constructor(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    evaluate = BatchEvaluate(devset=examples, metric=FailsOn(*COLOURS))
    result = evaluate(program, metric=clip_acc, devset=examples[:4])
    assert (result.score, len(result.results)) == (100.0, 4)


def test_a_metric_that_takes_its_time_may_have_threads(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    seen = set()
    both = threading.Barrier(2, timeout=30)

    def metric(example: dspy.Example, prediction: dspy.Prediction) -> bool:
        seen.add(threading.get_ident())
        both.wait()
        return True

    assert BatchEvaluate(devset=examples, metric=metric, num_threads=2)(program).score == 100.0
    assert len(seen) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [True, 1, 1.0, np.float32(1), torch.tensor(1.0), dspy.Prediction(score=1.0, feedback="good")],
)
def test_metrics_may_give_any_kind_of_number(
    value: Any, program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    evaluate = BatchEvaluate(devset=examples, metric=lambda e, p, trace=None: value)
    assert evaluate(program).score == 100.0


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, float("nan"), "good"])
def test_what_is_no_number_is_an_error(
    value: Any, program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    evaluate = BatchEvaluate(devset=examples, metric=lambda e, p: value)
    with pytest.raises(EvaluationError):
        evaluate(program)


class Listener(dspy.utils.BaseCallback):  # type: ignore[name-defined]
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.heard.append((inputs["program"].template.text, inputs["callback_metadata"]))

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        self.heard.append(outputs.score)


def test_callbacks_hear_of_an_evaluation_once(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    listener = Listener()
    metadata = {"metric_key": "eval_full"}
    with dspy.context(callbacks=[listener]):
        BatchEvaluate(devset=examples, metric=clip_acc)(program, callback_metadata=metadata)
        KnownEvaluate(lambda: 12.345, examples, clip_acc)(program, callback_metadata=metadata)
    begun = ("a flat <CLASS>.", metadata)
    assert listener.heard == [begun, 100.0, begun, 12.35]


def test_a_batch_is_used_only_where_it_means_what_forward_means() -> None:
    plain = CLIPClassifier(list(COLOURS), ColourEncoder())
    patched = plain.deepcopy()
    patched.forward = lambda image: plain(image=image)
    assert has_batched_forward(plain)
    assert has_batched_forward(plain.predict)
    assert not has_batched_forward(Slow(list(COLOURS), ColourEncoder()))
    assert not has_batched_forward(patched)
    assert not has_batched_forward(dspy.Predict("image -> label"))


class AlwaysRed(CLIPPredict):
    """A predictor whose forward means something else than its inherited batch."""

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        return dspy.Prediction(label="red")


def test_a_predictor_with_a_forward_of_its_own_is_asked_for_each_example(
    examples: list[dspy.Example],
) -> None:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), "a flat <CLASS>.")
    program.predict = AlwaysRed(list(COLOURS), ColourEncoder(), "a flat <CLASS>.")
    assert not has_batched_forward(program)
    assert BatchEvaluate(devset=examples, metric=clip_acc)(program).score == 16.67


def test_a_forward_put_into_a_predictor_is_asked_for_each_example(
    examples: list[dspy.Example],
) -> None:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), "a flat <CLASS>.")
    program.predict.forward = lambda **kwargs: dspy.Prediction(label="red")
    assert BatchEvaluate(devset=examples, metric=clip_acc)(program).score == 16.67


@pytest.mark.parametrize(
    ("value", "came"),
    [
        (None, "None"),
        ("good", "'good'"),
        (float("inf"), "inf"),
        ([1.0], "list"),
        (torch.ones(2), "Tensor"),
        (dspy.Prediction(score=None), "None"),
        (dspy.Prediction(mark=1.0), "None"),
    ],
)
def test_what_is_no_finite_number_is_named_as_the_metric_gave_it(value: object, came: str) -> None:
    with pytest.raises(ArgumentError, match=came):
        number_of(value)


@pytest.mark.parametrize("value", [-3, 250.5, True, "0.5", torch.tensor(2.0), np.float32(1)])
def test_any_finite_number_is_a_score_also_outside_0_to_1(value: object) -> None:
    assert number_of(value) == float(value)  # type: ignore[arg-type]
    assert number_of(dspy.Prediction(score=value)) == float(value)  # type: ignore[arg-type]
