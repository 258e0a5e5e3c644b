"""The loop of IPO: propose from the scored history, check, score, remember."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import dspy

from ipo_dspy.budget import Budget, Spent, steps_without_gain
from ipo_dspy.errors import stop
from ipo_dspy.history import EventLog, History, records
from ipo_dspy.prompt_model import PromptModel
from ipo_dspy.proposer import RefusedError, Rules, clean
from ipo_dspy.records import Reply, Score, State, Trial
from ipo_dspy.scorer import Scorer
from ipo_dspy.signatures import MetaPrompt

TRIED_BEFORE = "it was tried before"
_REFUSALS_SHOWN = 5
_REFUSED_CHARACTERS = 160

Call = tuple[int, int]
"""A step, from 1, and a slot in it, from 0; step 0 has the initial prompts."""


@dataclass(frozen=True)
class Target:
    """One predictor whose instructions are searched for."""

    name: str
    predictor: dspy.Predict
    rules: Rules
    meta_prompt: MetaPrompt
    training: Scorer
    validation: Scorer | None = None
    history: History = field(default_factory=History)

    def use(self, text: str) -> None:
        """Give the predictor a text."""
        self.predictor.signature = self.predictor.signature.with_instructions(text)


@dataclass(frozen=True)
class Settings:
    """How a search goes on.

    Attributes:
        descriptions: what the prompt model is told about the images.
        prompts_per_step: proposals of a step, each a call of its own.
        history_size: how many scored prompts the prompt model sees.
        num_threads: most calls in flight.
        steady: ask for the next proposal as soon as one is settled, not when its step is.
        budget: when to end.
        most_failures: so many useless answers in a row end the search.
    """

    descriptions: Sequence[str]
    prompts_per_step: int
    history_size: int
    num_threads: int
    steady: bool
    budget: Budget
    most_failures: int


class Search:
    """Searches better instructions for the targets of one program, in turn if there are several.

    Step by step, a search is a pure function of its settings and of what the prompt model answers.
    Steadily, it also depends on the order in which answers arrive. Either way, events of an
    interrupted run are replayed through the same code that makes new ones.

    Args:
        targets: the predictors to search for; their program is changed in place.
        prompt_model: what is asked for proposals.
        settings: how to go on.
        log: where replies and trials are kept.
        on_trial: called after every trial.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        prompt_model: PromptModel,
        settings: Settings,
        log: EventLog,
        on_trial: Callable[[Trial, Spent], None],
    ) -> None:
        self.targets = targets
        self.spent = Spent()
        self.ended_by = ""
        self._prompt_model = prompt_model
        self._settings = settings
        self._log = log
        self._on_trial = on_trial
        self._best: Trial | None = None
        trials = [Trial.model_validate(body) for body in records(log.events, "trial")]
        replies = [Reply.model_validate(body) for body in records(log.events, "reply")]
        # The run that stopped for useless answers resumes by asking those again.
        again = {_call(t) for t in _trailing_failures(trials, settings.most_failures)}
        self._trials = {_call(t): t for t in trials if _call(t) not in again}
        self._replies = {_call(r): r for r in replies if _call(r) not in again}
        prompt_model.count_earlier(replies)
        for reply in replies:
            self.spent.add(reply)

    def run(self) -> None:
        """Search until the budget ends; the targets' predictors then hold the best texts.

        Raises:
            SearchStoppedError: the prompt model cannot be used, or gave useless answers in a row.
            JournalError: an event cannot be kept.
        """
        for slot, target in enumerate(self.targets):
            self._remember(target, self._initial(target, slot))
        if self._settings.steady:
            self._run_steadily()
        else:
            self._run_steps()
        self.ended_by = self.ended_by or f"steps: {self._settings.budget.steps} made"

    @property
    def best(self) -> Trial:
        """The trial whose text its predictor holds at the end."""
        if self._best is None:
            raise ValueError("The search has not begun; call run() first.")
        return self._best

    def _run_steps(self) -> None:
        """Ask for all proposals of a step at once, and go on when all are settled."""
        slots = range(self._settings.prompts_per_step)
        with self._pool() as pool:
            for step in range(1, self._settings.budget.steps + 1):
                open_slots = [slot for slot in slots if (step, slot) not in self._replies]
                if open_slots and self._must_end(len(open_slots)):
                    return
                inputs = self._inputs(self._target(step))
                calls = {s: self._submit(pool, (step, s), inputs) for s in open_slots}
                for slot in slots:
                    known = self._replies.get((step, slot))
                    self._settle(known or self._arrived(calls[slot]))

    def _run_steadily(self) -> None:
        """Keep calls in flight all the time, each made from the history as it then stands."""
        for reply in self._replies.values():
            self._settle(reply)
        settings = self._settings
        open_calls = (
            (step, slot)
            for step in range(1, settings.budget.steps + 1)
            for slot in range(settings.prompts_per_step)
            if (step, slot) not in self._replies
        )
        in_flight: set[Future[Reply]] = set()
        with self._pool() as pool:
            while True:
                while len(in_flight) < settings.prompts_per_step:
                    call = next(open_calls, None)
                    if call is None or self._must_end(len(in_flight) + 1):
                        break
                    inputs = self._inputs(self._target(call[0]))
                    in_flight.add(self._submit(pool, call, inputs))
                if not in_flight:
                    return
                done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(self._arrived(future))

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        pool = ThreadPoolExecutor(
            min(self._settings.num_threads, self._settings.prompts_per_step),
            thread_name_prefix="prompt-model",
        )
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, call: Call, inputs: Mapping[str, Any]
    ) -> Future[Reply]:
        step, slot = call
        ask = self._prompt_model.ask
        return pool.submit(copy_context().run, ask, step, slot, inputs, self._log)

    def _arrived(self, future: Future[Reply]) -> Reply:
        reply = future.result()
        self.spent.add(reply)
        return reply

    def _must_end(self, next_calls: int) -> bool:
        self.ended_by = self.spent.exhausted(self._settings.budget, next_calls)
        return bool(self.ended_by)

    def _target(self, step: int) -> Target:
        return self.targets[(step - 1) % len(self.targets)]

    def _inputs(self, target: Target) -> Mapping[str, Any]:
        """What the prompt model sees, from the history as it stands."""
        refusals = [
            (text[:_REFUSED_CHARACTERS], reason)
            for text, reason in target.history.refusals(_REFUSALS_SHOWN)
        ]
        return {
            "meta_prompt": target.meta_prompt.render(limit=target.rules.limit, refusals=refusals),
            "image_descriptions": list(self._settings.descriptions),
            "scored_history": target.history.shown(self._settings.history_size),
        }

    def _initial(self, target: Target, slot: int) -> Trial:
        known = self._trials.get((0, slot))
        return known or _scored(target, (0, slot), target.predictor.signature.instructions)

    def _settle(self, reply: Reply) -> None:
        """Turn a reply into a trial, and remember it."""
        target = self._target(reply.step)
        trial = self._trials.get(_call(reply)) or _judge(target, reply)
        self._remember(target, trial)
        self.spent.steps_without_gain = steps_without_gain(list(target.history))
        if target.history.failures_in_a_row() >= self._settings.most_failures:
            self._give_up(trial)

    def _remember(self, target: Target, trial: Trial) -> None:
        if _call(trial) not in self._trials:
            self._log.append({"trial": trial.model_dump(mode="json")})
        target.history.add(trial)
        if trial.state is State.OK and (self._best is None or trial.rank > self._best.rank):
            self._best = trial
            target.use(trial.text)
        self._on_trial(trial, self.spent)

    def _give_up(self, last: Trial) -> None:
        stop(
            f"The prompt model {self._prompt_model.lm.model!r} gave "
            f"{self._settings.most_failures} useless answers in a row; the last one: "
            f"{last.reason}. Check the model, then repeat the command to go on, or choose another "
            "model and another run folder."
        )


def _call(record: Reply | Trial) -> Call:
    return record.step, record.slot


def _judge(target: Target, reply: Reply) -> Trial:
    """Check a reply by the rules, and score it if it passes."""
    if reply.text is None:
        return _unscored(target, reply, "", State.FAILED, reply.error or "no answer")
    text = clean(reply.text)
    try:
        text = target.rules.check(text)
    except RefusedError as error:
        return _unscored(target, reply, text, State.INVALID, str(error))
    if text in target.history:
        return _unscored(target, reply, text, State.INVALID, TRIED_BEFORE)
    return _scored(target, _call(reply), text)


def _scored(target: Target, call: Call, text: str) -> Trial:
    step, slot = call
    validation: Score | None = None
    [score] = target.training.score([text])
    if target.validation is not None:
        [validation] = target.validation.score([text])
    return Trial(
        step=step,
        slot=slot,
        predictor=target.name,
        text=text,
        state=State.OK,
        score=score,
        validation=validation,
    )


def _unscored(target: Target, reply: Reply, text: str, state: State, reason: str) -> Trial:
    return Trial(
        step=reply.step,
        slot=reply.slot,
        predictor=target.name,
        text=text,
        state=state,
        reason=reason,
        # A model that repeats itself works; there may just be little left to find.
        counts_as_failure=reason != TRIED_BEFORE,
    )


def _trailing_failures(trials: Sequence[Trial], most_failures: int) -> list[Trial]:
    count = 0
    for trial in reversed(trials):
        if not trial.counts_as_failure:
            break
        count += 1
    return list(trials[len(trials) - count :]) if count >= most_failures else []
