"""Digests of objects that refer to each other, in circles too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ipo_dspy.errors import UnknownIdentityError

Digest = bytes

_SIZE = 16
_MOST_DEEP = 100_000


@dataclass(frozen=True, eq=False)
class Node:
    """What something is made of.

    Attributes:
        kind: what it is, the same text in every process.
        parts: what it refers to: any objects, nodes among them.
        unordered: whether the order of the parts means nothing.
        name: what a person calls it; empty where it has no name of its own.
    """

    kind: str
    parts: Sequence[object] = ()
    unordered: bool = False
    name: str = ""


class Graph:
    """Objects, with all that can be reached from them, each with its digest.

    What can be told apart by following references has another digest. What cannot has the same,
    whether its parts are shared or copied and wherever a circle is entered; only where something
    leads into a circle that repeats it may the two differ.

    Args:
        look: tells what an object is: its content as bytes, or a node.
    """

    def __init__(self, look: Callable[[object], bytes | Node]) -> None:
        self._look = look
        # Objects are known by their ids, which are theirs for as long as they live.
        self._alive: list[object] = []
        self._digests: dict[int, Digest] = {}
        self._nodes: dict[int, Node] = {}
        # Of each part its digest where it has one, else its id.
        self._parts: dict[int, list[Digest | int]] = {}
        # Tarjan's algorithm, without recursion: what is deep must not overflow the stack.
        self._order: dict[int, int] = {}
        self._lowest: dict[int, int] = {}
        self._open: list[int] = []
        self._path: list[tuple[int, Iterator[object]]] = []

    def add(self, root: object) -> Digest:
        """The digest of an object: 16 bytes.

        Raises:
            UnknownIdentityError: following references leads ever deeper.
        """
        if id(root) not in self._digests:
            self._enter(root)
        while self._path:
            self._go_on()
        return self._digests[id(root)]

    @property
    def path(self) -> list[str]:
        """The names on the way from the root to what is looked at, for a person."""
        return [name for key, _ in self._path if (name := self._nodes[key].name)]

    def outline(self, root: object, deep: int) -> dict[tuple[str, ...], Digest]:
        """Digests of the parts that have names, by the names that lead to them.

        Args:
            root: an object that was added.
            deep: most names in a row.
        """
        found: dict[tuple[str, ...], Digest] = {}
        self._name_parts(id(root), (), deep, found)
        return found

    def _name_parts(
        self, key: int, names: tuple[str, ...], deep: int, found: dict[tuple[str, ...], Digest]
    ) -> None:
        node = self._nodes.get(key)
        for child in () if node is None else node.parts:
            named = self._nodes.get(id(child))
            if named is not None and named.name:
                inner = (*names, named.name)
                found[inner] = self._digests[id(child)]
                if len(inner) < deep:
                    # A name stands before a thing, whose own parts have names.
                    for part in named.parts:
                        self._name_parts(id(part), inner, deep, found)

    def _enter(self, value: object) -> Digest | None:
        """Look at an object: its digest where it has no parts, else it is on the path now."""
        found = value if isinstance(value, Node) else self._look(value)
        key = id(value)
        self._alive.append(value)
        if isinstance(found, bytes):
            digest = self._digests[key] = _hash(b"leaf", found)
            return digest
        if len(self._path) > _MOST_DEEP:
            raise UnknownIdentityError("it goes deeper than can be followed")
        self._order[key] = self._lowest[key] = len(self._order)
        self._nodes[key] = found
        self._parts[key] = []
        self._open.append(key)
        self._path.append((key, iter(found.parts)))
        return None

    def _go_on(self) -> None:
        key, remaining = self._path[-1]
        parts = self._parts[key]
        for part in remaining:
            child = id(part)
            digest = self._digests.get(child)
            if digest is None and child in self._order:
                self._lowest[key] = min(self._lowest[key], self._order[child])
            elif digest is None:
                digest = self._enter(part)
                if digest is None:
                    parts.append(child)
                    return
            parts.append(digest or child)
        self._path.pop()
        if self._path:
            parent = self._path[-1][0]
            self._lowest[parent] = min(self._lowest[parent], self._lowest[key])
        if self._lowest[key] == self._order[key]:
            start = len(self._open) - 1
            while self._open[start] != key:
                start -= 1
            component = self._open[start:]
            del self._open[start:]
            self._close(component)

    def _close(self, component: list[int]) -> None:
        """Give digests to objects that refer to each other, and to nothing else still open."""
        if len(component) == 1 and component[0] not in self._parts[component[0]]:
            [key] = component
            self._digests[key] = self._combine(key, self._digests)
            return
        # Told apart by what they are, then by what they refer to, until nothing new is told apart.
        now = {key: _hash(b"start", self._kind(key)) for key in component}
        while True:
            after = {key: self._combine(key, now) for key in component}
            if len(set(after.values())) == len(set(now.values())):
                break
            now = after
        # The pairs say the whole: which class refers to which.
        whole = b"".join(sorted({now[key] + after[key] for key in component}))
        self._digests.update({key: _hash(now[key], whole) for key in component})

    def _kind(self, key: int) -> bytes:
        return b"node " + self._nodes[key].kind.encode("utf-8", "surrogatepass")

    def _combine(self, key: int, inner: dict[int, Digest]) -> Digest:
        node = self._nodes[key]
        parts = [
            # Meanwhile another part may have been closed.
            part if isinstance(part, bytes) else inner.get(part) or self._digests[part]
            for part in self._parts[key]
        ]
        if node.unordered:
            parts.sort()
        return _hash(self._kind(key), b"".join(parts))


def _hash(kind: bytes, content: bytes) -> Digest:
    return hashlib.blake2b(
        len(kind).to_bytes(4, "big") + kind + content, digest_size=_SIZE
    ).digest()
