"""The job that a cluster's keeper itself is (``lifecycle.host: job``): its script, its submission, what the queue says of it.

It is called as the cluster's other jobs are, and ``K`` where those have a number: an upper-case letter is no digit of one, so
that what finds the jobs of a dead cluster finds it too, and the control loop takes it for none of its own.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterhub import Failure, Plan, Unit, UnitState
from clusterhub.backend import KeeperCommand
from clusterhub_backends.batch.causes import TAIL, tail_of
from clusterhub_backends.batch.commands import CONFIGURATION, Runner, run, user
from clusterhub_backends.batch.driver import (
    Command,
    Driver,
    Ending,
    Exit,
    Job,
    JobState,
    Output,
    Rejected,
    Submission,
    SystemDown,
)
from clusterhub_backends.batch.names import prefix_of
from clusterhub_backends.batch.stages import Stage

FIND_PATIENCE = 60.0
"""Seconds in which a submission whose answer was lost is looked for; longer than servers are usually away."""
FIND_INTERVAL = 2.0
EVERYWHERE = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
"""Folders that are on every PATH."""

_ENDS = {
    Ending.WALLTIME: ("reached its walltime", "lifecycle.job.walltime", "ask for longer"),
    Ending.MEMORY: ("ran out of memory", "lifecycle.job.memory", "give it more"),
    Ending.CANCELLED: ("was cancelled from outside", "", "ask who did it, and start the cluster again"),
    Ending.NODE: ("was lost with its node", "", "start the cluster again"),
    Ending.LAUNCH: (
        "could not be started by the system",
        "storage.logs",
        "see that the folder of the logs exists and can be written on the nodes",
    ),
    Ending.UNKNOWN: ("is gone, and the system keeps no record of how", "", "see its log"),
    Ending.OK: ("ended by itself", "", "see its log"),
}
"""What became of the keeper's job, the key that decides it, and what to do."""
_STAGES = {
    Stage.DIRECTORY: (
        "cannot enter the directory that it was asked for in",
        "",
        "start the cluster from a folder that the nodes see",
    ),
    Stage.PYTHON: (
        "does not find the Python that you run on its node",
        "lifecycle.host",
        "use one on a file system that the nodes see, or write lifecycle.host: process",
    ),
    Stage.KEYS: (
        "does not find the folder of the cluster on its node",
        "",
        "set CLUSTERHUB_STATE to a folder that this host and the nodes see",
    ),
}
"""The same for the exit codes of its script, and of what that starts: see ``clusterhub.keeper.__main__``."""


def keeper_name(uid: str) -> str:
    """What the job is called."""
    return prefix_of(uid) + "K"


def script(plan: Plan[Any], driver: Driver, directives: Sequence[str], command: KeeperCommand) -> str:
    """The whole of it. Nothing of the caller's environment is in it but what the command and the system's own need."""
    header = "\n".join(f"{driver.directive} {line}" for line in directives)
    return f"#!/usr/bin/env bash\n{header}\n\n{_body(plan, driver, command)}"


def _body(plan: Plan[Any], driver: Driver, command: KeeperCommand) -> str:
    here, python = shlex.quote(str(Path.cwd())), shlex.quote(command.argv[0])
    lines = "\n".join(_surroundings(driver, command))
    return (
        textwrap.dedent(
            f"""\
            # {plan.name}: the keeper of a Dask cluster, by clusterhub
            give_up() {{ # CODE WORDS...
                local code=$1
                shift
                echo "clusterhub: $*" >&2
                exit "$code"
            }}
            echo "clusterhub: keeper as job ${{{driver.job_variable}:-?}} on $HOSTNAME at $(date -u +%FT%TZ)"
            """
        )
        + lines
        + textwrap.dedent(
            f"""
            cd -- {here} || give_up {Stage.DIRECTORY} "cannot enter "{here}
            [[ -x {python} ]] || give_up {Stage.PYTHON} "there is no "{python}" on $HOSTNAME"
            # In the place of this shell: what ends the job signals the keeper, which then ends the jobs of its workers.
            exec {shlex.join(command.argv)}
            """
        )
    )


def _surroundings(driver: Driver, command: KeeperCommand) -> Iterator[str]:
    found = {name: os.environ[name] for name in CONFIGURATION if name in os.environ}
    for name, value in {**found, **command.environment}.items():
        yield f"export {name}={shlex.quote(value)}"
    folders = [str(Path(path).parent) for name in driver.commands if (path := shutil.which(name)) is not None]
    for folder in dict.fromkeys(folders):
        if folder not in EVERYWHERE:
            yield f'export PATH="$PATH":{shlex.quote(folder)}  # the commands of {driver.system}, as found here'


@dataclass(frozen=True, slots=True)
class SubmittedKeeper:
    """The job of one keeper, wherever it may be on its way. ``plan`` may be one whose options nobody could read."""

    driver: Driver
    plan: Plan[Any]
    log: Path
    runner: Runner = run

    @property
    def name(self) -> str:
        """What it is called."""
        return keeper_name(self.plan.uid)

    # Its submission

    async def submit(self, text: str) -> str:
        """Submit the script ``text``; the id of the job. Raises Rejected, QueueFull, SystemDown."""
        submission = Submission(self.name, 1, text)
        try:
            return self.driver.submitted(submission, await self._ask(self.driver.submit(submission)))
        except SystemDown as down:
            return await self._found_again(down)
        except Rejected as rejected:
            raise self._explained(rejected) from None

    async def _found_again(self, down: SystemDown) -> str:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FIND_PATIENCE
        while True:
            try:
                job = await self._by_name()
                break
            except SystemDown:
                if loop.time() > deadline:
                    raise SystemDown(
                        f"{down}; nor did it within {FIND_PATIENCE:.0f} s say whether it took the keeper's job, {self.name}"
                    ) from None
            await asyncio.sleep(FIND_INTERVAL)
        if job is None:
            raise SystemDown(f"{down}; it did not take the keeper's job") from None
        return job.array

    def _explained(self, rejected: Rejected) -> Rejected:
        """The refusal, with the key that decides it for this job, and where that was written."""
        lifecycle = self.plan.spec.lifecycle
        key = rejected.because
        if key in ("slurm.partition", "pbs.queue") and lifecycle.job.queue is not None:
            key = "lifecycle.job.queue"
        elif key == "job.walltime":
            key = self.plan.spec.keeper_walltime[1]
        elif key == "worker" or key.startswith("worker."):
            key = key.replace("worker", "lifecycle.job", 1)
        leaf = next((leaf for leaf in self.plan.values if leaf.path == key and leaf.text != "null"), None)
        where = (
            f"\n  because  {leaf.origin}  {leaf.path} = {leaf.text}" if leaf else f"\n  because  {key}" if key else ""
        )
        meaning, _, _ = str(rejected).partition("\n")
        system = f"\n  system   {rejected.source}" if rejected.source else ""
        explained = Rejected(f"the keeper's job is refused: {meaning}{system}{where}", because=key)
        explained.source = rejected.source
        return explained

    # What the queue says

    async def unit(self, id_: str = "") -> Unit | None:
        """It as it is now; None where the system knows of no such job. Raises SystemDown."""
        job = await self._job(id_)
        return None if job is None else self._unit(job)

    async def _job(self, id_: str) -> Job | None:
        if not id_:
            brief = await self._by_name()
            if brief is None:
                return None
            id_ = brief.array
        listed = self.driver.listed(await self._ask(self.driver.listing(user(), (id_,))))
        job = next((job for job in listed if job.name == self.name), None)
        return job if job is not None and job.state is not JobState.DONE else await self._ended(id_) or job

    async def _by_name(self) -> Job | None:
        jobs = self.driver.listed(await self._ask(self.driver.listing(user(), ())))
        return next((job for job in jobs if job.name == self.name), None)

    async def _ended(self, id_: str) -> Job | None:
        """How it ended: by the first way that the system answers. Ids come again one day, names do not."""
        for command in self.driver.details([id_]):
            job = self.driver.detailed(await self._ask(command)).get(id_)
            if job is not None and job.name == self.name:
                return job
        return None

    def _unit(self, job: Job) -> Unit:
        match job.state:
            case JobState.PENDING:
                reason = job.reason or "was submitted just now"
                return Unit(job.id, UnitState.PENDING, reason, job.source, starts=job.starts, expected=0)
            case JobState.RUNNING:
                return Unit(job.id, UnitState.RUNNING, where=job.where, expected=0)
            case JobState.ENDING:
                return Unit(job.id, UnitState.RUNNING, "is ending", where=job.where, expected=0)
        failure = self._failure(job.id, job.exit or Exit(Ending.UNKNOWN))
        return Unit(
            job.id, UnitState.FAILED, failure.summary, failure.source, where=job.where, expected=0, failure=failure
        )

    def _failure(self, id_: str, end: Exit) -> Failure:
        what, because, next_step = _cause(end)
        if because == "lifecycle.job.walltime":
            because = self.plan.spec.keeper_walltime[1]
        return Failure(
            summary=f"the keeper's job {what}",
            unit=id_,
            exit_code=end.code,
            source=end.words,
            log_path=str(self.log),
            log_tail=tail_of(self.log)[-TAIL:],
            because=because,
            next_step=next_step,
        )

    # Its end

    async def end(self, id_: str = "") -> None:
        """Cancel it, whatever it does. Idempotent. Raises SystemDown, and ClusterhubError with what the system said."""
        if not id_:
            job = await self._by_name()
            if job is None or job.state is JobState.DONE:
                return
            id_ = job.array
        for command in self.driver.cancel([id_]):
            self.driver.cancelled(await self._ask(command))

    async def _ask(self, command: Command) -> Output:
        return await asyncio.to_thread(self.runner, command)


def _cause(end: Exit) -> tuple[str, str, str]:
    if end.ending is Ending.EXIT and end.code in set(_STAGES):
        return _STAGES[Stage(end.code)]
    if end.ending in _ENDS:
        return _ENDS[end.ending]
    if end.ending is Ending.SIGNAL and end.signal == 9:
        return "was killed, most likely out of memory", "lifecycle.job.memory", "give it more"
    how = f"with exit code {end.code}" if end.code is not None else f"by signal {end.signal}"
    return f"ended {how}", "", "see its log"
