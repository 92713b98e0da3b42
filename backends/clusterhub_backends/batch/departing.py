"""How jobs leave: drained first where they hold something, then ended by the system, and seen to have ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from clusterhub import ClusterhubError, UnitState
from clusterhub.parts import Drain, SchedulerLink
from clusterhub_backends.batch.commands import Commands
from clusterhub_backends.batch.driver import Driver, JobState, SystemDown
from clusterhub_backends.batch.pacing import Backoff, Pace
from clusterhub_backends.batch.roster import Member, Roster
from clusterhub_backends.batch.walltime import Succession

logger = logging.getLogger(__name__)

DRAIN_PATIENCE = 60.0
"""Seconds that tasks may still run on a job that is to leave; after that they start again elsewhere."""
DRAIN_AGAIN = 2.0
"""Seconds after which a job that could not leave is asked again: its results may have been released."""
DISMISS_AGAIN = 30.0
"""Seconds after which a job that was told to end, and goes on as if nothing was said, is told again."""
TOO_LONG = 0.8
"""The share of a job's usable time above which a running task is told of."""


class Departures:
    """Lets go of whole jobs. What the system does not take at once is said to it again until it does."""

    def __init__(
        self,
        driver: Driver,
        commands: Commands,
        roster: Roster,
        link: SchedulerLink,
        succession: Succession,
        pace: Pace,
    ) -> None:
        self._driver = driver
        self._commands = commands
        self._roster = roster
        self._link = link
        self._succession = succession
        self._pace = pace
        self._drains: set[asyncio.Task[None]] = set()
        self._unsaid: dict[Member, None] = {}
        self._saying: asyncio.Task[None] | None = None
        self._backoff = Backoff(most=10.0)
        self.words = ""
        """What the system said when it last did not take the end of jobs; empty once it did."""
        self.too_long: dict[str, tuple[float, float]] = {}
        """Tasks that no job is long enough for: for how long they ran (seconds), and how long a job has for its tasks."""

    # By the system

    def dismiss(self, members: Iterable[Member]) -> None:
        """Have the system end these jobs, with whatever they hold. Returns at once."""
        members = list(members)
        # One whose answer was lost is looked for first; it is dismissed once it is found.
        for member in members:
            if member.in_queue and member.dismissed is None:
                member.dismissed = time.monotonic()
                self._unsaid[member] = None
        self._say()

    def insist(self) -> None:
        """Tell those again that were told to end some time ago and go on. Returns at once."""
        now = time.monotonic()
        for member in self._roster:
            if member.dismissed is not None and member.in_queue and now - member.dismissed > DISMISS_AGAIN:
                ending = member.job is not None and member.job.state in (JobState.ENDING, JobState.DONE)
                if not ending:
                    member.dismissed = now
                    self._unsaid[member] = None
        self._say()

    def _say(self) -> None:
        if self._unsaid and self._backoff.over and (self._saying is None or self._saying.done()):
            self._saying = asyncio.create_task(self._said(), name="clusterhub-cancel")

    async def _said(self) -> None:
        members = list(self._unsaid)
        for member in members:
            del self._unsaid[member]
        try:
            await self._cancelled([member.id for member in members if member.in_queue])
        except ClusterhubError as error:
            self.words = str(error)
            self._backoff.failed()
            logger.warning("%s does not end jobs: %s", self._driver.system, error)
            self._unsaid |= dict.fromkeys(members)
        else:
            self.words = ""
            self._backoff.worked()
            self._pace.hurry()

    async def _cancelled(self, ids: Sequence[str]) -> None:
        wrong = None
        for command in self._driver.cancel(ids):
            try:
                self._driver.cancelled(await self._commands.run(command))
            except SystemDown:
                raise
            except ClusterhubError as error:  # of one command; the others may work
                wrong = error
        if wrong is not None:
            raise wrong

    def answered(self) -> None:
        """The system answers again: what it did not take may be said at once."""
        self._backoff.worked()

    async def flushed(self) -> bool:
        """Say what is unsaid, now; whether the system took it all."""
        if self._saying is not None:
            await asyncio.wait([self._saying])
        if self._unsaid:
            self._saying = asyncio.create_task(self._said(), name="clusterhub-cancel")
            await asyncio.wait([self._saying])
        return not self._unsaid

    # With their results elsewhere

    async def drain_least(self, members: Sequence[Member], surplus: int) -> None:
        """Let those of ``members`` go that are missed least, ``surplus`` of them."""
        order = await self._link.workers_to_close(10**6)
        rank = {address: position for position, address in enumerate(order)}
        least = sorted(members, key=lambda member: max(rank.get(address, 0) for address in member.workers))
        self.drain(least[:surplus])

    def drain(self, members: Iterable[Member]) -> None:
        """Let these go, each once its tasks have ended and its results moved. Returns at once.

        Of a job that nears its walltime the tasks may run as long as that leaves them, else for ``DRAIN_PATIENCE``.
        """
        for member in members:
            member.leaving = True
            soon = self._succession.ends_soon(member)
            patience = self._succession.patience(member) if soon else DRAIN_PATIENCE
            task = asyncio.create_task(self._drained(member, patience), name=f"clusterhub-drain-{member.key}")
            self._drains.add(task)
            task.add_done_callback(self._drains.discard)

    async def _drained(self, member: Member, patience: float) -> None:
        """By itself for each, so that none is kept waiting, its workers gone, for the tasks of another."""
        addresses = list(member.workers)
        try:
            await self._name_long_tasks(member, addresses)
            gone = await Drain(self._link, addresses, patience).run() if addresses else frozenset()
            # A worker that it lost meanwhile is as good as drained.
            if set(member.workers) <= gone or self._succession.is_last_moment(member):
                self.dismiss([member])
            else:
                member.note = "holds results that no other worker can take"
                await asyncio.sleep(DRAIN_AGAIN)
        except ClusterhubError as error:
            logger.warning("%s could not be drained: %s", member.id, error)
            await asyncio.sleep(DRAIN_AGAIN)
        finally:
            member.leaving = False

    async def _name_long_tasks(self, member: Member, addresses: Sequence[str]) -> None:
        """A task that runs for nearly a whole walltime starts again elsewhere for ever: nobody else would tell."""
        usable = self._succession.usable(member)
        if usable is None or not addresses:
            return
        for key, seconds in (await self._link.call(processing, workers=list(addresses))).items():
            if seconds > TOO_LONG * usable:
                news = key not in self.too_long
                self.too_long[key] = (seconds, usable)
                if news:
                    logger.warning("%s", self.long_task(key))
                    await self._link.call(warn_clients, message=self.long_task(key))

    def long_task(self, key: str) -> str:
        """What is told of a task that no job is long enough for."""
        seconds, usable = self.too_long[key]
        return (
            f"task {key} has run for {seconds:.0f} s, and a job has {usable:.0f} s for its tasks: it starts again elsewhere and"
            " may never end; ask for a longer job.walltime, or split the task"
        )

    async def forget_ended_tasks(self) -> None:
        """Those that ended after all, or are wanted no more, are told of no more."""
        if self.too_long:
            going = await self._link.call(still_to_do, keys=list(self.too_long))
            self.too_long = {key: told for key, told in self.too_long.items() if key in going}

    def close(self) -> None:
        """Drain nothing more."""
        for task in list(self._drains):
            task.cancel()


def missed_least(waiting: Sequence[Member]) -> list[Member]:
    """Of those without workers, in which order they can go: not yet started first, the latest first."""
    pending = [member for member in waiting if member.state in (UnitState.SUBMITTING, UnitState.PENDING)]
    return [*pending[::-1], *(member for member in waiting if member not in pending)]


# These run on the scheduler, and use nothing of this module.


def processing(dask_scheduler: Any, workers: Sequence[str]) -> dict[str, float]:
    """For how many seconds each task has been running on ``workers``, by key."""
    running: dict[str, float] = {}
    for address in workers:
        state = dask_scheduler.workers.get(address)
        if state is not None:
            running.update({str(task.key): float(seconds) for task, seconds in state.executing.items()})
    return running


def still_to_do(dask_scheduler: Any, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` that are tasks which somebody waits for."""
    names = {str(key): task for key, task in dask_scheduler.tasks.items()}
    return [
        key for key in keys if key in names and names[key].state not in ("memory", "erred", "released", "forgotten")
    ]


def warn_clients(dask_scheduler: Any, message: str) -> None:
    """Have every client show a warning, as Dask's own ``worker.warn`` does."""
    import pickle

    dask_scheduler.log_event("warn", {"message": pickle.dumps(message)})
