"""Texts for each class, asked for within a budget and kept in a journal like every other call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dspy

from ipo_dspy.errors import OutOfTimeError
from ipo_dspy.programs.describe import EVENT, FIELD, DescribePredict
from ipo_dspy.proposing.ask import Endpoint
from ipo_dspy.proposing.proposer import rollout_id
from ipo_dspy.records import ClassText
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.runs.calls import Calls
from ipo_dspy.runs.journal import EventLog, records
from ipo_dspy.runs.meter import measured

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassTextModel:
    """Asks a language model for texts for classes.

    Attributes:
        lm: the language model.
        temperature: of every call; None leaves it to the model.
        seed: numbers the calls.
        send_seed: send the number as seed, to models that take one.
        num_threads: most calls at the same time.
        most_failures: after so many failures in a row no more classes are asked for.
    """

    lm: dspy.BaseLM
    temperature: float | None
    seed: int
    send_seed: bool
    num_threads: int
    most_failures: int

    def describe(
        self,
        describer: DescribePredict,
        confused: Mapping[str, Sequence[str]],
        template: str,
        log: EventLog,
        spent: Spent,
        budget: Budget,
    ) -> None:
        """Ask for every class that the log does not have, in the order given, while there is money.

        What a budget ends leaves the rest of the classes to the template alone.

        Args:
            describer: has the instruction, and remembers what was said.
            confused: from a class to those that it is taken for.
            template: what the texts are put behind.
            log: where what was said is kept, and an earlier run's is found.
            spent: what the run has cost; what is asked here is added.
            budget: when to end.

        Raises:
            SearchStoppedError: no call of this model can succeed.
            JournalError: what was said cannot be kept.
        """
        describer.keep_in(log)
        for event in records(log.events, EVENT):
            spent.add(ClassText.model_validate(event))
        lacking = describer.lacking(list(confused))
        ask = partial(self._ask, Endpoint(self.lm), describer, template=template, log=log)
        # Patience is about prompts; a search that found none for long may still describe.
        budget = replace(budget, patience=None)
        failures = 0
        with Calls[ClassText](self.num_threads) as calls:
            while lacking and failures < self.most_failures:
                room = [
                    name
                    for number, name in enumerate(lacking[: self.num_threads], start=1)
                    if not spent.exhausted(budget, number)
                ]
                if not room:
                    break
                out = [calls.submit(partial(ask, name, confused[name])) for name in room]
                try:
                    for one in out:
                        while not one.done():
                            calls.wait([one])
                        said = one.result()
                        spent.add(said)
                        failures = failures + 1 if said.error else 0
                except OutOfTimeError:
                    break
                lacking = lacking[len(room) :]
        if left := describer.lacking(list(confused)):
            logger.warning(
                "%d of %d classes have no texts of their own: the bounds of the run or failed "
                "calls left %s.",
                len(left),
                len(confused),
                ", ".join(left[:5]),
            )

    def _ask(
        self,
        endpoint: Endpoint,
        describer: DescribePredict,
        class_name: str,
        confused_with: Sequence[str],
        *,
        template: str,
        log: EventLog,
    ) -> ClassText:
        inputs = describer.inputs(class_name, template, confused_with)
        number = rollout_id(self.seed, 0, 0)
        parameters: dict[str, Any] = {"temperature": self.temperature, "rollout_id": number}
        if self.send_seed and "seed" in self.lm.supported_params:
            parameters["seed"] = number

        retries: list[str] = []
        with measured() as meter:
            answer = endpoint.ask(describer, FIELD, inputs, parameters, retries.append)
        said = ClassText(
            asked=describer.asked,
            class_name=class_name,
            confused_with=tuple(confused_with),
            texts=() if answer.text is None else describer.read(answer.text),
            error=answer.error,
            retries=tuple(retries),
            tokens=meter.cost.tokens,
            dollars=meter.cost.dollars,
        )
        describer.memory.add(said)
        return said
