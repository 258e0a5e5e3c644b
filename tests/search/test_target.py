from collections.abc import Sequence

import dspy
import pytest

from ipo_dspy.errors import EvaluationError, MetricError, SearchStoppedError
from ipo_dspy.prompts.rules import InstructionRules
from ipo_dspy.prompts.wording import MetaPrompt
from ipo_dspy.records import Reply, Score, State, Trial
from ipo_dspy.search.target import TRIED_BEFORE, Target


class LengthScorer:
    """The longer, the better; some texts break the program, or the metric."""

    at_once = False

    def __init__(self, unit: float = 1.0) -> None:
        self.unit = unit

    def score(self, texts: Sequence[str]) -> list[Score]:
        if any("break" in text for text in texts):
            raise EvaluationError("too many examples fail")
        if any("unmeasurable" in text for text in texts):
            raise MetricError("too many examples fail")
        return [Score(accuracy=self.unit * len(text), loss=1.0, n=1) for text in texts]


def target(validation: LengthScorer | None = None) -> Target:
    return Target(
        name="predict",
        predictor=dspy.Predict("question -> answer"),
        rules=InstructionRules(),
        meta_prompt=MetaPrompt(),
        training=LengthScorer(),
        validation=validation,
    )


def judged(of: Target, answer: Reply) -> Trial:
    [trial] = of.judge([answer])
    return trial


def reply(text: str | None, error: str | None = None) -> Reply:
    return Reply(step=3, slot=2, text=text, error=error)


def test_a_good_reply_becomes_a_scored_trial_of_its_call() -> None:
    trial = judged(target(), reply("Think."))
    assert (trial.call, trial.predictor, trial.state) == ((3, 2), "predict", State.OK)
    assert (trial.text, trial.score) == ("Think.", Score(accuracy=6, loss=1, n=1))
    assert (trial.reason, trial.validation, trial.counts_as_failure) == ("", None, False)


def test_a_trial_has_a_validation_score_where_there_is_a_validation_set() -> None:
    trial = judged(target(LengthScorer(unit=2.0)), reply("Think."))
    assert trial.validation == Score(accuracy=12, loss=1, n=1)


@pytest.mark.parametrize(
    ("answered", "state", "reason"),
    [
        (reply(None, "LMTimeoutError: late"), State.FAILED, "LMTimeoutError: late"),
        (reply(""), State.INVALID, "it is empty"),
        (reply("x ## ]]"), State.INVALID, "it has a left-over '## ]]'"),
        (reply("break it"), State.FAILED, "too many examples fail"),
    ],
)
def test_a_reply_that_is_no_use_becomes_a_trial_without_score_but_with_a_reason(
    answered: Reply, state: State, reason: str
) -> None:
    trial = judged(target(), answered)
    assert (trial.state, trial.reason, trial.score) == (state, reason, None)
    assert trial.counts_as_failure


def test_a_text_that_was_tried_before_is_refused_but_no_failure_of_the_model() -> None:
    of = target()
    of.history.add(judged(of, reply("Think.")))
    again = judged(of, reply(" think. "))
    assert (again.state, again.reason, again.score) == (State.INVALID, TRIED_BEFORE, None)
    assert not again.counts_as_failure


def test_the_initial_trial_has_the_predictors_own_text_at_step_zero() -> None:
    of = target()
    of.use("First.")
    trial = of.initial(1, of.first[0])
    assert (trial.call, trial.text, trial.state) == ((0, 1), "First.", State.OK)


def test_an_initial_text_on_which_every_example_fails_scores_0_and_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    of = target()
    of.use("break")
    trial = of.initial(0, of.first[0])
    assert trial.state is State.OK
    assert trial.score is not None
    assert trial.score.accuracy == 0.0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_metric_that_fails_ends_the_search() -> None:
    of = target()
    of.use("unmeasurable")
    with pytest.raises(SearchStoppedError, match="cannot be evaluated as it is: too many"):
        of.initial(0, of.first[0])


def test_judging_changes_neither_predictor_nor_history() -> None:
    of = target()
    before = of.predictor.signature.instructions
    judged(of, reply("Think."))
    assert (of.predictor.signature.instructions, len(of.history)) == (before, 0)
