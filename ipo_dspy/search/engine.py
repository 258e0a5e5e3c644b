"""The search: ask, judge, remember, stop, and replay what an interrupted run left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby, takewhile

from ipo_dspy.errors import ArgumentError, OutOfTimeError, stop
from ipo_dspy.proposing.faults import advice
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.records import Call, Reply, State, Trial
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.runs.calls import Calls
from ipo_dspy.runs.journal import EventLog
from ipo_dspy.search.history import Past
from ipo_dspy.search.strategies import Ask, Candidate, SearchView, Strategy
from ipo_dspy.search.target import Target


@dataclass(frozen=True)
class Settings:
    """How a search goes on.

    Attributes:
        descriptions: what the prompt model is told about the images.
        prompts_per_step: proposals of a step, and most that are out at once.
        history_size: how many scored prompts the prompt model sees.
        num_threads: most calls in flight.
        budget: when to end.
        most_failures: so many useless answers in a row end the search.
    """

    descriptions: Sequence[str]
    prompts_per_step: int
    history_size: int
    num_threads: int
    budget: Budget
    most_failures: int


@dataclass(frozen=True, eq=False)
class _Open:
    """What was asked for and is not settled yet, with its answer as soon as that is there."""

    call: Call
    asked: Ask | Candidate
    answer: Reply | Future[Reply]

    @property
    def has_arrived(self) -> bool:
        return isinstance(self.answer, Reply) or self.answer.done()

    @property
    def reply(self) -> Reply:
        return self.answer if isinstance(self.answer, Reply) else self.answer.result()


class Search:
    """Searches better instructions for the targets of one program.

    A strategy says what to ask; with one that settles in order, a search is a pure function of its
    settings and of what the prompt model answers. Events of an interrupted run are replayed through
    the same code that makes new ones.

    Args:
        targets: the predictors to search for; their program is changed in place.
        prompt_model: what is asked for proposals.
        strategy: says what to ask next.
        settings: how to go on.
        log: where replies and trials are kept.
        on_trial: called after every trial.
        spent: a clock that has been running since before; None starts one.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        prompt_model: PromptModel,
        strategy: Strategy,
        settings: Settings,
        log: EventLog,
        on_trial: Callable[[Trial, Spent], None],
        spent: Spent | None = None,
    ) -> None:
        self.targets = targets
        self.spent = spent or Spent()
        self.trials: list[Trial] = []
        self.ended_by = ""
        self._by_name = {target.name: target for target in targets}
        self._prompt_model = prompt_model
        self._strategy = strategy
        self._settings = settings
        self._log = log
        self._on_trial = on_trial
        self._best: Trial | None = None
        self._failures = 0
        self._open: list[_Open] = []
        self._asked: list[Call] = []
        self._has_enough = False
        self._past = Past()
        for event in log.events:
            self._past.add(event)
        prompt_model.count_earlier(self._past.all_replies)
        for reply in self._past.all_replies:
            self.spent.add(reply)
        for trial in self._past.trials.values():
            self.spent.add(trial)
        self._settled_as = {call: place for place, call in enumerate(self._past.trials)}

    @property
    def best(self) -> Trial:
        """The trial whose text its predictor holds at the end."""
        if self._best is None:
            raise ArgumentError("The search has not begun; call run() first.")
        return self._best

    def run(self) -> None:
        """Search until the budget ends; the targets' predictors then hold the best texts.

        Raises:
            SearchStoppedError: the prompt model cannot be used, or gave useless answers in a row.
            OutOfTimeError: the time is up before the program's own texts are scored.
            JournalError: an event cannot be kept.
        """
        self._forget_useless_answers()
        first = [(target, text) for target in self.targets for text in target.first]
        for slot, (target, text) in enumerate(first):
            self._remember(target, self._past.trials.get((0, slot)) or target.initial(slot, text))
        budget = self._settings.budget
        threads = min(self._settings.num_threads, self._settings.prompts_per_step)
        with Calls[Reply](threads) as calls:
            try:
                while self._ask(calls):
                    self._settle(self._next_answers(calls))
            except OutOfTimeError:
                out = sum(not one.has_arrived for one in self._open)
                self.ended_by = self.spent.out_of_time(budget, waited_for=out)
        if self._has_enough and not self.ended_by:
            self.ended_by = self.spent.exhausted(budget, self._calls_for(1))
        self.ended_by = self.ended_by or f"steps: {budget.steps} made"

    def _forget_useless_answers(self) -> None:
        """Where useless answers in a row stopped the search, ask again from the first one on.

        Also where it ended without a single answer, as when a server was down: nothing was paid.
        """
        useless = self._past.useless()
        asked = [trial for trial in useless if not trial.edited]
        settings = self._settings
        is_whole = len(asked) >= settings.budget.steps * settings.prompts_per_step
        in_vain = is_whole and all(trial.state is State.FAILED for trial in asked)
        if len(asked) >= settings.most_failures or in_vain:
            unsettled = [reply.call for reply in self._past.unsettled()]
            event = {"again": [*(trial.call for trial in useless), *unsettled]}
            self._log.append(event)
            self._past.add(event)

    def _ask(self, calls: Calls[Reply]) -> bool:
        """Put out what the strategy asks for now; tell whether there is anything to settle."""
        free = self._settings.prompts_per_step - len(self._open)
        wanted = [] if self._has_enough else list(self._strategy.ask(self._view, free))
        numbered = self._numbered(wanted, free)
        begun = any(call in self._past.replies or call in self._past.trials for call, _ in numbered)
        self._has_enough = self._has_enough or bool(wanted and not begun and self._is_exhausted())
        for call, asked in numbered:
            if self._has_enough:
                break
            self._put_out(call, asked, calls)
        return bool(self._open)

    def _numbered(
        self, wanted: Sequence[Ask | Candidate], free: int
    ) -> list[tuple[Call, Ask | Candidate]]:
        """Number what a strategy wants: the step that it says, and the next slot of that step."""
        numbered: list[tuple[Call, Ask | Candidate]] = []
        step, slot = self._asked[-1] if self._asked else (0, 0)
        for asked in wanted:
            if asked.step < max(step, 1) or asked.predictor not in self._by_name:
                raise ArgumentError(
                    f"The strategy {type(self._strategy).__name__} asked for {asked!r}; expected "
                    f"a step from {max(step, 1)} and one of the predictors {list(self._by_name)}."
                )
            step, slot = asked.step, slot + 1 if asked.step == step else 0
            numbered.append(((step, slot), asked))
        if len(numbered) > free:
            raise ArgumentError(
                f"The strategy {type(self._strategy).__name__} asked for {len(numbered)} proposals "
                f"where {free} were free."
            )
        return numbered

    def _put_out(self, call: Call, asked: Ask | Candidate, calls: Calls[Reply]) -> None:
        answer: Reply | Future[Reply]
        if call in self._past.replies:
            answer = self._past.replies[call]
        elif isinstance(asked, Candidate):
            answer = Reply(step=call[0], slot=call[1], text=asked.text)
        elif self.spent.lacks_calls(self._settings.budget, self._calls_for(self._in_flight + 1)):
            self._has_enough = True
            return
        else:
            target = self._by_name[asked.predictor]
            inputs = target.inputs(asked, self._settings.descriptions, self._settings.history_size)
            answer = calls.submit(partial(self._prompt_model.ask, *call, inputs, self._log))
        self._open.append(_Open(call, asked, answer))
        self._asked.append(call)

    @property
    def _view(self) -> SearchView:
        return SearchView(
            histories={target.name: target.history for target in self.targets},
            steps=self._settings.budget.steps,
            asked=len(self._asked),
            step=self._asked[-1][0] if self._asked else 0,
            open=len(self._open),
            descriptions=self._settings.descriptions,
        )

    @property
    def _in_flight(self) -> int:
        return sum(isinstance(one.answer, Future) for one in self._open)

    def _is_exhausted(self) -> bool:
        """Tell whether a bound forbids to go on."""
        calls = self._calls_for(self._in_flight)
        return bool(self.spent.exhausted(self._settings.budget, calls))

    def _calls_for(self, proposals: int) -> int:
        """The calls that so many proposals take: to make them, and to score them."""
        costs = (trial.cost.calls for trial in reversed(self.trials) if trial.cost is not None)
        return proposals * (1 + next(costs, 0))

    def _next_answers(self, calls: Calls[Reply]) -> list[_Open]:
        """Wait for what can be settled next, and take it from what is open."""
        while not (ready := self._ready()):
            for future in calls.wait(
                {o.answer for o in self._open if isinstance(o.answer, Future)}
            ):
                # What ends a search ends it now, whatever else is still out.
                future.result()
        self._open = [one for one in self._open if one not in ready]
        return ready

    def _ready(self) -> list[_Open]:
        if self._strategy.in_order:
            return list(takewhile(lambda one: one.has_arrived, self._open))
        replayed = [one for one in self._open if one.call in self._settled_as]
        if replayed:
            return [min(replayed, key=lambda one: self._settled_as[one.call])]
        texts = [one for one in self._open if isinstance(one.asked, Candidate)]
        return texts or [one for one in self._open if one.has_arrived][:1]

    def _settle(self, answers: Sequence[_Open]) -> None:
        """Turn answers into trials, and remember them."""
        for predictor, group in groupby(answers, key=lambda one: one.asked.predictor):
            target = self._by_name[predictor]
            for batch in target.batches(list(group)):
                self._settle_batch(target, batch)

    def _settle_batch(self, target: Target, batch: Sequence[_Open]) -> None:
        for one in batch:
            if isinstance(one.answer, Future):
                self.spent.add(one.reply)
        # Of an interrupted batch the first ones are known; the others must differ from them.
        known = list(takewhile(lambda one: one.call in self._past.trials, batch))
        for one in known:
            self._remember(target, self._past.trials[one.call])
        new = batch[len(known) :]
        if new and self._calls_for(1) > 1 and self._is_exhausted():
            # The answers are kept; scoring them would cost what is not there any more.
            self._has_enough = True
            return
        for one, trial in zip(new, target.judge([one.reply for one in new]), strict=True):
            # An edit tells nothing about the prompt model.
            as_edit = {"edited": True, "counts_as_failure": False}
            is_edit = isinstance(one.asked, Candidate)
            self._remember(target, trial.model_copy(update=as_edit) if is_edit else trial)

    def _remember(self, target: Target, trial: Trial) -> None:
        new = trial.call not in self._past.trials
        if new:
            self._log.append({"trial": trial.model_dump(mode="json")})
            self.spent.add(trial)
        self.trials.append(trial)
        reordered = target.history.add(trial)
        if trial.state is State.OK:
            self._choose(target, target.history.scored if reordered else [trial])
        self.spent.steps_without_gain = max(0, trial.step - self.best.step)
        if not trial.edited:
            self._failures = self._failures + 1 if trial.counts_as_failure else 0
        self._strategy.tell(trial)
        self._on_trial(trial, self.spent)
        if new and self._failures >= self._settings.most_failures:
            self._give_up(trial)

    def _choose(self, target: Target, trials: Sequence[Trial]) -> None:
        """Let the predictor hold the best text; another order may make it an earlier one."""
        known = [*([self._best] if self._best else []), *trials]
        best = max(known, key=target.history.ranking.key)
        if best is not self._best:
            self._best = best
            target.use(best.text)

    def _give_up(self, last: Trial) -> None:
        stop(
            f"The prompt model {self._prompt_model.lm.model!r} gave "
            f"{self._settings.most_failures} useless answers in a row; the last one: "
            f"{last.reason}. "
            + advice(
                last.reason or "", "Check the model, or choose another one with another run folder."
            )
        )
