"""Every job of one cluster: what the queue says of it, what the scheduler sees of it, and what follows from both."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clusterhub import Failure, Unit, UnitState
from clusterhub_backends.batch.driver import Ending, Exit, Job, JobState
from clusterhub_backends.batch.names import Key, key_of_worker

DISMISSED = Exit(Ending.CANCELLED, words="told to end by clusterhub")
"""How a job ended that we told to, and of which nobody needs to know more."""


@dataclass
class Member:
    """One job, from before its submission until nobody needs to know of it any more. Times are monotonic seconds."""

    key: Key
    expected: int
    array: str = ""
    """The id of its submission; empty until the system has answered."""
    job: Job | None = None
    """As last listed."""
    workers: dict[str, str] = field(default_factory=dict)
    """Names of its connected workers by address."""
    came: bool = False
    """Whether all its workers were ever connected."""
    leaving: bool = False
    """Being drained, or to be."""
    dismissed: bool = False
    """Told to end by us."""
    exit: Exit | None = None
    failure: Failure | None = None
    unlisted: int = 0
    """Listings in a row that did not have it, though they should."""
    runs_since: float | None = None
    state: UnitState = UnitState.SUBMITTING
    reason: str = ""
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    note: str = ""
    submitted: float = field(default_factory=time.monotonic)
    waited_told: bool = False

    @property
    def id(self) -> str:
        """What the system calls it, as far as known."""
        return self.job.id if self.job is not None else self.array or str(self.key)

    @property
    def ended(self) -> bool:
        """Whether the system says that it is gone."""
        return self.exit is not None

    @property
    def dead(self) -> bool:
        """Whether nothing is to be expected of it any more."""
        return self.ended or self.state in (UnitState.FAILED, UnitState.MISSING)

    def become(self, state: UnitState, reason: str = "") -> None:
        """It is in this state from now on."""
        if state is not self.state:
            self.changed = datetime.now(UTC)
        self.state, self.reason = state, reason

    def unit(self) -> Unit:
        """What is told of it."""
        job = self.job
        told = job is not None and self.state in (UnitState.PENDING, UnitState.SUBMITTING)
        return Unit(
            name=self.id,
            state=self.state,
            reason=self.reason or self.note,
            source=job.source if told and job is not None else (self.exit.words if self.exit else ""),
            since=self.changed,
            where=job.where if job is not None else "",
            workers=tuple(self.workers),
            expected=self.expected,
            starts=job.starts if told and job is not None else None,
            failure=self.failure,
        )


class Roster:
    """The jobs of one cluster by key."""

    def __init__(self, prefix: str, per_job: int, startup_timeout: float) -> None:
        self._prefix = prefix
        self._per_job = per_job
        self.startup_timeout = startup_timeout
        self.members: dict[Key, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def add(self, name: str, count: int) -> list[Member]:
        """The members of a submission that is about to be made."""
        made = [Member(Key(name, index), self._per_job) for index in range(count)]
        self.members |= {member.key: member for member in made}
        return made

    def strike(self, members: Iterable[Member]) -> None:
        """Nobody needs to know of these any more."""
        for member in members:
            self.members.pop(member.key, None)

    # What is observed

    def see_workers(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """The scheduler's workers, by address."""
        found: dict[Key, dict[str, str]] = {}
        for address, info in workers.items():
            if (key := key_of_worker(str(info["name"]))) is not None:
                found.setdefault(key, {})[address] = str(info["name"])
        for member in self:
            member.workers = found.get(member.key, {})
            if len(member.workers) >= member.expected:
                member.came = True

    def see_jobs(self, jobs: Iterable[Job]) -> None:
        """A listing of the queue, as far as it is of ours. One that is not known is of a submission whose answer was lost."""
        listed = set()
        for job in jobs:
            if not job.name.startswith(self._prefix):
                continue
            key = Key(job.name, job.index)
            listed.add(key)
            if (member := self.members.get(key)) is not None:
                self._see(member, job)
        for member in self:
            if member.array and not member.ended:
                member.unlisted = 0 if member.key in listed else member.unlisted + 1
                if member.dismissed and member.unlisted:
                    member.exit = DISMISSED

    def _see(self, member: Member, job: Job) -> None:
        if job.state is JobState.PENDING and member.runs_since is not None:
            # The system starts it anew under the same id: what its workers were is gone with them.
            member.runs_since, member.came = None, False
        member.job, member.array = job, job.array
        if job.state is JobState.RUNNING and member.runs_since is None:
            member.runs_since = time.monotonic()
        if job.state is JobState.DONE:
            member.exit = job.exit or (DISMISSED if member.dismissed else member.exit)

    @property
    def vanished(self) -> list[Member]:
        """Those that the queue lists no more, or as done without saying how: it is to be asked what became of them."""
        return [
            member
            for member in self
            if not member.ended
            and member.array
            and (member.unlisted or (member.job is not None and member.job.state is JobState.DONE))
        ]

    # What follows

    def judge(self) -> None:
        """Bring the state of every member up to what was seen."""
        for member in self:
            member.become(*self._state(member))

    def _state(self, member: Member) -> tuple[UnitState, str]:
        job = member.job
        if member.ended:
            return self._end_of(member)
        if not member.array:
            return UnitState.SUBMITTING, member.note
        if len(member.workers) >= member.expected:
            return UnitState.CONNECTED, member.note or ("leaving" if member.leaving else "")
        if job is None or job.state is JobState.PENDING:
            return UnitState.PENDING, job.reason if job is not None else "was submitted just now"
        if member.dismissed or job.state is not JobState.RUNNING:
            return UnitState.RUNNING, "is ending"
        if member.workers:
            here = f"{len(member.workers)} of {member.expected} workers are connected"
            return UnitState.RUNNING, f"{here}, the others are gone and restarted" if member.came else here
        if member.came:
            return UnitState.LOST, "runs, but its workers are gone"
        ran = time.monotonic() - member.runs_since if member.runs_since is not None else 0.0
        if ran > self.startup_timeout:
            return UnitState.MISSING, f"runs since {ran:.0f} s, but its workers never came"
        return UnitState.RUNNING, ""

    def _end_of(self, member: Member) -> tuple[UnitState, str]:
        summary = member.failure.summary if member.failure is not None else "it ended"
        if member.dismissed:
            return UnitState.DONE, ""
        if member.came:
            return UnitState.LOST, f"{summary}; it is replaced"
        return UnitState.FAILED, summary

    @property
    def living(self) -> list[Member]:
        """Those that bring workers, or will, and are not on their way out."""
        return [m for m in self if not m.dead and not m.leaving and not m.dismissed]

    @property
    def connected(self) -> int:
        """Workers that are here."""
        return sum(len(member.workers) for member in self)
