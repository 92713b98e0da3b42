"""The control loop: *desired* (from ``scale`` and ``adapt``), *observed* (the queue and the scheduler), *act*.

In the manner of a Kubernetes controller: each turn looks at what there is and takes one step towards what is wanted, so that
whatever was lost, doubled or half done meanwhile is mended by the next. Commands of the batch system run beside the turns,
since its server may not answer for a minute, and a job's walltime does not wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clusterhub import ClusterGone, ClusterhubError, Failure, Plan, Workers
from clusterhub.parts import SchedulerLink
from clusterhub_backends.batch.commands import Commands, user
from clusterhub_backends.batch.departing import Departures, missed_least
from clusterhub_backends.batch.driver import Driver, Ending, Exit, Job, JobState, SystemDown
from clusterhub_backends.batch.following import Following
from clusterhub_backends.batch.inquest import Inquest
from clusterhub_backends.batch.names import prefix_of
from clusterhub_backends.batch.pacing import Pace
from clusterhub_backends.batch.roster import Member, Roster
from clusterhub_backends.batch.submitting import Submitter
from clusterhub_backends.batch.walltime import Succession

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the scheduler's workers; the queue is asked less often."""
CALM = 2.0
"""Seconds between two turns while nothing happens."""
FORGOTTEN = 3
"""Listings in a row without a job after which it counts as gone, where the system keeps no record."""
ENDING_PATIENCE = 20.0
"""Seconds for which jobs that are ending are waited for; a PBS takes up to 13 s over that, and a node that hangs for ever."""
ENDING_LOOK = 0.5
"""Seconds between two looks at whether jobs that were told to end have ended."""


class Loop:
    """Keeps the jobs of one cluster in line with what was asked for."""

    def __init__(
        self,
        plan: Plan[Any],
        driver: Driver,
        link: SchedulerLink,
        script: Callable[[str, int], str],
        log_of: Callable[[Member], Path | None],
        commands: Commands,
    ) -> None:
        self._plan = plan
        self._driver = driver
        self._link = link
        self.log_of = log_of
        self.commands = commands
        self.roster = Roster(prefix_of(plan.uid), plan.spec.packing.workers_per_job, plan.spec.job.startup_timeout)
        self.submitter = Submitter(driver, commands, self.roster, plan.uid, script, self._give_up, self.wake)
        self.inquest = Inquest(self.roster, self.submitter, log_of, self.wake)
        self.succession = Succession(plan.spec.job.walltime)
        self._pace = Pace()
        self.departures = Departures(driver, commands, self.roster, link, self.succession, self._pace)
        self._following = Following(plan.spec.workers)
        self.wanted = plan.spec.workers.minimum
        """Workers that are worked for at present."""
        self.outage = ""
        """What the batch system said when it last did not answer; empty while it does."""
        self.any_came = False
        """Whether any worker has ever come."""
        self._told_waits: set[Member] = set()
        self._listing: asyncio.Task[None] | None = None
        self._last_turn = -math.inf
        self._kick = asyncio.Event()

    # What it is told

    def aim(self, limits: Workers) -> None:
        """The target from now on; what was given up is tried again."""
        self._following = Following(limits)
        self.wanted = max(limits.minimum, min(self.wanted, limits.maximum))
        self.inquest.forgive()
        self.submitter.forgive()
        for member in self.roster:
            member.note = ""
        self.wake()

    def wake(self) -> None:
        """Look again at once."""
        self._pace.hurry()
        self._kick.set()

    def _give_up(self, failure: Failure) -> None:
        self.inquest.give_up(failure)

    @property
    def failure(self) -> Failure | None:
        """Why nothing more is launched; None while all goes well."""
        return self.inquest.failure

    @property
    def jobs_wanted(self) -> int:
        """Whole jobs that hold the workers that are wanted."""
        return math.ceil(self.wanted / self._plan.spec.packing.workers_per_job)

    @property
    def why_unborn(self) -> tuple[str, str]:
        """Why jobs that are wanted are not submitted, in our words and in the system's."""
        submitter = self.submitter
        if submitter.full is not None:
            return str(submitter.full), submitter.full.source
        if outage := self.outage or submitter.outage:
            return f"{self._driver.system} does not answer now; it is asked again", outage
        if submitter.refused is not None:
            return f"{str(submitter.refused).splitlines()[0]}; it is tried again", submitter.refused.source
        if submitter.healing:
            return "waits a little, since those before it ended badly", ""
        if not submitter.proven and submitter.piloted:
            return "waits until the first jobs have shown that they can start", ""
        return "is to be submitted", ""

    @property
    def remarks(self) -> list[str]:
        """What whoever looks at the cluster should know besides the state of its jobs."""
        found = [self.departures.long_task(key) for key in self.departures.too_long]
        if self.outage:
            found.append(f"{self._driver.system} does not answer; what is told of its jobs may be old ({self.outage})")
        if self.submitter.full is not None and self.jobs_wanted > len(self.roster.living):
            found.append(f"{self.submitter.full} ({self.submitter.full.source})")
        if self.departures.words:
            found.append(f"{self._driver.system} does not end jobs that were told to end ({self.departures.words})")
        return found

    # Turns

    async def run(self) -> None:
        """Turn until cancelled. Nothing that goes wrong in a turn ends it."""
        while True:
            try:
                await self._turn_if_needed()
            except ClusterGone as gone:
                logger.warning("%s", gone)
            except Exception:
                logger.exception("a turn of the control loop failed")
            # Not wait_for, which before Python 3.12 swallows a cancellation that comes together with the kick: this would turn on
            # for ever, and who waits for its end with it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._kick.wait()

    async def _turn_if_needed(self) -> None:
        news = await self._see_workers()
        self._list_if_due()
        if news or self._kick.is_set() or time.monotonic() - self._last_turn >= CALM:
            self._kick.clear()
            await self.turn()

    async def _see_workers(self) -> bool:
        news = self.roster.see_workers(await self._link.names())
        if news:
            self._pace.hurry()  # a worker that came or went is a job that began or ended
        return news

    async def turn(self) -> None:
        """Look at what is known, and take one step."""
        self._last_turn = time.monotonic()
        self.roster.judge()
        self._learn_waits()
        self.inquest.hold(self.wanted)
        self.submitter.look_for_lost()
        await self._decide()
        await self._act()

    async def _decide(self) -> None:
        """How many workers are wanted now."""
        if not self._following.limits.adapts:
            self.wanted = self._following.limits.minimum
            return
        wait = self.succession.wait
        recommended = await self._link.adaptive_target(self._following.duration(wait))
        self.wanted = self._following.decide(recommended, self.wanted, wait)

    def _learn_waits(self) -> None:
        """From those whose workers have just come: how long that took, which says how early to ask for the next."""
        for member in self.roster:
            if member.came and member not in self._told_waits:
                self.any_came = True
                self.submitter.healed()
                self.succession.waited(time.monotonic() - member.submitted)
                self._told_waits.add(member)
        self._told_waits &= set(self.roster)

    # Observing the queue

    def _list_if_due(self) -> None:
        if self._listing is not None and not self._listing.done():
            return
        if self._pace.due and any(member.in_queue for member in self.roster):
            self._listing = asyncio.create_task(self._listed(), name="clusterhub-listing")

    async def _listed(self) -> None:
        """List the queue, and ask how those ended that are not in it any more."""
        before = self._essence()
        try:
            await self._list()
        except SystemDown as down:
            if not self.outage:
                logger.warning("%s does not answer: %s", self._driver.system, down)
            self.outage = str(down)
            self._pace.listed(changed=False)
            return
        except Exception:
            logger.exception("a listing could not be read")
            self._pace.listed(changed=False)
            return
        if self.outage:
            logger.info("%s answers again", self._driver.system)
            self.outage = ""
            self.submitter.answered()
            self.departures.answered()
            self._kick.set()
        changed = before != self._essence()
        self._pace.listed(changed=changed or bool(self.roster.vanished))
        if changed:
            self._kick.set()

    def _essence(self) -> object:
        return [(m.key, m.job.state if m.job else None, m.ended) for m in self.roster]

    async def _list(self) -> None:
        arrays = sorted({member.array for member in self.roster if member.in_queue})
        if not arrays:
            return
        output = await self.commands.run(self._driver.listing(user(), arrays))
        self.roster.see_jobs(self._driver.listed(output), arrays)
        if gone := self.roster.vanished:
            await self._ask_how(gone)

    async def _ask_how(self, gone: Sequence[Member]) -> None:
        """How these ended: by the first way that the system answers."""
        asked = {id_: member for member in gone for id_ in (member.id, member.own_id)}
        open_, down, answered = dict.fromkeys(gone), None, False
        for command in self._driver.details([member.id for member in gone]):
            if not open_:
                return
            try:
                found = self._driver.detailed(await self.commands.run(command))
            except SystemDown as error:  # another way may answer: accounting has a server of its own
                down = error
                continue
            answered = True
            for job in found.values():
                member = asked.get(job.id)
                if member in open_ and _has_learnt(member, job):
                    del open_[member]
        if down is not None and not answered:
            raise down
        for member in open_:
            if member.unlisted >= FORGOTTEN:
                member.exit = Exit(Ending.UNKNOWN, words=f"{self._driver.system} does not know it any more")

    # Acting

    async def _act(self) -> None:
        self.departures.dismiss(m for m in self.roster if m.failure is not None and not m.ended)
        if self.failure is not None:
            # What never came is ended, what works goes on.
            self.departures.dismiss(m for m in self.roster if not m.came and not m.dead)
        now = time.monotonic()
        living = self.roster.living
        # Those without workers have nothing to hand on.
        ending = [m for m in living if m.workers and (self.succession.ends_soon(m) or self.roster.is_crippled(m, now))]
        staying = [m for m in living if m not in ending]
        surplus = len(staying) - self.jobs_wanted
        # During an outage only the listing asks, as long as there is anything to list.
        if self.failure is None and not (self.outage and any(m.in_queue for m in self.roster)):
            self.submitter.grow(-surplus)
        if surplus > 0:
            await self._shrink(staying, surplus)
        leaving = any(m.leaving or (m.dismissed is not None and m.in_queue) for m in self.roster)
        crowded = self.submitter.full is not None and not leaving
        self.departures.drain(self.succession.to_drain(living, ending, self.jobs_wanted, crowded=crowded))
        self.departures.insist()
        await self.departures.forget_ended_tasks()

    async def _shrink(self, staying: Sequence[Member], surplus: int) -> None:
        """Let go of whole jobs: those that have not started first, then those that are missed least."""
        waiting = missed_least([m for m in staying if not m.workers])
        self.departures.dismiss(waiting[:surplus])
        if surplus > len(waiting):
            await self.departures.drain_least([m for m in staying if m.workers], surplus - len(waiting))

    # The end

    async def end(self, patience: float) -> list[str]:
        """End every job, and return what could not be ended within ``patience`` seconds: ids, or names to find jobs by."""
        deadline = time.monotonic() + patience
        self.inquest.close()
        self.departures.close()
        pending = [task for task in (self._listing,) if task is not None]
        await self.submitter.settled()  # half a submission would be nobody's
        await asyncio.gather(*pending, return_exceptions=True)
        left = self._left()
        while left:
            try:
                await self._end_all()
                left = self._left()
            except ClusterhubError as error:
                logger.warning("jobs could not be ended: %s", error)
                left = self._left()
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(ENDING_LOOK)
        return left

    def _left(self) -> list[str]:
        """Jobs that may still be there, as far as is known."""
        now = time.monotonic()
        known = [member for member in self.roster if member.in_queue and not _as_good_as_gone(member, now)]
        return [*(member.id for member in known), *self.submitter.unanswered]

    async def _end_all(self) -> None:
        self.departures.dismiss(m for m in self.roster if m.in_queue)
        if self.submitter.haunted:
            await self.submitter.find()
            self.departures.dismiss(m for m in self.roster if m.in_queue)
        self.departures.insist()
        if await self.departures.flushed():
            await self._list()


def _as_good_as_gone(member: Member, now: float) -> bool:
    """Whether it was told to end, ends, and takes its time over it."""
    ending = member.job is not None and member.job.state is JobState.ENDING
    return ending and member.dismissed is not None and now - member.dismissed > ENDING_PATIENCE


def _has_learnt(member: Member, job: Job) -> bool:
    """Whether what the system says of it settles what became of it; if so, it is noted."""
    if job.state is not JobState.DONE:
        member.unlisted = 0  # it lives: the listing was too brief
        return True
    if job.exit is None:
        return False
    member.job, member.exit = job, job.exit
    return True
