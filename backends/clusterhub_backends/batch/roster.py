"""Every job of one cluster: what the queue says of it, what the scheduler sees of it, and what follows from both."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clusterhub import Failure, Unit, UnitState
from clusterhub_backends.batch.driver import Ending, Exit, Job, JobState
from clusterhub_backends.batch.names import Key, key_of_worker

DISMISSED = Exit(Ending.CANCELLED, words="told to end by clusterhub")
"""How a job ended that we told to, and of which nobody needs to know more."""
ANSWER_PATIENCE = 5.0
"""Seconds in which a batch system answers to a submission; then it is told that it does not."""
GONE_PATIENCE = 30.0
"""Seconds in which workers that were here and are gone may come back: a nanny starts them anew within a few."""


@dataclass(eq=False)
class Member:
    """One job, from before its submission until nobody needs to know of it any more. Times are monotonic seconds."""

    key: Key
    expected: int
    array: str = ""
    """The id of its submission; empty until the system has answered."""
    own_id: str = ""
    """What the system calls this one job, as far as that follows from the submission."""
    job: Job | None = None
    """As last listed."""
    workers: dict[str, str] = field(default_factory=dict)
    """Names of its connected workers by address."""
    came: bool = False
    """Whether all its workers were ever connected."""
    leaving: bool = False
    """Being drained, or to be."""
    dismissed: float | None = None
    """When it was told to end by us."""
    exit: Exit | None = None
    failure: Failure | None = None
    unlisted: int = 0
    """Listings in a row that did not have it, though they should."""
    runs_since: float | None = None
    stale: frozenset[str] = frozenset()
    """Addresses of workers from before the system started it anew, which the scheduler may still know."""
    doubts: int = 0
    """Listings in a row that say that it waits, though it has workers."""
    short_since: float | None = None
    """Since when it runs with fewer workers than it should have."""
    state: UnitState = UnitState.SUBMITTING
    reason: str = ""
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    note: str = ""
    submitted: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        """What the system calls it, as far as known."""
        return self.job.id if self.job is not None else self.own_id or str(self.key)

    @property
    def ended(self) -> bool:
        """Whether the system says that it is gone."""
        return self.exit is not None

    @property
    def dead(self) -> bool:
        """Whether nothing is to be expected of it any more."""
        return self.ended or self.state in (UnitState.FAILED, UnitState.MISSING)

    @property
    def lives(self) -> bool:
        """Whether it brings workers, or will, and is not on its way out."""
        ending = self.job is not None and self.job.state in (JobState.ENDING, JobState.DONE)
        return not self.dead and not self.leaving and self.dismissed is None and not ending

    @property
    def in_queue(self) -> bool:
        """Whether the batch system has it, as far as we know."""
        return bool(self.array) and not self.ended

    def become(self, state: UnitState, reason: str = "") -> None:
        """It is in this state from now on."""
        if state is not self.state:
            self.changed = datetime.now(UTC)
        self.state, self.reason = state, reason

    def unit(self) -> Unit:
        """What is told of it."""
        job = self.job
        told = job if self.state in (UnitState.PENDING, UnitState.SUBMITTING) else None
        return Unit(
            name=self.id,
            state=self.state,
            reason=self.reason or self.note,
            source=told.source if told is not None else (self.exit.words if self.exit else ""),
            since=self.changed,
            where=job.where if job is not None else "",
            workers=tuple(self.workers),
            expected=self.expected,
            starts=told.starts if told is not None else None,
            failure=self.failure,
        )


class Roster:
    """The jobs of one cluster by key."""

    def __init__(self, prefix: str, per_job: int, startup_timeout: float) -> None:
        self._prefix = prefix
        self._per_job = per_job
        self.startup_timeout = startup_timeout
        self.members: dict[Key, Member] = {}
        self._seen: Mapping[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def add(self, name: str, count: int) -> list[Member]:
        """The members of a submission that is about to be made."""
        made = [Member(Key(name, index), self._per_job) for index in range(count)]
        self.members |= {member.key: member for member in made}
        return made

    def strike(self, members: Iterable[Member]) -> None:
        """Nobody needs to know of these any more."""
        for member in list(members):
            self.members.pop(member.key, None)

    # What is observed

    def see_workers(self, names: Mapping[str, str]) -> bool:
        """The scheduler's workers, names by address; whether anything is new."""
        if names == self._seen:
            return False
        self._seen = names
        found: dict[Key, dict[str, str]] = {}
        for address, name in names.items():
            if (key := key_of_worker(name)) is not None:
                found.setdefault(key, {})[address] = name
        for member in self:
            here = found.get(member.key, {})
            member.workers = {address: name for address, name in here.items() if address not in member.stale}
            if len(member.workers) >= member.expected:
                member.came = True
        return True

    def see_jobs(self, jobs: Iterable[Job], asked: Iterable[str]) -> None:
        """A listing of the queue, which was asked for the submissions ``asked``, as far as it is of ours."""
        listed = set()
        for job in jobs:
            if job.name.startswith(self._prefix):
                key = Key(job.name, job.index)
                listed.add(key)
                if (member := self.members.get(key)) is not None:
                    self._see(member, job)
        arrays = set(asked)
        for member in self:
            if member.array in arrays and not member.ended:
                member.unlisted = 0 if member.key in listed else member.unlisted + 1
                if member.dismissed is not None and member.unlisted:
                    member.exit = DISMISSED

    def _see(self, member: Member, job: Job) -> None:
        again = member.job is not None and job.restarts > member.job.restarts
        waits = job.state is JobState.PENDING
        # Workers may have come since the queue was read, but not since it was read before.
        member.doubts = member.doubts + 1 if waits and member.workers else 0
        if waits and (member.runs_since is not None or member.doubts > 1):
            # The system starts it anew under the same id: what its workers were is gone with them.
            member.stale, member.workers = member.stale | set(member.workers), {}
            member.runs_since, member.came = None, False
        elif again:
            member.runs_since = None
        if job.state is JobState.RUNNING and not job.where and member.job is not None:
            # A brief listing says less than one before it did.
            job = replace(
                job, where=member.job.where, started=job.started or member.job.started, limit=member.job.limit
            )
        member.job = job
        if job.state is JobState.RUNNING:
            member.runs_since = _began(job, member)
        if job.state is JobState.DONE and member.exit is None:
            member.exit = job.exit or (DISMISSED if member.dismissed is not None else None)

    @property
    def vanished(self) -> list[Member]:
        """Those that the queue lists no more, or as done without saying how: it is to be asked what became of them."""
        return [
            member
            for member in self
            if member.in_queue and (member.unlisted or (member.job is not None and member.job.state is JobState.DONE))
        ]

    # What follows

    def judge(self) -> None:
        """Bring the state of every member up to what was seen."""
        now = time.monotonic()
        for member in self:
            self.judge_one(member, now)

    def judge_one(self, member: Member, now: float) -> None:
        """Bring its state up to what was seen of it until ``now``."""
        runs = member.job is not None and member.job.state is JobState.RUNNING and not member.ended
        if not runs or len(member.workers) >= member.expected:
            member.short_since = None
        elif member.short_since is None:
            member.short_since = now if member.came or member.runs_since is None else member.runs_since
        member.become(*self._state(member, now))

    def _state(self, member: Member, now: float) -> tuple[UnitState, str]:
        job = member.job
        if member.ended:
            return _end_of(member)
        if not member.array:
            return UnitState.SUBMITTING, member.note or _being_submitted(now - member.submitted)
        if len(member.workers) >= member.expected:
            return UnitState.CONNECTED, member.note or ("leaving" if member.leaving else "")
        if member.dismissed is not None and member.failure is not None:
            return _written_off(member), f"{member.failure.summary}; it is replaced"
        if job is None or job.state is JobState.PENDING:
            return UnitState.PENDING, job.reason if job is not None else "was submitted just now"
        if member.dismissed is not None or job.state is not JobState.RUNNING:
            return UnitState.RUNNING, "is ending"
        if member.leaving:
            return UnitState.RUNNING, "is leaving"
        return self._short(member, now)

    def _short(self, member: Member, now: float) -> tuple[UnitState, str]:
        """Of one that runs, and not all its workers are here."""
        here = f"{len(member.workers)} of {member.expected} workers are connected"
        if self.is_crippled(member, now):
            return UnitState.RUNNING, f"{here} since {self._short_for(member, now):.0f} s; it is replaced"
        if member.workers:
            return UnitState.RUNNING, f"{here}, the others are gone and restarted" if member.came else here
        if member.came and self._short_for(member, now) <= min(GONE_PATIENCE, self.startup_timeout):
            return UnitState.LOST, "runs, but its workers are gone"
        if self._short_for(member, now) > self.startup_timeout or member.came:
            what = "are gone and did not come back" if member.came else "never came"
            return UnitState.MISSING, f"runs since {self._short_for(member, now):.0f} s, but its workers {what}"
        return UnitState.RUNNING, ""

    def is_crippled(self, member: Member, now: float) -> bool:
        """Whether it will stay with fewer workers than it should have: some are here, the others had their time."""
        return bool(member.workers) and self._short_for(member, now) > self.startup_timeout

    def _short_for(self, member: Member, now: float) -> float:
        return now - member.short_since if member.short_since is not None else 0.0

    @property
    def living(self) -> list[Member]:
        """Those that bring workers, or will, and are not on their way out."""
        return [member for member in self if member.lives]

    @property
    def connected(self) -> int:
        """Workers that are here."""
        return sum(len(member.workers) for member in self)


def _being_submitted(seconds: float) -> str:
    if seconds < ANSWER_PATIENCE:
        return "is being submitted"
    return f"was submitted {seconds:.0f} s ago, and the batch system has not answered yet"


def _end_of(member: Member) -> tuple[UnitState, str]:
    summary = member.failure.summary if member.failure is not None else "it ended"
    if member.dismissed is not None and member.failure is None:
        return UnitState.DONE, ""
    if member.came:
        return UnitState.LOST, f"{summary}; it is replaced"
    return UnitState.FAILED, summary


def _written_off(member: Member) -> UnitState:
    """Of one that was told to end for its failure, and has not ended yet."""
    if member.came:
        return UnitState.LOST
    return UnitState.MISSING if member.runs_since is not None else UnitState.FAILED


def _began(job: Job, member: Member) -> float:
    """When it began to run, by our clock: as the system says, but not before it was submitted or after it was seen.

    The system's clock may differ from ours; a start that is taken for later than it was would have its end come unforeseen.
    """
    now = time.monotonic()
    seen = member.runs_since if member.runs_since is not None else now
    if job.started is None:
        return seen
    told = now - (datetime.now(UTC) - job.started).total_seconds()
    return min(seen, max(told, member.submitted))
