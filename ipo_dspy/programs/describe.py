"""The second predictor of a classifier: its instruction says how to describe a class."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from operator import index
from typing import Any, Self

import dspy
import orjson
from dspy.signatures.signature import ensure_signature
from dspy.utils.exceptions import AdapterParseError

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.programs.state import read_describe
from ipo_dspy.prompts.class_texts import ClassTexts, read_descriptions
from ipo_dspy.prompts.wording import DescribeClass, describe_class
from ipo_dspy.records import ClassText
from ipo_dspy.runs.calls import Calls
from ipo_dspy.runs.journal import EventLog, NoJournal, records
from ipo_dspy.runs.meter import measured

FIELD = "descriptions"
"""The output that has the descriptions."""
EVENT = "class_text"
"""What a journal calls a `ClassText`."""


@checked
class DescribePredict(dspy.Predict):
    """Describes classes in words that follow a template, by a language model.

    Every class is one call, and is asked for once for an instruction: copies of a program share
    what was said, and a template that is found later keeps it. What is saved needs no language
    model to be used.

    Args:
        count: most descriptions of a class.
        signature: a signature with the fields of `DescribeClass`.

    Raises:
        ArgumentError: `count` is below 1, or a field is missing.
    """

    def __init__(self, count: Count = 5, signature: type[dspy.Signature] = DescribeClass) -> None:
        declared: type[dspy.Signature] = ensure_signature(signature)
        if lacking := set(DescribeClass.fields) - set(declared.fields):
            raise ArgumentError(
                f"The signature that describes classes has no {', '.join(sorted(lacking))}; take "
                "DescribeClass with other instructions."
            )
        super().__init__(describe_class(declared, index(count)))
        self.count = index(count)
        self.memory = Memory()

    @property
    def asked(self) -> str:
        """Identifies what is asked of every class: instruction, fields, demos and number."""
        state = super().dump_state()
        parts = [state["signature"], state["demos"], self.count]
        return hashlib.blake2b(orjson.dumps(parts, default=str), digest_size=8).hexdigest()

    @property
    def known(self) -> ClassTexts:
        """What was said of classes with this instruction, by name; nothing where it was no use."""
        said = self.memory.said(self.asked)
        # Which answer came first is chance.
        return {name: said[name].texts for name in sorted(said)}

    def use(self, texts: ClassTexts) -> None:
        """Take texts that there are for what was said with this instruction."""
        for name, of_class in texts.items():
            self.memory.take(ClassText(asked=self.asked, class_name=name, texts=of_class))

    def trace(self, class_name: str, template: str) -> None:
        """Show what was said of a class to an optimizer that watches, as if it were said now."""
        trace = dspy.settings.trace
        if trace is None or dspy.settings.max_trace_size <= 0:
            return
        if len(trace) >= dspy.settings.max_trace_size:
            trace.pop(0)
        if said := self.memory.said(self.asked).get(class_name):
            inputs = self.inputs(class_name, template, said.confused_with)
            trace.append((self, inputs, dspy.Prediction({FIELD: "\n".join(said.texts)})))

    def lacking(self, classnames: Sequence[str]) -> list[str]:
        """The classes that were not asked for with this instruction, in the order given."""
        known = self.known
        return [name for name in classnames if name not in known]

    def inputs(
        self, class_name: str, template: str, confused_with: Sequence[str]
    ) -> dict[str, object]:
        """What the language model is given to describe a class."""
        return {
            "class_name": class_name.replace("_", " "),
            "template": template,
            "confused_with": [name.replace("_", " ") for name in confused_with],
        }

    def read(self, reply: str) -> tuple[str, ...]:
        """Take the descriptions out of an answer."""
        return read_descriptions(reply, self.count)

    def describe(self, confused: Mapping[str, Sequence[str]], template: str) -> None:
        """Ask for classes that were not asked for yet, in the order given, and remember it.

        Args:
            confused: from a class to those that it is taken for.
            template: what the descriptions are put behind.

        Raises:
            Exception: whatever the language model raises; what was said until then is kept.
        """
        asked = self.asked
        with self.memory.asking, Calls[ClassText](dspy.settings.num_threads or 1) as calls:
            lacking = self.lacking(list(confused))
            out = [
                calls.submit(partial(self._ask, asked, name, template, confused[name]))
                for name in lacking
            ]
            while out:
                done = calls.wait(out)
                out = [one for one in out if one not in done]
                for one in done:
                    one.result()

    def _ask(
        self, asked: str, class_name: str, template: str, confused_with: Sequence[str]
    ) -> ClassText:
        inputs = self.inputs(class_name, template, confused_with)
        with measured() as meter, dspy.context(trace=[]):
            reply = self._reply(inputs)
        cost = meter.cost
        said = ClassText(
            asked=asked,
            class_name=class_name,
            confused_with=tuple(confused_with),
            texts=self.read(reply),
            tokens=cost.tokens,
            dollars=cost.dollars,
        )
        self.memory.add(said)
        return said

    def _reply(self, inputs: Mapping[str, object]) -> str:
        try:
            return str(getattr(self(**inputs), FIELD))
        except AdapterParseError as error:
            # Small models forget the format, and lines are lines.
            return str(error.lm_response)

    def keep_in(self, log: EventLog) -> None:
        """Take up what a journal has, and keep there what is said from now on.

        Copies that were made before share nothing with this predictor any more.
        """
        self.memory = self.memory.continued(log)

    def __run_identity__(self) -> dict[str, object]:
        """What decides the descriptions; not what was said already, which a journal tells."""
        return {"class": type(self), "asked": self.asked}

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Give instruction, demos and number; what was said is part of the program's `predict`."""
        state: dict[str, Any] = super().dump_state(json_mode)
        kept = {name: state[name] for name in ("demos", "signature")}
        return {"traces": [], "train": [], "lm": None, **kept, "count": self.count}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> Self:
        """Take over a saved instruction, and nothing that runs or calls.

        Raises:
            ArgumentError: the state was not saved by a `DescribePredict`.
        """
        saved = read_describe(state)
        if len(saved.signature.fields) != len(self.signature.fields):
            raise ArgumentError(
                f"The state has {len(saved.signature.fields)} fields, and the signature "
                f"{', '.join(self.signature.fields)}; load it into a predictor of the same one."
            )
        signature = saved.signature.model_dump(mode="json")
        super().load_state({"traces": [], "train": [], "lm": None, "signature": signature})
        self.demos, self.count = [dspy.Example(demo) for demo in saved.demos], saved.count
        self.memory = Memory()
        return self


class Memory:
    """What was said of classes, by what was asked; copies of a program share it.

    Attributes:
        asking: held while classes are asked for, so that no two ask for the same.
    """

    def __init__(self, log: EventLog | None = None) -> None:
        self.asking = threading.RLock()
        self._lock = threading.Lock()
        self._log: EventLog = log or NoJournal()
        self._said: dict[str, dict[str, ClassText]] = {}

    def add(self, said: ClassText) -> None:
        """Keep what was said of a class, in the log first; an error leaves the class open."""
        self._log.append({EVENT: said.model_dump()})
        self.take(said)

    def take(self, said: ClassText) -> None:
        """Remember what was said of a class."""
        if said.error is None:
            with self._lock:
                self._said.setdefault(said.asked, {})[said.class_name] = said

    def said(self, asked: str) -> dict[str, ClassText]:
        """What was said of each class."""
        with self._lock:
            return dict(self._said.get(asked, {}))

    def continued(self, log: EventLog) -> Memory:
        """One that knows the same, and what a log has, and writes there."""
        new = Memory(log)
        with self._lock:
            for of_classes in self._said.values():
                for said in of_classes.values():
                    new.take(said)
        for event in records(log.events, EVENT):
            new.take(ClassText.model_validate(event))
        return new

    def __deepcopy__(self, memo: object) -> Memory:
        return self

    def __copy__(self) -> Memory:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"said": self._said}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Memory.__init__(self)
        self._said = state["said"]
