"""The loop of IPO: propose from the scored history, check, score, remember."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from ipo_dspy.errors import ArgumentError, stop
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.records import Call, Reply, Score, Trial
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.runs.journal import EventLog
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.search.history import Past
from ipo_dspy.search.target import Target

_REFUSALS_SHOWN = 5
_REFUSED_CHARACTERS = 160
_LOSERS_SHOWN = 40


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
        fit_scale: order trials by the loss at a scale that is fitted to them; see `Ranking`.
    """

    descriptions: Sequence[str]
    prompts_per_step: int
    history_size: int
    num_threads: int
    steady: bool
    budget: Budget
    most_failures: int
    fit_scale: bool = True


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
        spent: a clock that has been running since before; None starts one.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        prompt_model: PromptModel,
        settings: Settings,
        log: EventLog,
        on_trial: Callable[[Trial, Spent], None],
        spent: Spent | None = None,
    ) -> None:
        self.targets = targets
        self.spent = spent or Spent()
        self.trials: list[Trial] = []
        self.ended_by = ""
        self._prompt_model = prompt_model
        self._settings = settings
        self._log = log
        self._on_trial = on_trial
        # Trials of several predictors in turn are ordered as they come: see `_texts_scored`.
        self.ranking = Ranking(fitted=settings.fit_scale and len(targets) == 1)
        self._best: Trial | None = None
        self._failures = 0
        self._past = Past()
        for event in log.events:
            self._past.add(event)
        prompt_model.count_earlier(self._past.all_replies)
        for reply in self._past.all_replies:
            self.spent.add(reply)

    def run(self) -> None:
        """Search until the budget ends; the targets' predictors then hold the best texts.

        Raises:
            SearchStoppedError: the prompt model cannot be used, or gave useless answers in a row.
            JournalError: an event cannot be kept.
        """
        self._forget_useless_answers()
        first = [(target, text) for target in self.targets for text in target.first]
        for slot, (target, text) in enumerate(first):
            self._remember(target, self._past.trials.get((0, slot)) or target.initial(slot, text))
        if self._settings.steady:
            self._run_steadily()
        else:
            self._run_steps()
        self.ended_by = self.ended_by or f"steps: {self._settings.budget.steps} made"

    @property
    def best(self) -> Trial:
        """The trial whose text its predictor holds at the end."""
        if self._best is None:
            raise ArgumentError("The search has not begun; call run() first.")
        return self._best

    def _forget_useless_answers(self) -> None:
        """Where useless answers in a row stopped the search, ask again from the first one on."""
        useless = self._past.useless()
        if len(useless) >= self._settings.most_failures:
            unsettled = [reply.call for reply in self._past.unsettled()]
            event = {"again": [*(trial.call for trial in useless), *unsettled]}
            self._log.append(event)
            self._past.add(event)

    def _run_steps(self) -> None:
        """Ask for all proposals of a step at once, and go on when all are settled."""
        slots = range(self._settings.prompts_per_step)
        with self._pool() as pool:
            for step in range(1, self._settings.budget.steps + 1):
                known = {s: r for s in slots if (r := self._past.replies.get((step, s)))}
                if not known and self._must_end(1):
                    return
                open_slots = [slot for slot in slots if slot not in known][: self._calls_left]
                calls = {slot: self._submit(pool, (step, slot)) for slot in open_slots}
                for slot in sorted([*known, *calls]):
                    self._settle(known[slot] if slot in known else self._arrived(calls[slot]))
                if len(known) + len(calls) < len(slots):
                    self._must_end(1)
                    return

    def _run_steadily(self) -> None:
        """Keep calls in flight all the time, each made from the history as it then stands."""
        for reply in self._past.in_order():
            self._settle(reply)
        open_calls = (
            (step, slot)
            for step in range(1, self._settings.budget.steps + 1)
            for slot in range(self._settings.prompts_per_step)
            if (step, slot) not in self._past.replies
        )
        in_flight: set[Future[Reply]] = set()
        with self._pool() as pool:
            while True:
                while len(in_flight) < self._settings.prompts_per_step:
                    if self._must_end(len(in_flight) + 1):
                        break
                    call = next(open_calls, None)
                    if call is None:
                        break
                    in_flight.add(self._submit(pool, call))
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

    def _submit(self, pool: ThreadPoolExecutor, call: Call) -> Future[Reply]:
        step, slot = call
        ask, inputs = self._prompt_model.ask, self._inputs(self._target(step))
        return pool.submit(copy_context().run, ask, step, slot, inputs, self._log)

    def _arrived(self, future: Future[Reply]) -> Reply:
        reply = future.result()
        self.spent.add(reply)
        return reply

    @property
    def _calls_left(self) -> int | None:
        """How many calls the budget still allows; None where it sets no bound."""
        most = self._settings.budget.calls
        return None if most is None else max(0, most - self.spent.calls)

    def _must_end(self, next_calls: int) -> bool:
        self.ended_by = self.spent.exhausted(self._settings.budget, next_calls)
        return bool(self.ended_by)

    def _target(self, step: int) -> Target:
        return self.targets[(step - 1) % len(self.targets)]

    def _inputs(self, target: Target) -> Mapping[str, Any]:
        """What the prompt model sees, from the history as it stands."""
        history, shown = target.history, self._settings.history_size
        # What was refused long ago has been avoided since, or is of no use to say.
        recent = 2 * self._settings.prompts_per_step
        refusals = [
            (text[:_REFUSED_CHARACTERS], reason)
            for text, reason in history.refusals(_REFUSALS_SHOWN, recent)
        ]
        return {
            "meta_prompt": target.meta_prompt.render(
                limit=target.rules.limit,
                refusals=refusals,
                losers=history.losers(shown, _LOSERS_SHOWN, self.ranking),
            ),
            "image_descriptions": list(self._settings.descriptions),
            "scored_history": history.shown(shown, self.ranking),
        }

    def _settle(self, reply: Reply) -> None:
        """Turn a reply into a trial, and remember it."""
        target = self._target(reply.step)
        known = self._past.trials.get(reply.call)
        self._remember(target, known or target.judge(reply))

    def _remember(self, target: Target, trial: Trial) -> None:
        new = trial.call not in self._past.trials
        if new:
            self._log.append({"trial": trial.model_dump(mode="json")})
        self.trials.append(trial)
        target.history.add(trial)
        if trial.score is not None:
            self._choose(target, trial, trial.score)
        self.spent.steps_without_gain = max(0, trial.step - self.best.step)
        self._failures = self._failures + 1 if trial.counts_as_failure else 0
        self._on_trial(trial, self.spent)
        if new and self._failures >= self._settings.most_failures:
            self._give_up(trial)

    def _choose(self, target: Target, trial: Trial, score: Score) -> None:
        """Let the predictor hold the best text; another scale may make it an earlier one."""
        rescaled = self.ranking.add(score)
        known = target.history.scored if rescaled else [self._best or trial, trial]
        best = max(known, key=self.ranking.key)
        if best is not self._best:
            self._best = best
            target.use(best.text)

    def _give_up(self, last: Trial) -> None:
        stop(
            f"The prompt model {self._prompt_model.lm.model!r} gave "
            f"{self._settings.most_failures} useless answers in a row; the last one: "
            f"{last.reason}. Check the model, or choose another one with another run folder."
        )
