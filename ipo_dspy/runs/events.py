"""What a journal may hold: events that a search could have written, and no others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter, ValidationError

from ipo_dspy.records import SCALES, Call, ClassText, Description, Reply, Score, State, Trial

Event: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[Mapping[int, Event]], Mapping[int, str]]
"""From events by the numbers of their lines to what is wrong with some of them."""

_TOLERANCE = 1e-6


class _Retry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    step: NonNegativeInt
    slot: NonNegativeInt
    reason: str


_KINDS: Mapping[str, TypeAdapter[Any]] = {
    "description": TypeAdapter(Description),
    "reply": TypeAdapter(Reply),
    "retry": TypeAdapter(_Retry),
    "trial": TypeAdapter(Trial),
    "class_text": TypeAdapter(ClassText),
    "again": TypeAdapter(list[tuple[NonNegativeInt, NonNegativeInt]]),
}


@dataclass(frozen=True)
class Sense:
    """What the events of one run may say; anything else was written by no search.

    Attributes:
        images: how many images are described.
        predictors: by the names of those whose texts are searched for, what reads such a text; it
            raises a `ValueError` for one that is none.
        sizes: how many examples a score may be of.
        prompts_per_step: how many proposals make a step; None where steps may be skipped, or have
            any number.
    """

    images: int
    predictors: Mapping[str, Callable[[str], object]] = field(default_factory=dict)
    sizes: Sequence[int] = ()
    prompts_per_step: int | None = None

    def __call__(self, events: Mapping[int, Event]) -> dict[int, str]:
        """Find the events that make no sense, by the numbers of their lines, and say why."""
        reading = _Reading(self)
        for line, event in events.items():
            try:
                reading.take(line, event)
            except ValueError as error:
                reading.wrong[line] = str(error)
        return reading.wrong

    def read(self, event: Event) -> Any:
        """Read one event by itself.

        Raises:
            ValueError: it makes no sense; the message says why.
        """
        if len(event) != 1 or (kind := next(iter(event))) not in _KINDS:
            raise ValueError(f"no event is made of {', '.join(map(repr, event)) or 'nothing'}")
        try:
            read = _KINDS[kind].validate_json(orjson.dumps(event[kind]), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, (kind, *first["loc"])))
            raise ValueError(f"{place}: {first['msg']}") from error
        if isinstance(read, Description) and read.index >= self.images:
            raise ValueError(f"image {read.index} is none of the {self.images} images described")
        if isinstance(read, Trial):
            self._check_trial(read)
        return read

    def _check_trial(self, trial: Trial) -> None:
        if (trial.score is None) == (trial.state is State.OK):
            raise ValueError("a trial that is ok has a score, and no other has")
        for score in filter(None, (trial.score, trial.validation)):
            if score.n not in (0, *self.sizes):
                raise ValueError(f"its score is of {score.n} examples, and there are others")
            _check_sum(score)
        if trial.predictor and trial.predictor not in self.predictors:
            raise ValueError(f"the program searches nothing for {trial.predictor!r}")
        if trial.state is State.OK and trial.predictor:
            self.predictors[trial.predictor](trial.text)


class _Reading:
    """What was read of a journal so far."""

    def __init__(self, sense: Sense) -> None:
        self.wrong: dict[int, str] = {}
        self._sense = sense
        self._trials: dict[Call, tuple[int, Trial]] = {}
        self._replies: dict[Call, tuple[int, Reply]] = {}
        self._described: dict[int, int] = {}
        self._furthest = 0
        self._taken = 0

    def take(self, line: int, event: Event) -> None:
        """Take up one event.

        Raises:
            ValueError: it makes no sense after those before it.
        """
        read = self._sense.read(event)
        if isinstance(read, Trial | Reply):
            self._follow(line, read.call)
        self._taken += 1
        if isinstance(read, Trial):
            self._take_trial(line, read)
        elif isinstance(read, Reply):
            self._take_reply(line, read)
        elif isinstance(read, Description) and read.text is not None:
            before = self._described.setdefault(read.index, line)
            if before != line:
                raise ValueError(f"image {read.index} is described in line {before}")
        elif isinstance(read, list):
            for call in read:
                self._trials.pop(call, None)
                self._replies.pop(call, None)

    def _follow(self, line: int, call: Call) -> None:
        """Make sure that a step comes after the one before, unless lines in between are lost."""
        most = self._sense.prompts_per_step
        step, slot = call
        if most is None:
            return
        # The first event is in line 2.
        lost = line - 2 - self._taken
        if step > self._furthest + 1 + lost:
            raise ValueError(f"step {step} comes after step {self._furthest}")
        if step and slot >= most:
            raise ValueError(f"no call of a step has the number {slot} where there are {most}")
        self._furthest = max(step, self._furthest)

    def _take_trial(self, line: int, trial: Trial) -> None:
        before, known = self._trials.setdefault(trial.call, (line, trial))
        if known == trial and before != line:
            raise ValueError(f"it repeats line {before}")
        if known != trial:
            # Which of the two is true cannot be told, and the text can be scored again.
            self.wrong[before] = f"line {line} says otherwise about the same call"
            raise ValueError(f"line {before} says otherwise about the same call")

    def _take_reply(self, line: int, reply: Reply) -> None:
        before, known = self._replies.get(reply.call, (line, reply))
        if known == reply and before != line:
            raise ValueError(f"it repeats line {before}")
        if known != reply:
            # The line may be lost that said to ask again.
            self.wrong[before] = f"line {line} answers the same call"
        self._replies[reply.call] = (line, reply)


def _check_sum(score: Score) -> None:
    """Make sure that the numbers of a score can be those of one evaluation.

    Raises:
        ValueError: they cannot.
    """
    of_classes = score.per_class.values()
    numbers = (score.accuracy, score.loss, score.spread, *score.losses, *of_classes)
    if len(score.losses) not in (0, len(SCALES)):
        raise ValueError(f"it has {len(score.losses)} losses")
    if any(map(math.isnan, numbers)):
        raise ValueError("its score is not a number")
    if of_classes and not (
        min(of_classes) - _TOLERANCE <= score.accuracy <= max(of_classes) + _TOLERANCE
    ):
        raise ValueError(f"its accuracy {score.accuracy:g} is none of its classes together")
    # A metric of one's own may give more than 1, and the loss may be one minus the metric.
    of_metric = 1.0 - score.accuracy / 100.0
    if score.loss < 0.0 and not math.isclose(score.loss, of_metric, abs_tol=_TOLERANCE):
        raise ValueError(f"its loss is {score.loss:g}")
