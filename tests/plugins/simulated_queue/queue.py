"""The queue itself: jobs that wait, start, run in-process Dask workers, and end in every way that jobs end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from distributed import Worker

from clusterhub import QueueFull, SubmitRejected
from simulated_queue.backend import Fault

JobState = Literal["Q", "R", "F"]


@dataclass
class SimulatedJob:
    """One job as the queue lists it."""

    id: str
    state: JobState = "Q"
    exit_code: int | None = None
    words: str = ""
    workers: list[Worker] = field(default_factory=list)


async def uninterrupted(start: Awaitable[Any]) -> None:
    """Let a start come to its end even when it is cancelled: a Dask server that is not let keeps its socket."""
    starting = asyncio.ensure_future(start)
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        raise


class SimulatedQueue:
    """Takes arrays of jobs, runs ``slots`` of them at a time, each ``delay`` seconds after its place is free."""

    def __init__(self, *, slots: int, limit: int, delay: float, fault: Fault) -> None:
        self.slots, self.limit, self.delay, self.fault = slots, limit, delay, fault
        self.jobs: dict[str, SimulatedJob] = {}
        self.submissions = 0
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()

    # What users of a queue can do

    def submit(self, count: int, workers: Callable[[str], list[Worker]]) -> list[str]:
        """Submit an array of ``count`` jobs in one go; their ids. ``workers`` makes a job's Dask workers, not started."""
        if self.fault == "rejects":
            raise SubmitRejected("the queue refused the job", source="qsub: Unauthorized Request: no such account")
        used = sum(job.state != "F" for job in self.jobs.values())
        if used + count > self.limit:
            raise QueueFull(limit=self.limit, used=used, source="qsub: would exceed per-user limit")
        self.submissions += 1
        number = next(self._numbers)
        ids = [f"{number}[{index}]" if count > 1 else str(number) for index in range(count)]
        for job_id in ids:
            job = self.jobs[job_id] = SimulatedJob(job_id)
            self._spawn(self._run(job, workers), self._tasks)
        return ids

    def listing(self) -> list[SimulatedJob]:
        """All jobs, ended ones included."""
        return list(self.jobs.values())

    async def cancel(self, job_id: str) -> None:
        """End a job in order."""
        # A task of the queue's own: whoever asked may be cancelled, and a Dask worker does not survive a half close.
        await asyncio.shield(self._spawn(self._end(self.jobs[job_id], 0, "cancelled"), self._ends))

    # What goes wrong

    async def kill(self, job_id: str) -> None:
        """The node dies: connections break, nobody says good-bye."""
        job = self.jobs[job_id]
        for worker in job.workers:
            worker.batched_stream.abort() if worker.batched_stream is not None else None
        await self._end(job, 271, "node failure")

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._ends)
        for job in self.jobs.values():
            await self._end(job, 0, "queue closed")

    # How it works

    def _spawn(self, coroutine: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _run(self, job: SimulatedJob, workers: Callable[[str], list[Worker]]) -> None:
        job.words = "Not Running: Insufficient amount of resource: ncpus"
        while self.fault == "holds" or self._running() >= self.slots:
            await asyncio.sleep(0.01)
        job.state = "R"  # the place is taken before the delay, which is the system's own slowness
        await asyncio.sleep(self.delay)
        if self.fault == "bad-python":
            await self._end(job, 127, "line 9: /no/such/python: No such file or directory")
        elif self.fault != "never-connects" and job.state == "R":
            job.words = ""
            job.workers = workers(job.id)
            await uninterrupted(asyncio.gather(*job.workers))

    def _running(self) -> int:
        return sum(job.state == "R" for job in self.jobs.values())

    async def _end(self, job: SimulatedJob, exit_code: int, words: str) -> None:
        if job.state == "F":
            return
        job.state, job.exit_code, job.words = "F", exit_code, words
        await asyncio.gather(*(worker.close(nanny=False) for worker in job.workers), return_exceptions=True)
