"""The control loop: *desired* (from ``scale`` and ``adapt``), *observed* (the queue and the scheduler), *act*.

In the manner of a Kubernetes controller: each turn looks at what there is and takes one step towards what is wanted, so that
whatever was lost, doubled or half done meanwhile is mended by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clusterhub import ClusterGone, ClusterhubError, Failure, Plan, QueueFull, SubmitRejected, UnitState, Workers
from clusterhub.parts import Adaptation, Drain, SchedulerLink
from clusterhub_backends.batch.causes import failure_of, tail_of
from clusterhub_backends.batch.commands import Commands
from clusterhub_backends.batch.driver import (
    ArrayTooLarge,
    Driver,
    Ending,
    Exit,
    Job,
    JobState,
    Rejected,
    Submission,
    SystemDown,
)
from clusterhub_backends.batch.names import prefix_of, submission_name
from clusterhub_backends.batch.pacing import Backoff, Pace
from clusterhub_backends.batch.roster import Member, Roster
from clusterhub_backends.batch.walltime import LAST_MOMENT, Succession

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two turns; the queue is asked less often."""
PILOTS = 4
"""Jobs of an unproven spec that are submitted before the others: a bad one burns these and no more."""
BURNT = 5
"""Jobs that an unproven spec may cost before they are tried one by one."""
PILOT_PATIENCE = 20.0
"""Seconds for which the others wait for pilots that the queue does not start."""
PROVEN_AFTER = 10.0
"""Seconds of running after which a job has passed the stages that a bad spec fails at."""
DRAIN_PATIENCE = 60.0
"""Seconds that tasks may still run on a job that is to leave; after that they start again elsewhere."""
ASK_AGAIN = 60.0
"""Seconds between two trials of a full queue whose limit is not known."""
FIND_INTERVAL = 5.0
"""Seconds between two looks for a submission whose answer was lost."""
TOO_LONG = 0.8
"""The share of a job's usable time above which a running task is told of."""
LIKE_FAILURES = 3
"""How often in a row the same cause may end jobs before nothing more is launched."""
FORGOTTEN = 3
"""Listings in a row without a job after which it counts as gone, where the system keeps no record."""
TARGET_DURATION = 60.0
"""Seconds in which the work at hand should be done, from which the number of workers follows: queues are slow."""
PENDING_PATIENCE = 30.0
"""Seconds for which a pending job that is surplus is kept when adapting: its place in the queue is precious."""


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
        startup_timeout: float,
    ) -> None:
        self._plan = plan
        self._driver = driver
        self._link = link
        self._script = script
        self.log_of = log_of
        self.commands = commands
        self.roster = Roster(prefix_of(plan.uid), plan.spec.packing.workers_per_job, startup_timeout)
        self._adaptation = Adaptation(plan.spec.workers)
        self.wanted = plan.spec.workers.minimum
        self.failure: Failure | None = None
        self._causes: dict[str, int] = {}
        self._proven = False
        self._piloted: float | None = None
        self._tried = 0
        self._number = 0
        self._largest = driver.largest_array
        self._room: int | None = None
        self.full: QueueFull | None = None
        """The limit that was met when jobs were submitted last; None while the queue takes them."""
        self._pace = Pace()
        self._submitting = Backoff()
        self._surplus_since: float | None = None
        self._succession = Succession(plan.spec.job.walltime)
        self._drains: dict[asyncio.Task[None], tuple[Member, ...]] = {}
        self._outage = ""
        self._asked_again = time.monotonic()
        self.too_long: dict[str, float] = {}
        """Tasks that no job is long enough for, with the seconds that they ran."""
        self._kick = asyncio.Event()

    # What it is told

    def aim(self, limits: Workers) -> None:
        """The target from now on; what was given up is tried again."""
        self._adaptation = Adaptation(limits)
        self.wanted = max(limits.minimum, min(self.wanted, limits.maximum))
        self.failure = None
        self._tried = 0
        self._causes.clear()
        self._submitting.worked()
        self._surplus_since = None
        for member in list(self.roster):
            member.note = ""
        self.roster.strike([m for m in self.roster if m.ended])
        self.wake()

    def wake(self) -> None:
        """Look again at once."""
        self._pace.hurry()
        self._kick.set()

    @property
    def outage(self) -> str:
        """What the batch system said when it last did not answer; empty while it does."""
        return self._outage

    @property
    def jobs_wanted(self) -> int:
        """Whole jobs that hold the workers that are wanted."""
        return math.ceil(self.wanted / self._plan.spec.packing.workers_per_job)

    # Turns

    async def run(self) -> None:
        """Turn until cancelled. Nothing that goes wrong in a turn ends it."""
        while True:
            try:
                await self.turn()
            except SystemDown as down:
                if not self._outage:
                    logger.warning("%s does not answer: %s", self._driver.system, down)
                self._outage = str(down)
                self._pace.listed(changed=False)
            except ClusterGone as gone:
                logger.warning("%s", gone)
            except Exception:
                logger.exception("a turn of the control loop failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._kick.wait(), INTERVAL)
            self._kick.clear()

    async def turn(self) -> None:
        """Look, and take one step."""
        await self.look()
        if self._adaptation.limits.adapts:
            self.wanted = self._adaptation.decide(await self._link.adaptive_target(TARGET_DURATION), self.wanted)
        else:
            self.wanted = self._adaptation.limits.minimum
        await self._act()

    async def look(self) -> None:
        """See the workers, and, when it is time, the queue."""
        self.roster.see_workers((await self._link.identity())["workers"])
        if self._pace.due and self._has_submitted:
            before = self._essence()
            await self._list()
            self._pace.listed(changed=before != self._essence())
        self.roster.judge()
        self._learn()

    @property
    def _has_submitted(self) -> bool:
        return any(member.array for member in self.roster)

    def _essence(self) -> object:
        return [(m.key, m.state, m.job.state if m.job else None, m.ended) for m in self.roster]

    async def _list(self) -> None:
        arrays = sorted({m.array for m in self.roster if m.array and not m.ended})
        if not arrays:
            return
        output = await self.commands.run(self._driver.listing(getpass.getuser(), arrays))
        self.roster.see_jobs(self._driver.listed(output))
        self._outage = ""
        if gone := self.roster.vanished:
            await self._ask_how(gone)

    async def _ask_how(self, gone: Sequence[Member]) -> None:
        """How these ended: by the first way that the system answers."""
        by_id = {member.id: member for member in gone}
        for command in self._driver.details(list(by_id)):
            if not by_id:
                return
            output = await self.commands.run(command)
            for job in self._driver.detailed(output).values():
                member = by_id.get(job.id)
                if member is not None and job.state is JobState.DONE and job.exit is not None:
                    member.job, member.exit = job, job.exit
                    by_id.pop(job.id)
                elif member is not None and job.state is not JobState.DONE:
                    member.unlisted = 0  # it lives: the listing was too brief
        for member in by_id.values():
            if member.unlisted >= FORGOTTEN:
                member.exit = Exit(Ending.UNKNOWN, words=f"{self._driver.system} does not know it any more")

    # What is learnt from it

    def _learn(self) -> None:
        """Count like failures, and forgive them where a job came through."""
        for member in self.roster:
            if member.came or (member.runs_since is not None and time.monotonic() - member.runs_since > PROVEN_AFTER):
                self._proven = True
            if member.ended and member.failure is None and not member.dismissed:
                self._blame(member)
            elif member.state is UnitState.MISSING and member.failure is None:
                self._blame_missing(member)
            elif member.job is not None and member.job.never and member.failure is None:
                self._blame_never(member, member.job)
        if any(member.state is UnitState.CONNECTED for member in self.roster):
            self._causes.clear()
        if self.roster.connected >= self.wanted:
            self.roster.strike([m for m in self.roster if m.ended])

    def _blame(self, member: Member) -> None:
        assert member.exit is not None
        log = self.log_of(member)
        lines = tail_of(log) if log is not None else ()
        job = member.job or Job(member.id, member.array, member.key.index, member.key.name, JobState.DONE)
        member.failure = failure_of(job, member.exit, log, lines)
        member.become(*self.roster._state(member))
        logger.warning("%s: %s (%s)", member.id, member.failure.summary, member.exit.words)
        if not member.came:
            self._count(member.failure)

    def _blame_missing(self, member: Member) -> None:
        log = self.log_of(member)
        member.failure = Failure(
            summary="they run, but their workers never came",
            unit=member.id,
            log_path=str(log) if log is not None else "",
            log_tail=tail_of(log)[-6:] if log is not None else (),
            because="network.interface",
            next_step="see the log, and whether nodes reach the scheduler's address",
        )
        self._count(member.failure)

    def _blame_never(self, member: Member, job: Job) -> None:
        """The system says that it can never run: no need to wait for the same from all the others."""
        member.failure = Failure(
            summary=job.reason,
            unit=member.id,
            source=job.source,
            because="worker",
            next_step="ask for less, or for another queue or partition",
        )
        self._give_up(member.failure)

    def _count(self, failure: Failure) -> None:
        count = self._causes[failure.summary] = self._causes.get(failure.summary, 0) + 1
        if count >= LIKE_FAILURES and self.roster.connected == 0:
            self._give_up(replace(failure, count=count))

    def _give_up(self, failure: Failure) -> None:
        if self.failure is None:
            logger.error("nothing more is launched: %s", failure.summary)
            self.failure = failure

    # Acting

    async def _act(self) -> None:
        if self.failure is not None:
            await self._dismiss([m for m in self.roster if not m.came and not m.dead and not m.dismissed])
            return
        await self._dismiss([m for m in self.roster if m.state is UnitState.MISSING and not m.dismissed])
        staying = self._succession.staying(self.roster.living)
        surplus = len(staying) - self.jobs_wanted
        if surplus < 0:
            self._surplus_since = None
            await self._grow(-surplus)
        elif surplus > 0:
            await self._shrink(staying, surplus)
        await self._succeed()

    async def _grow(self, missing: int) -> None:
        if not self._submitting.over:
            return
        count = min(missing, self._largest, self._unproven_room(), self._free_places())
        if count <= 0:
            return
        name = submission_name(self._plan.uid, self._number)
        self._number += 1
        members = self.roster.add(name, count)
        await self._submit(Submission(name, count, self._script(name, count)), members)

    def _unproven_room(self) -> int:
        """How many jobs may be submitted as long as none has shown that they can start."""
        if self._proven:
            return self._largest
        trying = sum(not m.dead for m in self.roster)
        now = time.monotonic()
        self._piloted = self._piloted or now
        if trying and now - self._piloted > PILOT_PATIENCE and not any(m.failure for m in self.roster):
            return self._largest  # the queue is long: they will start a few at a time
        # One at a time once a few were burnt for causes that differ.
        return max(min(PILOTS - trying, BURNT - self._tried), 0 if trying else 1)

    def _free_places(self) -> int:
        """Places that a full queue has for us, as far as we learnt its limit."""
        if self._room is None:
            return self._largest
        free = self._room - sum(not m.ended for m in self.roster)
        if free > 0:
            return free
        # Others of our jobs may have ended, or the limit been raised: ask again with one job, now and then.
        if self.full is not None and time.monotonic() - self._asked_again > ASK_AGAIN:
            self._asked_again = time.monotonic()
            return 1 if self.full.limit is None else 0
        return 0

    async def _submit(self, submission: Submission, members: list[Member]) -> None:
        try:
            output = await self.commands.run(self._driver.submit(submission))
            array = self._driver.submitted(submission, output)
        except SystemDown as down:
            logger.warning("the answer to a submission is lost: %s", down)
            self._submitting.failed()
            await self._find(submission, members)
            raise
        except QueueFull as full:
            self.roster.strike(members)
            self._number -= 1
            self._note_full(full)
            return
        except SubmitRejected as rejected:
            self.roster.strike(members)
            self._number -= 1
            self._reject(rejected, submission)
            return
        self._submitting.worked()
        self._tried += submission.count
        self.full = None
        self._pace.hurry()
        for member in members:
            member.array = array
        logger.info("submitted %d jobs as %s", submission.count, array)

    def _note_full(self, full: QueueFull) -> None:
        """The queue takes no more of ours at present: the target stays, and places are taken as they come free."""
        here = sum(bool(m.array) and not m.ended for m in self.roster)
        used = full.used if full.used is not None else here
        if full.limit is not None:
            self._room = max(0, full.limit - max(0, used - here))
        else:
            self._room = here if self._room is None else min(self._room, here)
        self.full = full
        self._submitting.failed()

    def _reject(self, rejected: SubmitRejected, submission: Submission) -> None:
        if isinstance(rejected, ArrayTooLarge) and submission.count > 1:
            self._largest = rejected.largest or max(1, submission.count // 2)
            return
        because = rejected.because if isinstance(rejected, Rejected) else ""
        summary = str(rejected).splitlines()[0]
        next_step = "correct it; scale() or a new wait() try again" if because else ""
        self._give_up(Failure(summary=summary, source=rejected.source, because=because, next_step=next_step))

    async def _find(self, submission: Submission, members: list[Member]) -> None:
        """Look for a submission whose answer was lost, until the system answers: never submit it twice."""
        while True:
            try:
                jobs = self._driver.listed(await self.commands.run(self._driver.listing(getpass.getuser(), ())))
                break
            except SystemDown:
                await asyncio.sleep(FIND_INTERVAL)
        found = [job for job in jobs if job.name == submission.name]
        if not found:
            self.roster.strike(members)
            return
        logger.info("found the submission %s as %s", submission.name, found[0].array)
        for member in members:
            member.array = found[0].array

    # Fewer jobs

    async def _shrink(self, staying: Sequence[Member], surplus: int) -> None:
        """Let go of whole jobs: those that have not started first, then those that are missed least."""
        waiting = [m for m in staying if m.state in (UnitState.SUBMITTING, UnitState.PENDING)][::-1]
        if self._adaptation.limits.adapts and waiting:
            now = time.monotonic()
            self._surplus_since = self._surplus_since or now
            if now - self._surplus_since < PENDING_PATIENCE:
                return
        self._surplus_since = None
        await self._dismiss(waiting[:surplus])
        surplus -= len(waiting[:surplus])
        fresh = [m for m in staying if m not in waiting and not m.workers]
        await self._dismiss(fresh[:surplus])
        surplus -= len(fresh[:surplus])
        if surplus > 0:
            await self._drain_least([m for m in staying if m.workers], surplus)

    async def _drain_least(self, members: Sequence[Member], surplus: int) -> None:
        order = await self._link.workers_to_close(10**6)
        rank = {address: position for position, address in enumerate(order)}
        least = sorted(members, key=lambda m: max(rank.get(address, 0) for address in m.workers))
        self._drain_soon(least[:surplus], DRAIN_PATIENCE)

    async def _succeed(self) -> None:
        """Drain the jobs that near their walltime and have successors."""
        for member in self.roster:
            if member.came and not member.waited_told:
                member.waited_told = True
                self._succession.waited(time.monotonic() - member.submitted)
        for member in self._succession.to_drain(self.roster.living, self.jobs_wanted):
            self._drain_soon([member], self._succession.patience([member]))

    def _drain_soon(self, members: Sequence[Member], patience: float) -> None:
        for member in members:
            member.leaving = True
        task = asyncio.create_task(self._drain(tuple(members), patience))
        self._drains[task] = tuple(members)
        task.add_done_callback(lambda done: self._drains.pop(done, None))

    async def _drain(self, members: tuple[Member, ...], patience: float) -> None:
        addresses = [address for member in members for address in member.workers]
        try:
            self._name_long_tasks(members, await self._link.call(processing, workers=addresses))
            gone = await Drain(self._link, addresses, patience).run() if addresses else frozenset()
            free = [m for m in members if set(m.workers) <= gone]
            late = [m for m in members if m not in free and self._succession.left(m) <= LAST_MOMENT]
            await self._dismiss([*free, *late])
            for member in members:
                if member not in free:
                    member.note = "holds results that no other worker can take"
            await asyncio.sleep(4 * INTERVAL)  # asked again later: the results may have been released
        except (ClusterGone, ClusterhubError) as error:
            logger.warning("a drain failed: %s", error)
        finally:
            for member in members:
                member.leaving = False
            self.wake()

    def _name_long_tasks(self, members: Sequence[Member], tasks: Mapping[str, float]) -> None:
        """A task that runs for nearly a whole walltime starts again elsewhere for ever: nobody else would tell."""
        if self._succession.walltime is None:
            return
        usable = self._succession.walltime - self._succession.lead
        for key, seconds in tasks.items():
            if seconds > TOO_LONG * usable:
                self.too_long[key] = seconds
                logger.warning("task %s has run for %.0f s, and a job has %.0f s for its tasks", key, seconds, usable)

    async def _dismiss(self, members: Iterable[Member]) -> None:
        """Have the system end these jobs. What it does not take is tried again at the next turn."""
        members = list(members)
        submitted = [m for m in members if m.array and not m.ended]
        for command in self._driver.cancel([m.id for m in submitted]):
            self._driver.cancelled(await self.commands.run(command))
        for member in submitted:
            member.dismissed = True
        self.roster.strike(m for m in members if not m.array)
        if members:
            self._pace.hurry()

    # The end

    async def end(self, patience: float) -> list[str]:
        """End every job, and return the ids of those that could not be ended within ``patience`` seconds."""
        for task in list(self._drains):
            task.cancel()
        deadline = time.monotonic() + patience
        backoff = Backoff(most=5.0)
        while left := [m for m in self.roster if not m.ended and m.array]:
            try:
                await self._dismiss([m for m in left if not m.dismissed])
                await self._list()
                left = [m for m in self.roster if not m.ended and m.array]
                if all(m.job is not None and m.job.state is JobState.ENDING for m in left):
                    return []  # told to end, and ending: a PBS takes up to 13 s over it
            except ClusterhubError as error:
                logger.warning("jobs could not be ended: %s", error)
                backoff.failed()
            if time.monotonic() > deadline:
                return [m.id for m in left]
            await asyncio.sleep(0.3 if backoff.over else 1.0)
        return []


def processing(dask_scheduler: Any, workers: Sequence[str]) -> dict[str, float]:
    """For how many seconds each task has been running on ``workers``, by key."""
    running: dict[str, float] = {}
    for address in workers:
        state = dask_scheduler.workers.get(address)
        if state is not None:
            running.update({str(task.key): float(seconds) for task, seconds in state.executing.items()})
    return running
