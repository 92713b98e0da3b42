"""The control loop alone, on a queue that is simulated: what it uses of a core with a thousand jobs.

``python -m benchmarks.turning STATE PAIRS`` measures one state of the jobs, in a process that does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .measuring import Figure, Unit

JOBS = 1000
STATES = ("connected", "pending", "adapting")
SETTLED = 120.0
"""Seconds in which all jobs are submitted, and seen."""
CALM = 75.0
"""Seconds after which the queue is looked at as rarely as it ever is, when nothing has changed."""
WITH, WITHOUT = 30.0, 15.0
"""Seconds that are measured with the loop turning, and with the scheduler alone."""
TURNS = 10
BARE = ("#!/usr/bin/env bash", "#SBATCH --job-name={name}")

TURNING = f"""The share of a core that the control loop uses at {JOBS} jobs of one worker, once all is calm: `connected` when
all run and their workers are there, `pending` when all wait, `adapting` when they are connected and the target follows the
load. A real loop with SLURM's driver, beside a real scheduler; its commands are answered within the process, its workers are
entries in the scheduler and send nothing. So what is left out is the CPU of the commands, of heartbeats, and of the keeper's
own records. Held against the same process with the loop at rest, since a scheduler uses CPU by itself; {WITH:.0f} s of the
one, {WITHOUT:.0f} s of the other in turn. The lines `one turn`: CPU of one step, back to back; it is
taken every two seconds, and whenever there is news."""


def turning(pairs: int) -> list[Figure]:
    """All states at once: each has a process of its own that is nearly idle."""
    argv = [sys.executable, "-m", "benchmarks.turning"]
    root, quiet = Path(__file__).parents[1], {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"}
    measured = {
        state: subprocess.Popen([*argv, state, str(pairs)], cwd=root, env=quiet, stdout=subprocess.PIPE, text=True)
        for state in STATES
    }
    figures, turns = [], []
    for state, process in measured.items():
        answer, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the loop could not be measured while {state}: exit code {process.returncode}")
        seen = json.loads(answer)
        share = Figure(f"loop: {state}", tuple(seen["with"]), tuple(seen["without"]), most=0.01, unit=Unit.SHARE)
        figures.append(share)
        turns.append(Figure(f"loop: one turn, {state}", tuple(seen["turns"])))
    return [*figures, *turns]


class SimulatedQueue:
    """Answers as SLURM's commands do, for jobs that all wait or all run."""

    def __init__(self) -> None:
        self.running = False
        self.arrays: dict[int, tuple[str, int]] = {}
        """The name and the number of jobs of each submission."""
        self.unknown: list[str] = []
        """Commands that it does not know: what is measured would not be calm weather."""
        self._text: str | None = None

    @property
    def jobs(self) -> int:
        """How many were submitted."""
        return sum(count for _, count in self.arrays.values())

    def run_all(self) -> None:
        """From now on all run."""
        self.running, self._text = True, None

    def __call__(self, command: Any) -> Any:
        """What ``command`` leaves. Known is what the loop needs while no job ends."""
        from clusterhub_backends.batch.driver import Output

        program, *arguments = command.argv
        if program == "sbatch":
            return Output(0, f"{self._submit(command.stdin, arguments)}\n", "")
        if program == "squeue" and "--array" in arguments:
            return Output(0, self._listing(arguments[arguments.index("--format") + 1]), "")
        if [program, *arguments[:1]] == ["scontrol", "update"]:
            return Output(0, "", "")  # of how many run at a time: all the same here
        self.unknown.append(" ".join(command.argv)[:100])
        return Output(1, "", f"{program}: not simulated")

    def _submit(self, script: str, arguments: list[str]) -> int:
        name = re.search(r"--job-name=(\S+)", script)
        assert name is not None
        ranges = [re.fullmatch(r"--array=0-(\d+)(?:%\d+)?", argument) for argument in arguments]
        count = next((int(found[1]) + 1 for found in ranges if found), 1)
        number = 1 + self.jobs  # each member of an array takes a number of its own
        self.arrays[number] = (name[1], count)
        self._text = None
        return number

    def _listing(self, form: str) -> str:
        """Made once: it is SLURM's work and not the loop's."""
        if self._text is None:
            line = re.sub(r"%(\w)", r"{\1}", form) + "\n"
            self._text = "".join(line.format(**fields) for fields in self._fields())
        return self._text

    def _fields(self) -> Iterator[dict[str, str]]:
        """Of each job, by squeue's letters."""
        state, why = ("RUNNING", "None") if self.running else ("PENDING", "Resources")
        alike = {"T": state, "r": why, "N": "n1", "S": "1700000000", "l": "UNLIMITED"}
        for array, (name, count) in self.arrays.items():
            single = {"i": f"{array}", "F": f"{array}", "K": "N/A", "j": name, **alike}
            for index in range(count):
                yield single if count == 1 else {**single, "i": f"{array}_{index}", "K": f"{index}"}


def enlist(scheduler: Any, queue: SimulatedQueue) -> None:
    """Make entries in ``scheduler`` of the workers of all jobs, as if they had come."""
    from distributed.core import Status
    from distributed.scheduler import WorkerState

    for name, count in queue.arrays.values():
        for index in range(count):
            alias, number = f"{name}-{index}-r0", len(scheduler.workers)
            if alias in scheduler.aliases:
                continue
            address = f"tcp://10.{number // 250}.0.{number % 250 + 1}:4000"
            worker = WorkerState(
                address=address, status=Status.running, pid=1, name=alias, nthreads=1, memory_limit=2**29,
                local_directory="/tmp", nanny=None, server_id=alias, scheduler=scheduler,
            )  # fmt: skip
            worker.metrics = {
                "memory": 2**27, "managed_bytes": 0, "spilled_bytes": {"memory": 0, "disk": 0}, "cpu": 1.0, "num_fds": 20,
                "task_counts": {}, "transfer": {"incoming_bytes": 0, "outgoing_bytes": 0}, "event_loop_interval": 0.02,
            }  # fmt: skip
            worker.last_seen = time.time() + 86400  # nobody is to miss their heartbeats
            scheduler.workers[address], scheduler.aliases[alias] = worker, address
            scheduler.running.add(worker)


async def measure(state: str, pairs: int) -> dict[str, list[float]]:
    """Shares of a core with the loop and without, in turn, and the seconds of CPU of single turns."""
    from distributed import Scheduler

    queue = SimulatedQueue()
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0") as scheduler:
        loop = _loop(state, queue, scheduler)
        task = asyncio.create_task(loop.run())
        await _settled(state, queue, scheduler, loop)
        await asyncio.sleep(CALM)
        seen: dict[str, list[float]] = {"with": [], "without": [], "turns": []}
        for _ in range(pairs):
            seen["with"].append(await _share(WITH))
            task.cancel()
            await asyncio.wait([task])
            seen["without"].append(await _share(WITHOUT))
            task = asyncio.create_task(loop.run())
        task.cancel()
        await asyncio.wait([task])
        for _ in range(TURNS):
            began = time.process_time()
            await loop.turn()
            seen["turns"].append(time.process_time() - began)
    if queue.unknown:
        raise RuntimeError(f"not simulated: {queue.unknown}")
    return seen


def _loop(state: str, queue: SimulatedQueue, scheduler: Any) -> Any:
    import clusterhub
    from clusterhub.parts import SchedulerLink
    from clusterhub_backends.batch.commands import Commands
    from clusterhub_backends.batch.loop import Loop
    from clusterhub_backends.slurm.driver import SlurmDriver

    workers: Any = {"minimum": JOBS, "maximum": 2 * JOBS} if state == "adapting" else JOBS
    plan = clusterhub.plan("slurm", workers=workers, worker={"cores": 1, "memory": "512 MiB"})
    return Loop(
        plan.model_copy(update={"uid": "0123456789abcdef"}),
        SlurmDriver(),
        SchedulerLink(scheduler.address, None, own=scheduler),
        lambda name, count: "\n".join(BARE).format(name=name),
        lambda member: None,
        Commands(queue),
    )


async def _settled(state: str, queue: SimulatedQueue, scheduler: Any, loop: Any) -> None:
    """Return when all jobs are there, and, but for the pending, their workers."""
    deadline = time.monotonic() + SETTLED
    while queue.jobs < JOBS or (state != "pending" and loop.roster.connected < JOBS):
        if queue.unknown or time.monotonic() > deadline:
            raise RuntimeError(f"{queue.jobs} jobs, {loop.roster.connected} connected; not simulated: {queue.unknown}")
        await asyncio.sleep(0.2)
        if state != "pending":
            queue.run_all()
            enlist(scheduler, queue)


async def _share(seconds: float) -> float:
    """The share of a core that this process used while so many seconds passed."""
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.monotonic() - began)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
