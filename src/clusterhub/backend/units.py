"""The words in which a backend tells what it sees: units and their states, findings, sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from clusterhub.errors import Failure
from clusterhub.quantities import Bytes


class UnitState(StrEnum):
    """Where a unit stands: ``SUBMITTING → PENDING → RUNNING → CONNECTED → DONE``, or one of three bad ends."""

    SUBMITTING = "submitting"
    """On its way to the system, or waiting for a place in a full queue."""
    PENDING = "pending"
    """The system knows it and has not started it."""
    RUNNING = "running"
    """The system runs it; its workers have not all connected yet, and it is too early to worry."""
    CONNECTED = "connected"
    """All its workers are connected to the scheduler."""
    DONE = "done"
    """Ended as it was meant to."""
    FAILED = "failed"
    """Ended badly before it was of use."""
    MISSING = "missing"
    """The system says that it runs, or that it ended well, but its workers never came."""
    LOST = "lost"
    """Was connected, and is gone without having been told to go."""


NEEDS_REASON = frozenset({UnitState.PENDING, UnitState.FAILED, UnitState.MISSING, UnitState.LOST})
ALIVE = frozenset({UnitState.SUBMITTING, UnitState.PENDING, UnitState.RUNNING, UnitState.CONNECTED})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a backend launches (a job, a pod, a process), as last observed.

    Raises ValueError for a state that needs a reason and has none: a person is never told "pending" without a why.
    """

    name: str
    """The system's own name for it: a job's id, a pod's name."""
    state: UnitState
    reason: str = ""
    """Why it is in this state, in our words: ``needs 24 free cores, 6 are free``."""
    source: str = ""
    """The system's own words for the same."""
    since: datetime = field(default_factory=_now)
    """When it came into this state, as far as is known; with a time zone."""
    where: str = ""
    """The node or host it runs on, empty before."""
    workers: tuple[str, ...] = ()
    """Addresses of its workers that are connected now."""
    expected: int = 1
    """How many workers it brings when all have come."""
    starts: datetime | None = None
    """When the system expects to start it, where it says so; with a time zone."""
    failure: Failure | None = None
    """The evidence, for a unit that ended badly."""

    def __post_init__(self) -> None:
        if self.state in NEEDS_REASON and not self.reason:
            raise ValueError(f"unit {self.name} is {self.state} without a reason")


Mark = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``check`` looked at: whether it is well, and what was seen.

    Raises ValueError for a finding that says nothing.
    """

    mark: Mark
    """``ok``; ``warn`` for what may disappoint; ``fail`` for what keeps workers from starting."""
    title: str
    """What was looked at, in a word or two: ``queue qdev``, ``log folder``."""
    text: str
    """What was seen, and, where it is not well, what to do about it."""
    because: str = ""
    """The key of a profile that decides it, as ``job.walltime``. Where that was written is added by the hub."""

    def __post_init__(self) -> None:
        if not (self.title and self.text):
            raise ValueError(f"a finding needs a title and a text: {self}")


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory of one unit: what is asked for, and what of it each worker gets."""

    memory: Bytes
    """Bytes that one unit asks its system for: those of its workers, and of what runs around them."""
    worker_memory: Bytes
    """Bytes that each worker may use. Less than was asked for where the unit fills its node."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A unit of a backend's own system that this process is part of, and ends with: a notebook that is a job itself."""

    name: str
    """What people call it: ``PBS job 81``."""
    unit: str
    """The system's own name for it."""
    ends: datetime | None = None
    """When the system will end it, where that was asked for and is known; with a time zone."""
