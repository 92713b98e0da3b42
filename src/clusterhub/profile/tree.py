"""The config as a tree in which every table, list and value knows where it was written, and so does every key.

Trees are immutable and share their parts: merging copies the tables it changes and nothing else, and an anchor that a
file uses many times is one node.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, SecretStr

from clusterhub.backend import Said
from clusterhub.errors import Problem
from clusterhub.quantities import Bytes, Duration

DEEPEST = 40
"""Levels of nesting. Real profiles have six; what goes on without end is a mistake or an attack on the reader."""
LARGEST = 200_000
"""Values in one layer, counted where aliases repeat them. Two hundred long profiles have a fiftieth of that."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value with the place where it was written. Tables map to nodes, lists hold nodes; all else is plain."""

    value: Any
    """``dict[str, Node]``, ``tuple[Node, ...]``, or a plain value; None takes back what a weaker layer said."""
    origin: str
    """``~/.clusterhub.yaml:9``, ``call``, ``package my-site``, ``default``."""
    key_origin: str = ""
    """Where the key that holds this value was written; empty for items of a list and for whole layers."""

    @property
    def table(self) -> Mapping[str, Node] | None:
        """The entries of a table, None for anything else."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def key_place(self) -> str:
        """Where to point to when the key is the matter, not its value."""
        return self.key_origin or self.origin

    def get(self, key: str) -> Node | None:
        """The entry of a table, or None."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def plain(self) -> Any:
        """The value without its places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


def table(entries: Mapping[str, Node], origin: str) -> Node:
    """A table of its own."""
    return Node(dict(entries), origin)


def merge(weaker: Node, stronger: Node) -> Node:
    """Both layers as one: tables merge, everything else is replaced, and None stands until :func:`settled`."""
    if weaker.table is None or stronger.table is None:
        return stronger
    merged = dict(weaker.table)
    for key, node in stronger.table.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return replace(stronger, value=merged)


def settled(node: Node) -> Node:
    """The tree without what was taken back: entries of None, which have done their work once all layers are merged."""
    if node.table is None:
        return node
    kept = {key: settled(entry) for key, entry in node.table.items() if entry.value is not None}
    return replace(node, value=kept)


def find(node: Node, path: Sequence[str | int]) -> Node | None:
    """The node at ``path``, or None where the tree has no such place."""
    current: Node | None = node
    for step in path:
        if current is None:
            return None
        current = _step(current, step)
    return current


def nearest(node: Node, path: Sequence[str | int]) -> Node:
    """The node at ``path``, or the deepest one above it that exists."""
    for step in path:
        below = _step(node, step)
        if below is None:
            return node
        node = below
    return node


def _step(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        inside = isinstance(node.value, tuple) and -len(node.value) <= step < len(node.value)
        return node.value[step] if inside else None
    return node.get(step)


def without(node: Node, keys: frozenset[str]) -> Node:
    """A table without these entries."""
    return replace(node, value={key: entry for key, entry in (node.table or {}).items() if key not in keys})


class Refused(Exception):
    """A Python value that cannot be part of a config; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def from_python(value: object, origin: str) -> Node:
    """The tree of what a call, a package or a backend gave as Python objects; a :class:`Said` keeps its own origin.

    Raises :class:`Refused` for what cannot be a tree.
    """
    return _Grafter(origin).graft(value, ())


class _Grafter:
    """Turns Python objects into nodes and counts them, so that a structure without end is refused."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._count = 0

    def graft(self, value: object, path: tuple[str, ...]) -> Node:
        self._count += 1
        if len(path) > DEEPEST or self._count > LARGEST:
            raise self._refusal(path[:3], "is nested too deeply, or too large, to be meant")
        if isinstance(value, Said):
            return self._said(value, path)
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        if isinstance(value, Mapping):
            return Node(dict(self._entries(value, path)), self._origin, self._origin)
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return Node(tuple(self.graft(item, (*path, str(i))) for i, item in enumerate(items)), self._origin)
        return Node(_scalar(value), self._origin, self._origin)

    def _said(self, said: Said, path: tuple[str, ...]) -> Node:
        around, self._origin = self._origin, said.origin
        try:
            return self.graft(said.value, path)
        finally:
            self._origin = around

    def _entries(self, value: Mapping[Any, object], path: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
        for key, entry in value.items():
            if not isinstance(key, str):
                raise self._refusal(path, f"the key {_brief(key)} must be a text; put it in quotes")
            yield key, self.graft(entry, (*path, key))

    def _refusal(self, path: tuple[str, ...], message: str) -> Refused:
        return Refused(Problem(self._origin, ".".join(path), message))


def _scalar(value: object) -> object:
    """Numbers of numpy as Python's own, paths as text; all else as it is, for the models to judge."""
    if value is None or isinstance(value, bool | str | int | float | Bytes | Duration | SecretStr):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return str(value) if hasattr(value, "__fspath__") else value


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
