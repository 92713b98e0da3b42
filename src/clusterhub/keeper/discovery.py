"""Asks the systems that clusters live in which of them there are: all at once, each with a time limit."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from clusterhub.backend import Sighting, SupportsAttach
from clusterhub.display.words import flat

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that a system may take: whoever lists clusters waits for the slowest."""
DRAWN = re.compile(r"(?:.*\.)?[0-9a-f]{16,}")
"""Names that systems draw at random for their clusters, with a namespace before them or without."""


@dataclass(frozen=True)
class System:
    """A system that clusters live in and that knows of them: a backend, and what tells it which one is asked, and as whom."""

    label: str
    """What people call it: the profile that names it, or the backend."""
    backend_name: str
    backend: SupportsAttach
    options: Any
    bare: bool = False
    """Whether no profile names it: it may be that nobody has configured it."""

    def is_asked_as(self, other: System) -> bool:
        """Whether the question to both is the same."""
        return self.backend_name == other.backend_name and bool(self.options == other.options)


@dataclass(frozen=True)
class Found:
    """A living cluster, and the system that told of it."""

    system: System
    sighting: Sighting

    @property
    def name(self) -> str:
        """What people call it."""
        return self.sighting.ref.name

    @property
    def where(self) -> str:
        """``pangeo (https://hub.example.org)``: what tells it from another one of that name."""
        at = self.sighting.where
        return f"{self.system.label} ({at})" if at and at != self.system.label else self.system.label

    def may_be(self, name: str) -> str:
        """A sentence on that it may be the cluster called ``name``, where it could not be asked; else an empty text."""
        seen = self.sighting
        if not seen.silent or seen.state != "running" or self.is_called(name):
            return ""
        why = f": {seen.reason}" if seen.reason else ""
        return f"cluster {seen.own_name or self.name} on {self.where} does not answer, and may be {name}{why}"

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is what people, or its system itself, call it."""
        return name in (self.name, self.sighting.own_name)


@dataclass(frozen=True)
class Seen:
    """What lives elsewhere, each cluster once, and a sentence for each system that could not be asked."""

    found: tuple[Found, ...] = ()
    remarks: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    """Those of them that are of a profile's system which was asked in vain: another time it may tell of more."""

    def called(self, name: str) -> list[Found]:
        """Those of that name."""
        return [one for one in self.found if one.is_called(name)]


def look(systems: Sequence[System]) -> Seen:
    """What the systems tell within ``PATIENCE`` seconds. Blocks; raises nothing of what a system does wrong."""
    asked = [(system, under_way(partial(_sightings, system))) for system in systems]
    wait([answer for _, answer in asked], PATIENCE)
    found: list[Found] = []
    unheard: list[tuple[System, str]] = []
    for system, answer in asked:
        if not answer.done():
            unheard.append(
                (system, f"{system.label} did not answer within {PATIENCE:g} s; its clusters are not listed")
            )
        elif (error := answer.exception()) is not None:
            why = flat(str(error)) or type(error).__name__
            unheard.append((system, f"{system.label} could not be asked for its clusters: {why}"))
        else:
            found += [Found(system, sighting) for sighting in answer.result()]
    return Seen(
        tuple(_once_each(found)),
        tuple(remark for _, remark in unheard),
        tuple(remark for system, remark in unheard if not system.bare),
    )


def under_way(question: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """What comes of a question that is asked on an event loop of its own, whatever runs on the caller's thread.

    By a daemon: an executor's threads would be waited for at the interpreter's end, however long they hang.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(asyncio.run(question()))
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, it is the answer
            answer.set_exception(error)

    threading.Thread(target=ask, name="clusterhub-discover", daemon=True).start()
    return answer


async def _sightings(system: System) -> Sequence[Sighting]:
    return await system.backend.discover(system.options)


def _once_each(found: Iterable[Found]) -> Iterable[Found]:
    """Two profiles can name one system, as with other defaults for new clusters, or by an address for inside and one for
    outside: each cluster is told of once, by a system that could ask it, and that has the name of the cluster's own profile,
    if there is one."""
    chosen: dict[Hashable, Found] = {}
    for one in found:
        key = _identity(one)
        if key not in chosen or _fitness(one) > _fitness(chosen[key]):
            chosen[key] = one
    return chosen.values()


def _identity(one: Found) -> Hashable:
    """What no other cluster has. A reference may contain the address by which its system was asked; a name that was drawn at
    random is the same by every address, and no two systems draw one name at one moment."""
    seen = one.sighting
    if seen.created is not None and DRAWN.fullmatch(seen.own_name):
        return seen.ref.backend, seen.own_name, seen.created
    return seen.ref.model_dump_json()


def _fitness(one: Found) -> tuple[bool, bool]:
    return not one.sighting.silent, one.system.label == one.sighting.profile
