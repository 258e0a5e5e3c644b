import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
import pytest

from ipo_dspy.errors import JournalError, SearchStoppedError
from ipo_dspy.prompts.rules import InstructionRules
from ipo_dspy.prompts.wording import MetaPrompt
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.proposing.proposer import Proposer, rollout_id
from ipo_dspy.records import Score, State, Trial
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.search.engine import Search, Settings
from ipo_dspy.search.strategies import make_strategy
from ipo_dspy.search.target import Target
from ipo_dspy.testing import ScriptedEngine, scripted_lm

Answers = Sequence[str] | Callable[[int, str], str]


class Log:
    """Keeps events in memory, as the journal would on disk."""

    def __init__(self, events: Sequence[dict[str, Any]] = ()) -> None:
        self.events = list(events)
        self.kept = list(events)

    def append(self, event: Mapping[str, Any]) -> None:
        self.kept.append(dict(event))

    def of(self, kind: str) -> list[Any]:
        return [event[kind] for event in self.kept if kind in event]


class NumberScorer:
    """A text's first number is its accuracy, its second one its loss."""

    at_once = True

    def __init__(self) -> None:
        self.scored: list[str] = []

    def score(self, texts: Sequence[str]) -> list[Score]:
        self.scored += texts
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Score:
        numbers = [float(word) for word in text.split() if word.replace(".", "").isdigit()]
        accuracy, loss = (*numbers, 1.0, 1.0)[:2] if numbers else (0.0, 1.0)
        return Score(accuracy=accuracy, loss=loss, n=1)


class SecondNumberScorer(NumberScorer):
    """A text's second number is its accuracy."""

    def _score(self, text: str) -> Score:
        return Score(accuracy=super()._score(text).loss, loss=1.0, n=1)


def target(name: str = "predict", **settings: Any) -> Target:
    made = Target(
        name=name,
        predictor=dspy.Predict("question -> answer"),
        rules=InstructionRules(limit="LIMIT"),
        meta_prompt=MetaPrompt(),
        training=NumberScorer(),
        **settings,
    )
    made.use("initial 10")
    return made


def search(
    answers: Answers | dspy.LM,
    *,
    steps: int = 3,
    prompts_per_step: int = 2,
    log: Log | None = None,
    targets: Sequence[Target] | None = None,
    on_trial: Callable[[Trial, Spent], None] = lambda trial, spent: None,
    proposer: dspy.Module | None = None,
    **settings: Any,
) -> Search:
    lm = answers if isinstance(answers, dspy.LM) else scripted_lm(answers)
    budget = settings.pop("budget", None) or Budget(steps=steps)
    chosen = {
        "descriptions": ["Image 0: chalk"],
        "history_size": 20,
        "num_threads": 8,
        "most_failures": 10,
    }
    strategy = settings.pop("strategy", "steps")
    return Search(
        targets or [target()],
        PromptModel(lm, proposer or Proposer(), temperature=1.0, seed=0),
        make_strategy(strategy, prompts_per_step=prompts_per_step, seed=0),
        Settings(budget=budget, prompts_per_step=prompts_per_step, **{**chosen, **settings}),
        log or Log(),
        on_trial,
    )


def numbered(number: int, request: str) -> str:
    return f"answer {number}"


def text_of(found: Search) -> str:
    return str(found.targets[0].predictor.signature.instructions)


def test_the_predictor_ends_with_the_best_text() -> None:
    found = search(["a 30", "b 50", "c 20", "d 40"], steps=2)
    found.run()
    assert text_of(found) == found.best.text == "b 50"
    assert found.ended_by == "steps: 2 made"


def test_equal_accuracy_is_decided_by_the_lower_loss_and_then_by_the_first() -> None:
    found = search(["a 50 2.0", "b 50 1.5", "c 50 1.5"], steps=3, prompts_per_step=1)
    found.run()
    assert text_of(found) == "b 50 1.5"


def test_where_nothing_is_better_the_initial_text_stays() -> None:
    found = search(["a 10", "b 5"], steps=1)
    found.run()
    assert text_of(found) == "initial 10"


def test_the_validation_score_decides_where_there_is_one() -> None:
    of = target(validation=SecondNumberScorer())
    found = search(["a 90 1", "b 20 80"], steps=1, targets=[of])
    found.run()
    assert text_of(found) == "b 20 80"


def test_the_calls_of_a_step_are_out_at_the_same_time() -> None:
    together = threading.Barrier(5)

    def answer(number: int, request: str) -> str:
        together.wait(timeout=10)
        return f"answer {number}"

    found = search(answer, steps=3, prompts_per_step=5)
    found.run()
    assert found.spent.calls == 15
    assert all(trial.state is State.OK for trial in found.trials)


def test_no_more_calls_are_out_than_threads() -> None:
    out: list[int] = []
    most: list[int] = []

    def answer(number: int, request: str) -> str:
        out.append(number)
        most.append(len(out))
        time.sleep(0.002)
        out.remove(number)
        return f"answer {number}"

    search(answer, steps=3, prompts_per_step=5, num_threads=2).run()
    assert max(most) <= 2


def test_the_first_answer_is_scored_while_others_are_still_out() -> None:
    scored = threading.Event()

    class SlowButForTheFirst(dspy.Module):
        def forward(self, **inputs: Any) -> dspy.Prediction:
            if dspy.settings.lm.kwargs["rollout_id"] == rollout_id(0, 1, 0):
                return dspy.Prediction(prompt="quick 50")
            assert scored.wait(timeout=10)
            return dspy.Prediction(prompt="slow 20")

    def listen(trial: Trial, spent: Spent) -> None:
        if trial.text == "quick 50":
            scored.set()

    found = search([], proposer=SlowButForTheFirst(), steps=1, on_trial=listen)
    found.run()
    assert [trial.text for trial in found.trials] == ["initial 10", "quick 50", "slow 20"]


def test_the_order_in_which_the_answers_of_a_step_arrive_does_not_matter() -> None:
    class Hurried(dspy.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.chance = random.Random(seed)

        def forward(self, **inputs: Any) -> dspy.Prediction:
            number = dspy.settings.lm.kwargs["rollout_id"] % 7
            time.sleep(self.chance.random() / 200)
            return dspy.Prediction(prompt=f"{number} {len(inputs['scored_history'])} x")

    runs = [search([], proposer=Hurried(n), steps=4, prompts_per_step=5) for n in range(3)]
    for run in runs:
        run.run()
    assert runs[0].trials == runs[1].trials == runs[2].trials
    assert any(trial.reason for trial in runs[0].trials)


def test_what_a_proposer_does_to_its_inputs_is_not_seen_by_other_calls() -> None:
    class Greedy(dspy.Module):
        def forward(self, scored_history: list[Any], **inputs: Any) -> dspy.Prediction:
            seen.append(len(scored_history))
            scored_history.clear()
            return dspy.Prediction(prompt="a 1")

    seen: list[int] = []
    search([], proposer=Greedy(), steps=1, prompts_per_step=4).run()
    assert seen == [1, 1, 1, 1]


def test_the_prompt_model_sees_the_scored_history_of_the_steps_before() -> None:
    lm = scripted_lm(["a 30", "b 50", "c 40", "d 20"])
    search(lm, steps=3, prompts_per_step=1).run()
    shown = [request.split("[[ ## scored_history ## ]]")[-1] for request in lm.engine.requests]
    assert [[name for name in ("initial", "a", "b") if f"{name} " in text] for text in shown] == [
        ["initial"],
        ["initial", "a"],
        ["initial", "a", "b"],
    ]


def test_the_prompt_model_is_told_descriptions_and_length_limit() -> None:
    lm = scripted_lm(["a 30"])
    search(lm, steps=1, prompts_per_step=1).run()
    [request] = lm.engine.requests
    assert "Image 0: chalk" in request
    assert "LIMIT" in request


def test_a_refused_proposal_and_the_reason_are_shown_in_the_next_step() -> None:
    lm = scripted_lm(["[[ ## so " + "x" * 500, "b 50"])
    search(lm, steps=2, prompts_per_step=1).run()
    first, second = lm.engine.requests
    assert "left-over" not in first
    assert "it has a left-over '[[ ##'" in second
    assert "x" * 100 in second
    assert "x" * 200 not in second


def test_a_text_that_was_tried_before_is_not_scored_again() -> None:
    scorer = NumberScorer()
    of = Target("predict", dspy.Predict("a -> b"), InstructionRules(), MetaPrompt(), scorer)
    of.use("initial 10")
    found = search(["a 30", "A  30"], steps=1, targets=[of])
    found.run()
    assert scorer.scored == ["initial 10", "a 30"] or scorer.scored == ["initial 10", "A  30"]
    assert [trial.reason for trial in found.trials if trial.reason] == ["it was tried before"]


def test_every_reply_and_trial_is_kept_in_order() -> None:
    log = Log()
    found = search(["a 30", "b 50"], steps=2, prompts_per_step=1, log=log)
    found.run()
    assert [next(iter(event)) for event in log.kept] == [
        "trial",
        "reply",
        "trial",
        "reply",
        "trial",
    ]
    assert [Trial.model_validate(body) for body in log.of("trial")] == found.trials


def test_every_trial_is_told_with_what_was_spent() -> None:
    told: list[tuple[str, int]] = []
    search(
        ["a 30", "b 50"],
        steps=2,
        prompts_per_step=1,
        on_trial=lambda trial, spent: told.append((trial.text, spent.calls)),
    ).run()
    assert told == [("initial 10", 0), ("a 30", 1), ("b 50", 2)]


def failing(kind: type[Exception], *numbers: int) -> dspy.LM:
    def answer(number: int, request: str) -> str:
        if number in numbers or not numbers:
            raise kind("it failed")
        return f"answer {number}"

    engine = ScriptedEngine(answer)
    return dspy.LM("scripted/model", engine=engine, cache=False, num_retries=0)


@pytest.mark.parametrize(
    "kind",
    [dspy.lm15.TimeoutError, dspy.lm15.RateLimitError, dspy.lm15.ServerError, ValueError],
)
def test_an_error_becomes_a_failed_trial_and_the_search_goes_on(kind: type[Exception]) -> None:
    found = search(failing(kind, 1, 2), steps=5, prompts_per_step=1)
    found.run()
    states = [trial.state for trial in found.trials]
    assert states == [State.OK, State.OK, State.FAILED, State.FAILED, State.OK, State.OK]
    assert all("it failed" in trial.reason for trial in found.trials if trial.reason)
    assert found.spent.calls == 5


def test_a_wrong_key_ends_the_search_at_once() -> None:
    lm = failing(dspy.lm15.AuthError)
    with pytest.raises(SearchStoppedError, match="cannot be used"):
        search(lm, steps=100, prompts_per_step=2).run()
    assert len(lm.engine.requests) <= 2


def test_useless_answers_in_a_row_end_the_search_with_one_sentence() -> None:
    lm = scripted_lm(lambda number, request: "" if number > 2 else f"answer {number}")
    with pytest.raises(SearchStoppedError, match="10 useless answers in a row") as stopped:
        search(lm, steps=100, prompts_per_step=1).run()
    assert len(lm.engine.requests) == 13
    assert len(str(stopped.value).splitlines()) == 1


def test_a_good_answer_in_between_begins_the_count_of_useless_ones_anew() -> None:
    found = search(
        lambda number, request: f"answer {number}" if number % 10 == 9 else "",
        steps=30,
        prompts_per_step=1,
    )
    found.run()
    assert found.spent.calls == 30


def test_answers_that_only_repeat_do_not_end_the_search() -> None:
    found = search(["a 30"], steps=30, prompts_per_step=1)
    found.run()
    assert found.spent.calls == 30


def resumable(log: Log) -> Log:
    """What a journal that is opened again holds."""
    return Log(log.kept)


def test_a_search_that_useless_answers_ended_asks_for_those_again() -> None:
    log = Log()
    broken = scripted_lm(lambda number, request: "" if number > 3 else f"answer {number}")
    with pytest.raises(SearchStoppedError):
        search(broken, steps=10, log=log).run()
    mended = search(lambda number, request: f"new {number}", steps=10, log=resumable(log))
    mended.run()
    assert [trial.call for trial in mended.trials[1:]] == [
        (step, slot) for step in range(1, 11) for slot in range(2)
    ]
    assert all(trial.state is State.OK for trial in mended.trials)
    assert mended.spent.calls == 20 + 10


@pytest.mark.slow
@pytest.mark.parametrize("kept", range(25))
def test_the_mended_search_can_be_interrupted_anywhere_and_asks_nothing_twice(kept: int) -> None:
    log = Log()
    with pytest.raises(SearchStoppedError):
        search([""], steps=10, log=log).run()
    mended = resumable(log)
    search(lambda number, request: f"new {number}", steps=10, log=mended).run()
    cut = Log(mended.kept[: len(log.kept) + kept])
    answered = sum(bool(reply["text"]) for reply in cut.of("reply"))
    lm = scripted_lm(lambda number, request: f"newer {number}")
    resumed = search(lm, steps=10, log=cut)
    resumed.run()
    assert len(lm.engine.requests) == 20 - answered
    assert all(trial.state is State.OK for trial in resumed.trials)


def test_a_search_goes_on_with_more_steps() -> None:
    log = Log()
    search(numbered, steps=2, log=log).run()
    lm = scripted_lm(lambda number, request: f"later {number}")
    longer = search(lm, steps=5, log=resumable(log))
    longer.run()
    assert len(lm.engine.requests) == 6
    assert longer.spent.calls == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "calls", "bound"),
    [
        (Budget(steps=9, calls=7), 7, "calls"),
        (Budget(steps=9, calls=6), 6, "calls"),
        (Budget(steps=9, calls=1), 1, "calls"),
        (Budget(steps=9, calls=0), 0, "calls"),
        (Budget(steps=9, tokens=330), 4, "tokens"),
        (Budget(steps=9, seconds=0), 0, "seconds"),
        (Budget(steps=9, patience=2), 4, "patience"),
        (Budget(steps=2), 4, "steps"),
    ],
)
def test_a_bound_ends_the_search_and_calls_are_counted_one_by_one(
    budget: Budget, calls: int, bound: str
) -> None:
    found = search(["a 5", "b 6"], budget=budget)
    found.run()
    assert found.spent.calls == calls
    assert found.ended_by.startswith(bound)


def test_patience_counts_from_the_best_prompt() -> None:
    answers = ["a 1", "b 50", "c 2", "d 60", "e 3", "f 4", "g 5", "h 99"]
    found = search(answers, budget=Budget(steps=9, patience=3), prompts_per_step=1)
    found.run()
    assert (found.best.text, found.spent.calls) == ("d 60", 7)


def test_a_step_that_was_begun_is_finished_though_a_bound_was_reached() -> None:
    log = Log()
    search(numbered, steps=3, log=log).run()
    begun = [i for i, event in enumerate(log.kept) if "reply" in event][4]
    cut = Log(log.kept[: begun + 1])
    bound = Budget(steps=9, tokens=5 * 110)
    resumed = search(numbered, budget=bound, log=resumable(cut))
    resumed.run()
    assert resumed.spent.calls == 6


def test_several_predictors_take_turns_and_the_best_trial_of_all_is_kept() -> None:
    first, second = target("first"), target("second")
    found = search(
        ["a 30", "b 20", "c 25", "d 40"], steps=4, prompts_per_step=1, targets=[first, second]
    )
    found.run()
    assert [trial.predictor for trial in found.trials] == [
        *("first", "second"),
        *("first", "second", "first", "second"),
    ]
    assert first.predictor.signature.instructions == "a 30"
    assert second.predictor.signature.instructions == "d 40"


def test_a_stricter_bound_on_useless_answers_does_not_judge_what_is_past() -> None:
    log = Log()
    lm = scripted_lm(lambda number, request: "" if number < 7 else f"answer {number}")
    search(lm, steps=8, prompts_per_step=1, log=log).run()
    stricter = search(numbered, steps=9, prompts_per_step=1, log=resumable(log), most_failures=5)
    stricter.run()
    assert stricter.spent.calls == 9


def test_useless_answers_for_several_predictors_are_counted_together_and_asked_again() -> None:
    log = Log()
    with pytest.raises(SearchStoppedError):
        search(
            [""], steps=50, prompts_per_step=1, targets=[target("a"), target("b")], log=log
        ).run()
    assert len(log.of("reply")) == 10
    mended = search(
        numbered,
        steps=12,
        prompts_per_step=1,
        targets=[target("a"), target("b")],
        log=resumable(log),
    )
    mended.run()
    assert len(mended.trials) == 14


def test_a_journal_that_cannot_be_written_ends_the_search() -> None:
    class Full(Log):
        def append(self, event: Mapping[str, Any]) -> None:
            if "reply" in event:
                raise JournalError("disk full")

    with pytest.raises(JournalError, match="disk full"):
        search(numbered, log=Full()).run()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["steps", "steady"])
@pytest.mark.parametrize("broken", [False, True])
def test_no_thread_is_left_behind(strategy: str, broken: bool) -> None:
    def answer(number: int, request: str) -> str:
        if broken and number == 0:
            raise dspy.lm15.AuthError("wrong key")
        time.sleep(0.05)
        return f"answer {number}"

    before = set(threading.enumerate())
    found = search(answer, strategy=strategy)
    if broken:
        with pytest.raises(SearchStoppedError):
            found.run()
    else:
        found.run()
    # Threads of earlier tests may end meanwhile.
    assert set(threading.enumerate()) <= before


def test_steadily_as_many_calls_are_in_flight_as_a_step_has_prompts() -> None:
    slow = threading.Event()
    quick: list[int] = []

    def answer(number: int, request: str) -> str:
        if number == 0:
            assert slow.wait(timeout=10)
            return "slow 99"
        quick.append(number)
        if len(quick) == 20:
            slow.set()
        return f"quick {number / 100}"

    # Step by step, the slow call would hold up the 20 quick ones that let it go.
    found = search(answer, steps=11, prompts_per_step=2, strategy="steady")
    found.run()
    assert found.best.text == "slow 99"
    assert found.spent.calls == 22


def test_steadily_each_call_sees_the_history_as_it_stands() -> None:
    lm = scripted_lm(lambda number, request: f"answer {number + 20}")
    search(lm, steps=5, prompts_per_step=1, strategy="steady").run()
    assert [f"answer {n + 20}" in lm.engine.requests[-1] for n in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("budget", "calls"),
    [
        (Budget(steps=9, calls=7), 7),
        (Budget(steps=2), 4),
        (Budget(steps=9, seconds=0), 0),
    ],
)
def test_a_bound_ends_a_steady_search(budget: Budget, calls: int) -> None:
    found = search(numbered, budget=budget, strategy="steady")
    found.run()
    assert found.spent.calls == calls


@pytest.mark.slow
@pytest.mark.parametrize("kept", range(0, 17, 2))
def test_a_steady_search_resumes_and_asks_only_what_is_open(kept: int) -> None:
    log = Log()
    search(numbered, steps=4, strategy="steady", log=log).run()
    cut = Log(log.kept[:kept])
    lm = scripted_lm(lambda number, request: f"later {number}")
    resumed = search(lm, steps=4, strategy="steady", log=resumable(cut))
    resumed.run()
    assert len(lm.engine.requests) == 8 - len(cut.of("reply"))
    assert sorted(trial.call for trial in resumed.trials[1:]) == [
        (step, slot) for step in range(1, 5) for slot in range(2)
    ]
    before = [Trial.model_validate(body) for body in cut.of("trial")]
    assert resumed.trials[: len(before)] == before


def test_a_steady_search_ends_on_useless_answers_and_resumes() -> None:
    log = Log()
    with pytest.raises(SearchStoppedError, match="useless answers"):
        search([""], steps=50, strategy="steady", log=log).run()
    mended = search(numbered, steps=7, strategy="steady", log=resumable(log))
    mended.run()
    assert len(mended.trials) == 15
