"""One cluster in the simulated queue and its control loop, in small what a batch backend's is: desired, observed, act.

All of it runs on the system's own event loop, whoever asks it from whatever other.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from distributed import Scheduler, Worker

from clusterhub import (
    ClusterGone,
    Failure,
    Plan,
    QueueFull,
    Ref,
    Sighting,
    SubmitRejected,
    Unit,
    UnitState,
    Workers,
)
from clusterhub.parts import Adaptation, Drain, SchedulerLink
from simulated_queue.queue import SimulatedJob, SimulatedQueue, uninterrupted

LIKE_FAILURES = 3
_NUMBERS = itertools.count(1)


class SimulatedCluster:
    """A cluster as its system has it, with whoever holds it."""

    def __init__(self, plan: Plan[Any], scheduler: Scheduler) -> None:
        options = plan.options
        self.plan = plan
        self.id = f"sim.{next(_NUMBERS):06d}"
        self.started = datetime.now(UTC)
        self.kept = plan.kept
        self.holders: set[object] = set()
        self.scheduler = scheduler
        self.queue = SimulatedQueue(slots=options.slots, limit=options.limit, delay=options.delay, fault=options.fault)
        self.link = SchedulerLink(scheduler.address, None)
        self._adaptation = Adaptation(plan.spec.workers)
        self._wanted = plan.spec.workers.minimum
        self._ours: dict[str, datetime] = {}
        self._came: set[str] = set()
        self._leaving: set[str] = set()
        self._closed = False
        self._full: QueueFull | None = None
        self._failure: Failure | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, plan: Plan[Any]) -> SimulatedCluster:
        """Scheduler first, then the loop."""
        scheduler = Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")
        try:
            await uninterrupted(scheduler.start())
        except asyncio.CancelledError:
            await scheduler.close()
            raise
        cluster = cls(plan, scheduler)
        cluster._spawn(cluster._loop())
        return cluster

    @property
    def ref(self) -> Ref:
        """By its number: two sites may have clusters of one name."""
        return Ref(backend="simulated", name=self.plan.name, data={"id": self.id})

    @property
    def sighting(self) -> Sighting:
        """What the system tells of it."""
        return Sighting(
            self.ref,
            profile=self.plan.profile,
            reason="" if self.plan.profile else "made without clusterhub",
            kept=self.kept,
            target=self.target,
            connected=len(self.scheduler.workers),
            created=self.started,
            where=f"site {self.plan.options.site}",
            own_name=self.id,
        )

    @property
    def target(self) -> Workers:
        """How many workers were asked for last."""
        return self._adaptation.limits

    @property
    def closed(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._closed

    @property
    def scheduler_address(self) -> str:
        """A TCP address on loopback."""
        return str(self.scheduler.address)

    async def scale(self, n: int) -> None:
        """Set the target."""
        self._aim(Workers.exactly(n), n)

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """Both, of one moment."""
        return await self.units(), await self.failure()

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Set the range."""
        self._aim(Workers(minimum=minimum, maximum=maximum), max(minimum, min(self._wanted, maximum)))

    def _aim(self, limits: Workers, wanted: int) -> None:
        self._alive()
        self._adaptation, self._wanted, self._failure = Adaptation(limits), wanted, None

    async def units(self) -> Sequence[Unit]:
        """Our jobs, and those that a full queue does not take yet."""
        self._alive()
        units = [self._unit(job) for job in self.queue.listing() if job.id in self._ours]
        if self._full is not None:
            waiting = self._jobs_wanted() - len(self._living())
            words = str(self._full)
            units += [Unit(f"+{i}", UnitState.SUBMITTING, words, self._full.source) for i in range(1, waiting + 1)]
        return units

    async def failure(self) -> Failure | None:
        """Why nothing more is submitted."""
        self._alive()
        return self._failure

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The scheduler's log, and each job's."""
        self._alive()
        texts = {"scheduler": (await self.link.logs())["scheduler"]}
        texts |= {job.id: job.words or "running" for job in self.queue.listing()}
        return texts if unit is None else {unit: texts[unit]}

    async def end(self) -> None:
        """End all jobs and the scheduler."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.close()
        await self.queue.close()
        await self.scheduler.close()

    def _alive(self) -> None:
        if self._closed:
            raise ClusterGone(f"cluster {self.plan.name} has been closed")

    # The loop

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _loop(self) -> None:
        while True:
            if self._adaptation.limits.adapts:
                recommended = await self.link.adaptive_target(1.0)
                self._wanted = self._adaptation.decide(recommended, self._wanted)
            self._notice()
            await self._act()
            await asyncio.sleep(0.05)

    @property
    def _per_job(self) -> int:
        return self.plan.spec.packing.workers_per_job

    def _jobs_wanted(self) -> int:
        return math.ceil(self._wanted / self._per_job)

    def _living(self) -> list[SimulatedJob]:
        jobs = [self.queue.jobs[job_id] for job_id in self._ours]
        return [job for job in jobs if job.state != "F" and job.id not in self._leaving]

    def _notice(self) -> None:
        """Which jobs have brought their workers, and whether the same failure came too often."""
        for job in self._living():
            if len(self._addresses(job)) == self._per_job:
                self._came.add(job.id)
        bad = [job for job in self.queue.listing() if job.id in self._ours and job.exit_code == 127]
        if len(bad) >= LIKE_FAILURES and not self._came and self._failure is None:
            self._failure = _failure_of(bad[-1], len(bad))

    async def _act(self) -> None:
        missing = self._jobs_wanted() - len(self._living())
        if missing > 0 and self._failure is None:
            self._submit(missing)
        elif missing < 0:
            await self._shrink(-missing)

    def _submit(self, missing: int) -> None:
        try:
            try:
                ids = self.queue.submit(missing, self._workers)
            except QueueFull as full:
                room = full.limit - full.used
                ids = self.queue.submit(room, self._workers) if room > 0 else []
                self._full = full
            else:
                self._full = None
        except SubmitRejected as error:
            self._failure = Failure(summary=str(error.args[0]).splitlines()[0], source=error.source)
            return
        now = datetime.now(UTC)
        # A job that is replaced is no longer told of: what counts is that its place is taken again.
        replaced = [i for i in self._ours if self.queue.jobs[i].state == "F" and self.queue.jobs[i].exit_code == 271]
        for job_id in replaced[: len(ids)]:
            del self._ours[job_id]
        self._ours |= dict.fromkeys(ids, now)

    def _workers(self, job_id: str) -> list[Worker]:
        shape = self.plan.spec.worker
        return [
            Worker(
                self.scheduler_address,
                nthreads=shape.nthreads,
                name=f"{job_id}-{index}",
                memory_limit=int(shape.memory),
                dashboard=False,
                host="127.0.0.1",
            )
            for index in range(self._per_job)
        ]

    async def _shrink(self, surplus: int) -> None:
        pending = [job for job in self._living() if job.state == "Q"][:surplus]
        for job in pending:
            await self._retire(job)
        for job in self._by_load()[: surplus - len(pending)]:
            self._leaving.add(job.id)
            self._spawn(self._drain(job))

    def _by_load(self) -> list[SimulatedJob]:
        """Running jobs, those with the least to do first."""

        def load(job: SimulatedJob) -> tuple[int, int]:
            states = [self.scheduler.workers[address] for address in self._addresses(job)]
            return sum(len(state.processing) for state in states), sum(state.nbytes for state in states)

        return sorted((job for job in self._living() if job.state == "R"), key=load)

    async def _drain(self, job: SimulatedJob) -> None:
        addresses = self._addresses(job)
        try:
            gone = await Drain(self.link, addresses, patience=10.0).run() if addresses else frozenset()
            if set(addresses) <= gone:
                await self._retire(job)
            else:
                await asyncio.sleep(0.5)
        finally:
            self._leaving.discard(job.id)

    async def _retire(self, job: SimulatedJob) -> None:
        self._ours.pop(job.id, None)
        await self.queue.cancel(job.id)

    def _addresses(self, job: SimulatedJob) -> list[str]:
        known = self.scheduler.workers
        return [worker.address for worker in job.workers if worker.status.name == "running" and worker.address in known]

    # What is told of a job

    def _unit(self, job: SimulatedJob) -> Unit:
        addresses = tuple(self._addresses(job))
        state, reason = self._state(job, len(addresses))
        starts = datetime.now(UTC) + timedelta(minutes=5) if state is UnitState.PENDING else None
        failure = _failure_of(job, 1) if state is UnitState.FAILED else None
        return Unit(
            job.id, state, reason, job.words, since=self._ours[job.id], where="node-1" if job.state == "R" else "",
            workers=addresses, expected=self._per_job, starts=starts, failure=failure,
        )  # fmt: skip

    def _state(self, job: SimulatedJob, connected: int) -> tuple[UnitState, str]:
        if job.state == "Q":
            return UnitState.PENDING, "needs a free place; all are taken"
        if job.state == "F":
            lost = job.id in self._came
            return (UnitState.LOST, "its node failed") if lost else (UnitState.FAILED, "its python does not exist")
        if connected == self._per_job:
            return UnitState.CONNECTED, ""
        if job.id in self._came:
            return UnitState.LOST, "runs, but its workers are gone"
        age = (datetime.now(UTC) - self._ours[job.id]).total_seconds()
        if age > self.plan.options.startup_timeout:
            return UnitState.MISSING, "runs, but its workers never came"
        return UnitState.RUNNING, ""


def _failure_of(job: SimulatedJob, count: int) -> Failure:
    return Failure(
        summary="their python does not exist",
        unit=job.id,
        exit_code=job.exit_code,
        log_tail=(job.words,),
        because="environment.python",
        next_step="correct it, or see every step with: clusterhub check --start",
        count=count,
    )
