"""What becomes of jobs that end badly: their evidence is gathered, their causes counted, and at some point it is enough."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clusterhub import Failure, UnitState
from clusterhub_backends.batch.causes import failure_of, held, never_came, never_runs, tail_of
from clusterhub_backends.batch.driver import Job, JobState
from clusterhub_backends.batch.roster import Member, Roster
from clusterhub_backends.batch.script import REACH_PATIENCE
from clusterhub_backends.batch.submitting import Submitter

logger = logging.getLogger(__name__)

LIKE_FAILURES = 3
"""How often in a row the same cause may end jobs before nothing more is launched."""
PROVEN_AFTER = REACH_PATIENCE + 30.0
"""Seconds of running after which a job has passed the stages that a bad spec fails at, the trial of addresses among them."""
LOG_PATIENCE = 5.0
"""Seconds for which the log of a job that ended is awaited: it comes late over NFS, and from a node that delivers it."""
REMEMBERED = 10
"""Jobs that ended badly which are still told of, the latest, while others are brought in their place."""


class Inquest:
    """Blames each job that ended badly once, and gives up where the same cause ends one after the other."""

    def __init__(
        self, roster: Roster, submitter: Submitter, log_of: Callable[[Member], Path | None], wake: Callable[[], None]
    ) -> None:
        self._roster = roster
        self._submitter = submitter
        self._log_of = log_of
        self._wake = wake
        self._causes: dict[str, int] = {}
        self._reading: dict[asyncio.Task[None], Member] = {}
        self.failure: Failure | None = None
        """Why nothing more is launched; None while all goes well."""

    def forgive(self) -> None:
        """Whoever asks again wants it tried again."""
        self.failure = None
        self._causes.clear()
        self._roster.strike([member for member in self._roster if member.ended])

    def give_up(self, failure: Failure) -> None:
        """Nothing more is launched, for this reason; the first one counts."""
        if self.failure is None:
            logger.error("nothing more is launched: %s", failure.summary)
            self.failure = failure

    def hold(self, wanted: int) -> None:
        """Look at every job, blame those that ended badly, and forget what needs no telling any more."""
        now = time.monotonic()
        for member in self._roster:
            if member.came or (member.runs_since is not None and now - member.runs_since > PROVEN_AFTER):
                self._submitter.proven = True
            if member.ended and member.leaving:
                member.dismissed = now  # its workers have left, and it with them: as was meant
            if member.failure is None and member.dismissed is None:
                self._look_at(member)
        if any(member.state is UnitState.CONNECTED for member in self._roster):
            self._causes.clear()
        self._forget(wanted)

    def _look_at(self, member: Member) -> None:
        if member.ended or member.state is UnitState.MISSING:
            if member not in self._reading.values():
                blame = self._blame(member) if member.ended else self._blame_missing(member)
                task = asyncio.create_task(blame, name=f"clusterhub-blame-{member.key}")
                self._reading[task] = member
                if not member.came:
                    self._submitter.burnt()
                task.add_done_callback(self._has_read)
        elif member.job is not None and member.job.never and not self._submitter.proven:
            # No need to wait for the same from all the others. Where others could run, nodes are down now, and may come back.
            member.failure = never_runs(member.job)
            self.give_up(member.failure)
        elif member.job is not None and member.job.stuck:
            member.failure = held(member.job)
            self._submitter.burnt()
            self._count(member.failure)

    def _has_read(self, task: asyncio.Task[None]) -> None:
        self._reading.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the end of a job could not be looked into: %s", error)
        self._wake()

    async def _blame(self, member: Member) -> None:
        """Off the event loop, since a home on NFS may hang."""
        assert member.exit is not None
        log, deadline = self._log_of(member), time.monotonic() + LOG_PATIENCE
        lines: tuple[str, ...] = ()
        while log is not None and member.exit.ran:
            lines = await asyncio.to_thread(tail_of, log)
            if lines or time.monotonic() > deadline:
                break
            await asyncio.sleep(1.0)
        job = member.job or Job(member.id, member.array, member.key.index, member.key.name, JobState.PENDING)
        member.failure = failure_of(job, member.exit, log, lines)
        self._roster.judge_one(member, time.monotonic())
        logger.warning("%s: %s (%s)", member.id, member.failure.summary, member.exit.words)
        if not member.came:
            self._count(member.failure)

    async def _blame_missing(self, member: Member) -> None:
        log = self._log_of(member)
        lines = await asyncio.to_thread(tail_of, log) if log is not None else ()
        member.failure = never_came(member.id, member.reason, log, lines, came=member.came)
        logger.warning("%s: %s (%s)", member.id, member.failure.summary, member.reason)
        if not member.came:
            self._count(member.failure)

    def _count(self, failure: Failure) -> None:
        count = self._causes[failure.summary] = self._causes.get(failure.summary, 0) + 1
        if count >= LIKE_FAILURES and self._roster.connected == 0:
            self.give_up(replace(failure, count=count))

    def _forget(self, wanted: int) -> None:
        """What was told to end needs no telling; what ended by itself is told until it is made good."""
        ended = [member for member in self._roster if member.ended]
        made_good = self._roster.connected >= wanted
        blamed = [member for member in ended if member.failure is not None]
        self._roster.strike(member for member in ended if member.dismissed is not None and member.failure is None)
        self._roster.strike(blamed if made_good else blamed[:-REMEMBERED])

    def close(self) -> None:
        """Look into nothing more."""
        for task in list(self._reading):
            task.cancel()
