"""`BatchBackend`: what the backends of batch systems share; a system adds its driver, its options and its directives."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, Field

from clusterhub import (
    Bytes,
    ClusterSpec,
    ConfigError,
    Deployment,
    Document,
    Feature,
    Finding,
    Footprint,
    Plan,
    Ref,
    Unit,
)
from clusterhub.backend import Allocation, Backend, KeeperCommand
from clusterhub.spec import Job
from clusterhub_backends.batch.addresses import addresses_here
from clusterhub_backends.batch.commands import run, user
from clusterhub_backends.batch.driver import Driver, JobState, Submission, SystemDown
from clusterhub_backends.batch.keeper_job import SubmittedKeeper, keeper_name
from clusterhub_backends.batch.keeper_job import script as keeper_script
from clusterhub_backends.batch.names import prefix_of, submission_name
from clusterhub_backends.batch.queues import Wish
from clusterhub_backends.batch.roster import Member
from clusterhub_backends.batch.script import Shape, body, secret_variables, shape_of
from clusterhub_backends.batch.submitting import PILOTS
from clusterhub_backends.batch.summary import jobs_of, submissions, summary

O = TypeVar("O", bound=BaseModel)  # noqa: E741 - as in the contract

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]+$")]
"""What goes into a directive: one line."""
LOGS = "~/clusterhub-logs"


TENURE_PATIENCE = 5.0
"""Seconds in which the system has to say when a job ends."""


class BatchBackend(Backend[O], Generic[O]):
    """Jobs of a batch system, each with ``spec.packing.workers_per_job`` workers."""

    contract = 1
    unit_noun = "job"
    home = "process"
    features = frozenset(Feature)
    driver: ClassVar[Driver]
    queue_noun: ClassVar[str] = "queue"
    """What people call a queue there; the option of that name chooses one."""

    def unusable(self) -> str | None:
        """Why there is no batch system here: its commands are missing."""
        missing = [command for command in self.driver.commands if shutil.which(command) is None]
        if not missing:
            return None
        return f"no {', '.join(missing)} on PATH: no login node of {self.driver.system}, or a module is to be loaded"

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """This interpreter and the caller's directory for the workers, and a folder for their logs."""
        supplied = dict(super().defaults(given))
        supplied["environment"] = {"python": sys.executable, "directory": str(Path.cwd())}
        supplied["storage"] = {"logs": LOGS}
        return supplied

    def refusals(self, spec: ClusterSpec, options: O) -> Mapping[str, str]:
        """What no batch system grants."""
        reasons = {}
        if spec.worker.cores != int(spec.worker.cores):
            reasons["worker.cores"] = f"batch systems give whole cores; write {math.ceil(spec.worker.cores)}"
        return reasons

    def footprint(self, spec: ClusterSpec) -> Footprint:
        """What a job asks for, with room for what is around its workers."""
        shape = shape_of(spec)
        return Footprint(Bytes(shape.memory), Bytes(shape.memory_limit))

    def problems(self, spec: ClusterSpec, options: O) -> Iterable[Finding]:
        """What would keep jobs from starting, as far as it can be seen from here; asks the batch system."""
        from clusterhub_backends.batch.doctor import Doctor
        from clusterhub_backends.batch.surroundings import Surroundings

        yield from Doctor(self.driver, spec, self.wish(options), self.name, self.queue_noun).findings()
        yield from Surroundings(spec, self.log_folder(spec)).findings()

    def plan(self, name: str, spec: ClusterSpec, options: O) -> Plan[O]:
        """The job script as it will be submitted, but for the scheduler's port, which is not known before it listens."""
        # The folder of the logs as it is here and now: a keeper that is a job has other variables, and may have another home.
        logs = spec.storage.model_copy(update={"logs": str(self.log_folder(spec))})
        spec = _placed(spec).model_copy(update={"storage": logs})
        plain: Plan[O] = Plan(name=name, backend=self.name, spec=spec, options=options)
        scheme = "tcp" if spec.network.tls is False else "tls"
        first = submissions(jobs_of(spec), PILOTS, self.driver.largest_array)[0]
        script = self.script(plain, submission_name("0" * 8, 0), first, [f"{scheme}://SCHEDULER:PORT"])

        def command(count: int) -> str:
            return " ".join(self.driver.submit(Submission(name, count, script)).argv)

        return plain.model_copy(
            update={
                "summary": summary(spec, PILOTS, self.driver.largest_array, command),
                "documents": (Document(title="job script", text=script, language="bash"),),
            }
        )

    async def start(self, plan: Plan[O]) -> Deployment:
        """Start a scheduler here, and have the loop submit the first jobs."""
        from clusterhub_backends.batch.deployment import BatchDeployment

        folder = self._made_log_folder(plan)
        plan = _encrypted(plan, folder)
        secrets = self._secrets(plan)
        if variables := secret_variables(plan.spec):
            fd = os.open(secrets, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w") as file:
                os.fchmod(fd, 0o600)
                file.write(variables)
        return await BatchDeployment.start(
            plan,
            self.driver,
            lambda name, count, addresses: self.script(plan, name, count, addresses),
            lambda member: self._log_of(folder, member),
            secrets,
        )

    async def clean_up(self, ref: Ref, uid: str) -> Sequence[str]:
        """End the jobs that carry the cluster's uid in their names, its keeper's among them, and no others."""
        import asyncio

        listing = await asyncio.to_thread(run, self.driver.listing(user(), ()))
        ours = [job for job in self.driver.listed(listing) if job.name.startswith(prefix_of(uid))]
        ids = [job.id for job in ours if job.state is not JobState.DONE]
        for command in self.driver.cancel(ids):
            self.driver.cancelled(await asyncio.to_thread(run, command))
        return ids

    @abstractmethod
    def wish(self, options: O) -> Wish:
        """Where jobs would go, for ``check``."""

    # The keeper as a job

    def allocation(self, *, with_end: bool = False) -> Allocation | None:
        """The job that this process is part of."""
        if not (id_ := self.driver.inside(os.environ)):
            return None
        ends = None
        if with_end and (command := self.driver.tenure(id_)) is not None:
            with contextlib.suppress(SystemDown):
                ends = self.driver.ends(run(command, TENURE_PATIENCE))
        return Allocation(f"{self.driver.system} job {id_}", id_, ends)

    def keeper_document(self, plan: Plan[O], command: KeeperCommand) -> Document:
        """Its job script, exactly as it is submitted."""
        own = plan.spec.lifecycle.job
        job = Job(walltime=plan.spec.keeper_walltime[0], workers_per_job=1)
        shape = Shape(1, own.cores, int(own.memory), gpus=0, memory_limit=int(own.memory))
        options, name = self.keeper_options(plan.options, own.queue), keeper_name(plan.uid or "0" * 8)
        directives = [
            *self.directives(plan.spec.model_copy(update={"job": job}), options, name, shape, self._keeper_log(plan)),
            *self.keeper_directives,
            *self.extra_directives(options),
        ]
        text = keeper_script(plan, self.driver, directives, command)
        return Document(title="job script of the keeper", text=text, language="bash")

    async def submit_keeper(self, plan: Plan[O], command: KeeperCommand) -> str:
        """Submit it, once, and return the id of the job."""
        self._made_log_folder(plan)
        return await self._keeper_job(plan).submit(self.keeper_document(plan, command).text)

    async def keeper_unit(self, plan: Plan[O], unit: str = "") -> Unit | None:
        """What the queue says of it."""
        return await self._keeper_job(plan).unit(unit)

    async def end_keeper(self, plan: Plan[O], unit: str = "") -> None:
        """Cancel it."""
        await self._keeper_job(plan).end(unit)

    def addresses(self, address: str) -> Sequence[str]:
        """``address``, then the same port at all others of this host."""
        scheme, _, place = address.partition("://")
        port = place.rpartition(":")[2]
        return tuple(dict.fromkeys((address, *(f"{scheme}://{host}:{port}" for host in addresses_here()))))

    def _keeper_job(self, plan: Plan[O]) -> SubmittedKeeper:
        return SubmittedKeeper(self.driver, plan, self._keeper_log(plan))

    def _keeper_log(self, plan: Plan[O]) -> Path:
        return self.log_folder(plan.spec) / plan.name / f"{keeper_name(plan.uid or '0' * 8)}.log"

    keeper_directives: ClassVar[tuple[str, ...]] = ()
    """Further directives of the keeper's job: a keeper that was lost is not to be started anew by the system."""

    @abstractmethod
    def keeper_options(self, options: O, queue: str | None) -> O:
        """Of the options those that hold for the keeper's job too, which goes to ``queue``: who pays, and no hardware."""

    # The script

    def script(self, plan: Plan[O], name: str, count: int, addresses: Sequence[str]) -> str:
        """The whole script of the submission called ``name``, of ``count`` like jobs."""
        shape = shape_of(plan.spec)
        logs = self.log_folder(plan.spec) / plan.name
        log = logs / f"{name}.{self.log_index if count > 1 else 0}.log"
        directives = [*self.directives(plan.spec, plan.options, name, shape, log), *self.extra_directives(plan.options)]
        header = "\n".join(f"{self.driver.directive} {line}" for line in directives)
        return f"#!/usr/bin/env bash\n{header}\n{body(plan, self.driver, name, addresses, self._secrets(plan), logs)}"

    log_index: ClassVar[str]
    """What the system replaces by a job's index in its array, in the name of its log."""

    @abstractmethod
    def directives(self, spec: ClusterSpec, options: O, name: str, shape: Shape, log: Path) -> Iterable[str]:
        """The directives without their mark, each exactly as the system reads it; ``log`` is a pattern of paths."""

    @abstractmethod
    def extra_directives(self, options: O) -> Iterable[str]:
        """Those that the user wrote."""

    def log_folder(self, spec: ClusterSpec) -> Path:
        """The folder of all logs, expanded here and now."""
        return Path(os.path.expandvars(Path(spec.storage.logs or LOGS).expanduser())).absolute()

    def _made_log_folder(self, plan: Plan[O]) -> Path:
        """The folder of this cluster's logs. Raises ConfigError where it cannot be made."""
        folder = self.log_folder(plan.spec) / plan.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            origin = next((leaf.origin for leaf in plan.values if leaf.path == "storage.logs"), "")
            message = f"cannot be made: {error.strerror}; name a folder that this host and the nodes can write"
            raise ConfigError.of(message, origin=origin, path=f"storage.logs = {folder}") from None
        return folder

    def _secrets(self, plan: Plan[O]) -> Path:
        """Where the variables that no script may show are kept as long as the cluster lives: beside its logs."""
        return self.log_folder(plan.spec) / plan.name / ".variables"

    def _log_of(self, folder: Path, member: Member) -> Path | None:
        return folder / f"{member.key.name}.{member.key.index}.log" if member.array else None


def _encrypted(plan: Plan[O], folder: Path) -> Plan[O]:
    """With keys of its own where no keeper has made some: traffic leaves this machine."""
    if plan.tls is not None or plan.spec.network.tls is False:
        return plan
    from clusterhub.keeper.keys import make_keys

    keys = folder / f".keys-{plan.uid or plan.name}"
    keys.mkdir(mode=0o700)
    return plan.model_copy(update={"tls": make_keys(keys, plan.name)})


def _placed(spec: ClusterSpec) -> ClusterSpec:
    """With a relative directory made the caller's: the keeper and the nodes have other ones."""
    directory = spec.environment.directory
    if directory is None or directory.startswith(("/", "~", "$")):
        return spec
    environment = spec.environment.model_copy(update={"directory": str(Path.cwd() / directory)})
    return spec.model_copy(update={"environment": environment})
