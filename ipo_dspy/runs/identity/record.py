"""What a run is made of, so that the same work is known again in another process, and only it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from types import CodeType
from typing import Any, Protocol

import dspy
import orjson

from ipo_dspy.errors import UnknownIdentityError
from ipo_dspy.runs.identity.content import look
from ipo_dspy.runs.identity.earlier import differences_from_0_1
from ipo_dspy.runs.identity.graph import Graph, Node

MOST_TOLD_APART = 4096
"""Of more examples it is only told that they differ, not how many."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

_SHORT = 8
_MOST_PARTS = 256
_MOST_NAMED = 3
_SHOWN_CHARACTERS = 60
_IN_ONE_TASK = 64
_BETWEEN = "\t"


def identity(value: object, vouched: str | None = None) -> str:
    """A text that is the same in every process for the same work, and another for other work.

    Data count by content, whatever the order of sets and mappings; images and tensors by what is in
    them, models by name and settings without secrets, functions and classes by their code with all
    that it depends on (see `code.py` beside this). Values that are equal but of another type
    differ; numbers of numpy do not differ from Python's where they hold the same. An object may
    have a method `__run_identity__` that gives what stands for it.

    Args:
        value: anything that decides what is done.
        vouched: stands for what cannot be told; whoever gives it changes it when that changes.

    Raises:
        UnknownIdentityError: something in it cannot be told, and nothing is vouched for.
    """
    return _Looked(value, vouched).digest.hex()


class _Looked:
    """A value that was looked through: its digest, and whether there is code in it."""

    def __init__(self, value: object, vouched: str | None) -> None:
        self.has_code = False
        self._value = value
        self._vouched = vouched
        self._graph = Graph(self._look)
        self.digest = self._graph.add(value)

    def _look(self, value: object) -> bytes | Node:
        self.has_code = self.has_code or isinstance(value, CodeType)
        try:
            return look(value)
        except UnknownIdentityError as error:
            if self._vouched is None:
                raise _unknown(value, self._graph.path, error) from error
            return Node(f"vouched {type(value).__qualname__}", (self._vouched,))

    def outline(self) -> dict[str, str]:
        """Short digests of what has names in it, by the names; fewer where there are very many."""
        for deep in (4, 2, 1):
            found = self._graph.outline(self._value, deep)
            if len(found) <= _MOST_PARTS:
                return {
                    _BETWEEN.join(names): digest.hex()[:_SHORT] for names, digest in found.items()
                }
        return {}


def _unknown(value: object, path: Sequence[str], error: Exception) -> UnknownIdentityError:
    of = " of ".join(reversed(path))
    kind = f"an object of {type(value).__module__}.{type(value).__qualname__}"
    what = f"{of}, {kind}," if of else kind
    return UnknownIdentityError(
        f"It cannot be told whether {what} is the same when "
        f"the run goes on in another process ({error}). Pass identity='...', a text to be changed "
        "whenever it changes, or leave out run_dir."
    )


class Part(Protocol):
    """One thing that a run is made of."""

    @property
    def name(self) -> str:
        """Its key in the record."""

    @property
    def words(self) -> Any:
        """What a person calls it."""

    def record(self, vouched: str | None) -> Any:
        """What goes into the journal, as JSON; no secret, and nothing that is long.

        Raises:
            UnknownIdentityError: it cannot be told, and nothing is vouched for.
        """

    def difference(self, found: Any, now: Any) -> str:
        """Say in a person's words how another record of it differs from this one."""


@dataclass(frozen=True)
class Setting:
    """A number, a text or a list of them, which is compared and shown as it is.

    Attributes:
        name: its key in the record.
        words: what a person calls another one, such as "another first prompt".
        value: the value.
    """

    name: str
    words: str
    value: Any

    def record(self, vouched: str | None) -> Any:
        """The value; see `Part.record`."""
        return _as_json(self.value)

    def difference(self, found: Any, now: Any) -> str:
        """Show both values where they are short; see `Part.difference`."""
        then, today = _shown(found), _shown(now)
        if then is None or today is None:
            return self.words
        return f"{self.words} ({then} then, {today} now)"


@dataclass(frozen=True)
class Thing:
    """Something that is known again by its identity: a metric, a program, a model.

    Attributes:
        name: its key in the record.
        words: what a person calls another one, such as "another metric".
        value: the thing.
        told: beginnings of the names of its parts of which another part of the run tells more.
    """

    name: str
    words: str
    value: Any
    told: tuple[str, ...] = ()

    def record(self, vouched: str | None) -> Any:
        """Its name, its identity and those of its parts; see `Part.record`."""
        try:
            looked = _Looked(self.value, vouched)
        except UnknownIdentityError as error:
            raise UnknownIdentityError(f"In the {self.name.replace('_', ' ')}: {error}") from error
        return {
            "name": _name(self.value),
            "identity": looked.digest.hex(),
            "parts": looked.outline(),
            "code": looked.has_code,
        }

    def difference(self, found: Any, now: Any) -> str:
        """Name the parts that differ; see `Part.difference`."""
        if not isinstance(found, Mapping) or found.get("name") != now["name"]:
            then = _shown(found.get("name")) if isinstance(found, Mapping) else None
            named = f" ({then} then, {_shown(now['name'])} now)" if then and now["name"] else ""
            return f"{self.words}{named}"
        differing = _differing(found.get("parts", {}), now["parts"])
        parts = [part for part in differing if not part.startswith(self.told or "\n")]
        if not parts:
            return "" if differing else self.words
        more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
        return f"{self.words} ({', '.join(parts[:_MOST_NAMED])}{more} changed)"


@dataclass(frozen=True)
class Examples:
    """A set of examples, in order.

    Attributes:
        name: its key in the record.
        words: what a person calls one of them and many, as in "1 image", "8 images".
        of: which set they are, such as "training images".
        value: the examples.
    """

    name: str
    words: tuple[str, str]
    of: str
    value: Sequence[dspy.Example]

    def record(self, vouched: str | None) -> Any:
        """Their number and their identities; see `Part.record`."""
        try:
            each = list(_identities(self.value, vouched))
        except UnknownIdentityError as error:
            raise UnknownIdentityError(f"Among the {self.of}: {error}") from error
        told_apart = "".join(one[:_SHORT] for one in each) if len(each) <= MOST_TOLD_APART else None
        return {"n": len(each), "identity": identity(each), "each": told_apart}

    def difference(self, found: Any, now: Any) -> str:
        """Say how many are new, gone or changed; see `Part.difference`."""
        then, today = _pieces(found), _pieces(now)
        if then is None or today is None:
            new, gone = max(0, now["n"] - found["n"]), max(0, found["n"] - now["n"])
            if not new and not gone:
                return f"other {self.of}"
        else:
            new, gone = (today - then).total(), (then - today).total()
            if not new and not gone:
                return f"another order of the {self.of}"
        changed = min(new, gone)
        said = [
            f"{self._count(count)} {'was' if count == 1 else 'were'} {what}"
            for count, what in (
                (changed, "changed"),
                (new - changed, "added"),
                (gone - changed, "removed"),
            )
            if count
        ]
        return f"{' and '.join(said)} ({self.of})"

    def _count(self, count: int) -> str:
        return f"{count} {self.words[0] if count == 1 else self.words[1]}"


def _identities(examples: Sequence[dspy.Example], vouched: str | None) -> Iterator[str]:
    # Files are read, and several at the same time.
    starts = range(0, len(examples), _IN_ONE_TASK)

    def work(start: int) -> list[str]:
        return [identity(each, vouched) for each in examples[start : start + _IN_ONE_TASK]]

    with ThreadPoolExecutor() as pool:
        for together in pool.map(work, starts):
            yield from together


class RunIdentity:
    """What a run is made of, for the first line of its journal.

    Args:
        parts: what decides the run, in the order in which differences are told.
        vouched: the caller's word for what cannot be told.
        earlier: gives the header that version 0.1 would have written.

    Raises:
        UnknownIdentityError: a part cannot be told, and nothing is vouched for.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        vouched: str | None = None,
        earlier: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._parts = {part.name: part for part in parts}
        self._vouched = vouched
        self._earlier = earlier
        self._known = {part.name: part.record(vouched) for part in parts}

    @cached_property
    def record(self) -> dict[str, Any]:
        """What goes into the journal, as JSON."""
        return {
            "python": PYTHON,
            "identity": self._vouched,
            "run": orjson.loads(orjson.dumps(self._known)),
        }

    def differences(self, found: Mapping[str, Any]) -> list[str]:
        """Say in a person's words what another run is made of otherwise; empty for the same run.

        A part of which one of the two knows nothing is not compared.

        Args:
            found: the first line of a journal, of this version or of 0.1.
        """
        if "run" not in found:
            return differences_from_0_1(found, self._earlier(), self._vouched is not None)
        said = []
        if found.get("identity") != self._vouched:
            words = Setting("identity", "another identity=", self._vouched)
            said.append(words.difference(found.get("identity"), self._vouched))
        python = found.get("python")
        for name, part in self._parts.items():
            now = self.record["run"][name]
            then = found["run"].get(name, now)
            if not _is_same(then, now):
                said += self._difference(part, then, now, str(python))
        return [difference for difference in said if difference]

    def _difference(self, part: Part, then: Any, now: Any, python: str) -> list[str]:
        if python == PYTHON or not (isinstance(now, Mapping) and now.get("code")):
            return [part.difference(then, now)]
        if self._vouched is not None:
            return []
        return [
            f"{part.words}, or the same in Python {python}, whose code cannot be compared with "
            f"that of {PYTHON}"
        ]


def _is_same(then: Any, now: Any) -> bool:
    if isinstance(then, Mapping) and isinstance(now, Mapping) and "identity" in now:
        return then.get("identity") == now["identity"]
    return bool(then == now)


def _as_json(value: Any) -> Any:
    """Plain JSON of a setting; numbers of any library count as Python's."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        whole = int(value)
        # JSON holds 64 bits.
        return whole if -(2**63) <= whole < 2**64 else str(whole)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(name): _as_json(inner) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_as_json(inner) for inner in value]
    return str(value)


def _shown(value: Any) -> str | None:
    """A short value as text; None for one that a person would not read."""
    if isinstance(value, Mapping):
        return None
    if isinstance(value, list):
        if len(value) != 1:
            return "none" if not value else None
        [value] = value
    text = "none" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else None


def _name(value: object) -> str | None:
    named = getattr(value, "__name__", None)
    return named if isinstance(named, str) else type(value).__name__


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The parts that differ, the innermost ones alone, in words."""
    differ = [name for name in {**now, **then} if then.get(name) != now.get(name)]
    inner = [
        name for name in differ if not any(other.startswith(name + _BETWEEN) for other in differ)
    ]
    return [" of ".join(reversed(name.split(_BETWEEN))) for name in inner]


def _pieces(record: Any) -> Counter[str] | None:
    told_apart = record.get("each")
    if told_apart is None:
        return None
    return Counter(told_apart[at : at + _SHORT] for at in range(0, len(told_apart), _SHORT))
