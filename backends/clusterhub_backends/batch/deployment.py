"""`BatchDeployment`: a scheduler in this process, and jobs of a batch system that the control loop keeps in line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterhub import ClusterGone, Failure, LeftBehind, Plan, Ref, Unit, UnitState, Workers
from clusterhub.display.words import counted
from clusterhub.parts import Idleness, SchedulerLink, dashboard, scheduler_class
from clusterhub_backends.batch.addresses import addresses_here
from clusterhub_backends.batch.causes import tail_of
from clusterhub_backends.batch.commands import Commands
from clusterhub_backends.batch.driver import Driver
from clusterhub_backends.batch.loop import Loop
from clusterhub_backends.batch.roster import Member

if TYPE_CHECKING:
    from distributed import Scheduler, Security

logger = logging.getLogger(__name__)

DRAW_AFTER = 3.0
"""Seconds after which the dashboard is served, whether or not any worker has come."""

CLOSE_PATIENCE = 45.0
"""Seconds in which the batch system has to take the end of all jobs; longer than its servers are usually away."""


class BatchDeployment:
    """One living cluster on a batch system; made by :meth:`start`."""

    native = None
    dashboard_link = ""

    def __init__(self, plan: Plan[Any], scheduler: Scheduler, loop: Loop, link: SchedulerLink, secrets: Path) -> None:
        self._plan = plan
        self._secrets = secrets
        self.scheduler = scheduler
        self._loop = loop
        self._link = link
        self._security = plan.tls.security() if plan.tls is not None else None
        self._idleness = Idleness()
        self._began = time.monotonic()
        self._gone = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        plan: Plan[Any],
        driver: Driver,
        script: Callable[[str, int, Sequence[str]], str],
        log_of: Callable[[Member], Path | None],
        secrets: Path,
    ) -> BatchDeployment:
        """Start the scheduler, and the loop that submits the first jobs. ``script`` makes one of name, number, addresses.

        ``secrets`` is a file that jobs read, and that is gone when they are.
        """
        _quieten(all_news=bool(plan.dashboard_prefix))
        scheduler = await _scheduler(plan)
        try:
            addresses = _offered(plan, scheduler)
            security = plan.tls.security() if plan.tls is not None else None
            link = SchedulerLink(scheduler.address, security, own=scheduler)
            loop = Loop(
                plan,
                driver,
                link,
                lambda name, count: script(name, count, addresses),
                log_of,
                Commands(),
            )
            deployment = cls(plan, scheduler, loop, link, secrets)
        except BaseException:
            await scheduler.close()
            raise
        deployment.dashboard_link = "http://127.0.0.1/" if plan.dashboard_prefix and dashboard.can_be_served() else ""
        deployment._tasks = [
            asyncio.create_task(loop.run(), name=f"clusterhub-loop-{plan.name}"),
            asyncio.create_task(deployment._watch_its_end(), name=f"clusterhub-end-{plan.name}"),
            asyncio.create_task(deployment._draw(), name=f"clusterhub-dashboard-{plan.name}"),
        ]
        return deployment

    @property
    def ref(self) -> Ref:
        """What is needed to find its jobs again."""
        return Ref(backend=self._plan.backend, name=self._plan.name, data={"uid": self._plan.uid})

    @property
    def scheduler_address(self) -> str:
        """The address for clients on this host, and for those who reach it."""
        return str(self.scheduler.address)

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in."""
        return self._security

    # What it is told

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target, and stop adapting."""
        self._raise_if_gone()
        self._loop.aim(Workers.exactly(n))

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load."""
        self._raise_if_gone()
        self._loop.aim(Workers(minimum=minimum, maximum=maximum))

    # What it tells

    async def units(self) -> Sequence[Unit]:
        """Every job that is wanted, is there, or ended badly and is not yet made good."""
        self._raise_if_gone()
        roster = self._loop.roster
        roster.see_workers(await self._link.names())
        roster.judge()
        known = [member.unit() for member in roster if member.state is not UnitState.DONE]
        return [*known, *self._unborn(len(roster.living))]

    def _unborn(self, living: int) -> list[Unit]:
        """Jobs that are wanted and could not be submitted yet, each with why."""
        missing = self._loop.jobs_wanted - living
        if missing <= 0 or self._loop.failure is not None:
            return []
        reason, source = self._loop.why_unborn
        per_job = self._plan.spec.packing.workers_per_job
        return [Unit(f"+{i}", UnitState.SUBMITTING, reason, source, expected=per_job) for i in range(1, missing + 1)]

    async def failure(self) -> Failure | None:
        """Why nothing more is launched; None while all goes well."""
        self._raise_if_gone()
        return self._loop.failure

    async def remarks(self) -> Sequence[str]:
        """Tasks that no job is long enough for, and what keeps the batch system from being heard or obeyed."""
        self._raise_if_gone()
        return self._loop.remarks

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The scheduler's log, and the last lines of each job's."""
        self._raise_if_gone()
        if unit == "scheduler":
            return {"scheduler": (await self._link.logs())["scheduler"]}
        texts = {}
        for member in self._loop.roster:
            if unit in (None, member.id):
                texts[member.id] = await asyncio.to_thread(self._log, member)
        if unit is not None:
            return {unit: texts[unit]}
        return {"scheduler": (await self._link.logs())["scheduler"], **texts}

    def _log(self, member: Member) -> str:
        path = self._loop.log_of(member)
        if path is None:
            return "no log: it has not been submitted"
        return "\n".join(tail_of(path)) or f"nothing yet in {path}"

    # Its end

    async def close(self, *, shutdown: bool = True) -> None:
        """End every job and the scheduler. Raises LeftBehind naming the jobs that could not be ended, and tries again when it is
        called again. Idempotent once all have ended."""
        if self._closing is None or (self._closing.done() and self._closing.exception() is not None):
            self._closing = asyncio.create_task(self._close(), name=f"clusterhub-close-{self._plan.name}")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._gone = self._gone or "it has been closed"
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.wait(self._tasks)
        left = await self._loop.end(CLOSE_PATIENCE)
        await self._link.close()
        await self.scheduler.close()
        self._forget_secrets()
        if left:
            raise LeftBehind(left, counted(len(left), "job"))

    def _forget_secrets(self) -> None:
        """Nobody needs them any more; a keeper's own keys go with its record."""
        self._secrets.unlink(missing_ok=True)
        if self._plan.tls is not None and (keys := Path(self._plan.tls.key).parent).parent == self._secrets.parent:
            shutil.rmtree(keys, ignore_errors=True)

    async def _draw(self) -> None:
        """Serve the dashboard, once the first jobs are on their way: nobody looks at it before."""
        if not dashboard.can_be_served():
            return
        deadline = time.monotonic() + DRAW_AFTER
        while not self._loop.any_came and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        await dashboard.serve(self.scheduler)

    async def _watch_its_end(self) -> None:
        lifecycle = self._plan.spec.lifecycle
        while True:
            await asyncio.sleep(1.0)
            with contextlib.suppress(ClusterGone):
                if lifecycle.max_age != "never" and time.monotonic() - self._began > lifecycle.max_age:
                    self._gone = f"it reached its age of {lifecycle.max_age} (lifecycle.max_age)"
                elif lifecycle.idle_timeout != "never":
                    awaited = self._loop.wanted > 0 and not self._loop.any_came and self._loop.failure is None
                    idle = self._idleness.seconds(await self._link.idle_since(), awaited=awaited)
                    if idle > lifecycle.idle_timeout:
                        self._gone = f"nothing was processing for {lifecycle.idle_timeout} (lifecycle.idle_timeout)"
            if self._gone:
                # By a task of its own: closing waits for this one.
                self._ended = asyncio.ensure_future(self.close())
                return

    def _raise_if_gone(self) -> None:
        if self._gone:
            raise ClusterGone(f"cluster {self._plan.name} is gone: {self._gone}")


def _quieten(*, all_news: bool) -> None:
    """Leave out of the logs what is no news: jobs that try whether they reach us, and hang up.

    In a process that is not a keeper the scheduler tells its warnings only, as LocalCluster has it: people read there.
    """
    logging.getLogger("distributed.comm.tcp").addFilter(_is_no_probe)
    if not all_news:
        for handler in logging.getLogger("distributed").handlers:
            handler.setLevel(logging.WARNING)


def _is_no_probe(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "TLS handshake failed" not in text or "EOF occurred" not in text


async def _scheduler(plan: Plan[Any]) -> Scheduler:
    interface = plan.spec.network.interface
    where: dict[str, Any] = {"host": "0.0.0.0"} if interface == "auto" else {"interface": interface}
    scheduler = scheduler_class(plan)(
        **where,
        port=0,
        protocol="tls" if plan.tls is not None else "tcp",
        security=plan.tls.security() if plan.tls is not None else None,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler.start()
    except BaseException:
        await scheduler.close()
        raise
    return scheduler


def _offered(plan: Plan[Any], scheduler: Scheduler) -> tuple[str, ...]:
    """The scheduler's addresses that a job tries: all of this host's, or that of the interface which the profile names."""
    address = str(scheduler.address)
    if plan.spec.network.interface != "auto":
        return (address,)
    scheme, _, place = address.partition("://")
    port = place.rpartition(":")[2]
    return tuple(f"{scheme}://{host}:{port}" for host in addresses_here())
