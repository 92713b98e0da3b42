"""`RemoteDeployment`: the ``Deployment`` protocol, spoken to a keeper through its scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from clusterhub._dask.dashboard import relinked
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.backend import CONTRACT, Plan, Ref, Unit
from clusterhub.errors import ClusterGone, ClusterhubError, Failure
from clusterhub.keeper.asking import job_fate
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.lifeline import CREATOR
from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store
from clusterhub.keeper.serving import HANDLER
from clusterhub.keeper.wire import error_from, failure_from, plan_from, units_from
from clusterhub.spec import Workers

if TYPE_CHECKING:
    from distributed import Security

    from clusterhub.keeper.launch import Launch
    from clusterhub.keeper.submission import JobLaunch

PATIENCE = 10.0
"""Seconds in which a keeper answers, even a busy one; then it is found out why it does not."""
END_PATIENCE = 150.0
"""Seconds that a keeper may take to end everything: a batch system holds deleted jobs for a while."""
LEFT_LOOK = 0.5
"""Seconds between two looks at whether a keeper says that it could not end everything."""
DEATH_LOOK = 0.5
"""Seconds after which an answer that has not come makes us look whether the keeper still lives."""
DYING = 1.0
"""Seconds that a process may take from its last connection to its end, on a busy machine."""
RENEW = 20.0
"""Seconds between two signs of life to a keeper on another host."""


class RemoteDeployment:
    """A living cluster in a keeper. Raises ClusterGone where it has ended, and says whether it is known to."""

    native = None

    def __init__(self, record: Record, store: Store, launch: Launch | JobLaunch | None = None) -> None:
        self._record = record
        self._store = store
        self._launch = launch
        self._plan = plan_from(record.plan)
        self._security = self._plan.tls.security() if self._plan.tls is not None else None
        self._link = SchedulerLink(record.address, self._security, patience=PATIENCE)
        self._target = self._plan.spec.workers
        self._kept = record.kept
        self._remarks: tuple[str, ...] = ()
        self._token = CREATOR if launch is not None else uuid4().hex
        self._holds = launch is not None
        self._piped = launch is not None and launch.pipe
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def of(cls, record: Record, store: Store, launch: Launch | JobLaunch | None = None) -> Self:
        """The deployment behind ``record``, after its keeper has answered. Raises ClusterGone where it does not."""
        deployment = cls(record, store, launch)
        try:
            hello = await deployment._call("hello")
            if launch is not None and not launch.pipe:
                await deployment.hold()  # no pipe tells that we live: it has to hear of us
        except BaseException:
            await deployment._link.close()
            raise
        deployment._target = Workers(**hello["target"])
        deployment._kept = hello["kept"]
        return deployment

    # What it is

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from, secrets hidden."""
        return self._plan

    @property
    def target(self) -> Workers:
        """How many workers were asked for last, by whomever, as last heard."""
        return self._target

    @property
    def started(self) -> datetime:
        """When it was started."""
        return self._record.created

    @property
    def named(self) -> bool:
        """Whether somebody chose its name."""
        return self._record.named

    @property
    def kept(self) -> bool:
        """Whether it outlives its creators, as last heard."""
        return self._kept

    @property
    def ref(self) -> Ref:
        """Where to find it again, beneath its keeper."""
        return Ref.model_validate(self._record.ref)

    @property
    def scheduler_address(self) -> str:
        """The address that clients connect to."""
        return self._record.address

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in."""
        return self._security

    @property
    def dashboard_link(self) -> str:
        """A link to the dashboard that opens from here."""
        return relinked(self._record.dashboard)

    @property
    def host(self) -> str:
        """The host that its keeper runs on."""
        return self._record.keeper.host if self._record.keeper is not None else ""

    # The protocol

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target, and stop adapting."""
        await self._call("scale", n=n)
        self._target = Workers.exactly(n)

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load between ``minimum`` and ``maximum``."""
        await self._call("adapt", minimum=minimum, maximum=maximum)
        self._target = Workers(minimum=minimum, maximum=maximum)

    async def units(self) -> Sequence[Unit]:
        """The units as the keeper observes them now."""
        return (await self.observe())[0]

    async def failure(self) -> Failure | None:
        """Why nothing more is launched, or None."""
        return (await self.observe())[1]

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """Both in one question, so that they are of one moment."""
        seen = await self._call("observe")
        self._target, self._kept = Workers(**seen["target"]), seen["kept"]
        self._remarks = tuple(seen["remarks"])
        return units_from(seen["units"]), failure_from(seen["failure"])

    async def remarks(self) -> Sequence[str]:
        """What the keeper had to tell besides, as last observed."""
        return self._remarks

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The logs by name, the keeper's own among them. KeyError for an unknown one."""
        texts: Mapping[str, str] = await self._call("logs", unit=unit)
        return texts

    async def close(self, *, shutdown: bool = True) -> None:
        """End the cluster and return when all of it has ended; without ``shutdown`` only let go of it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if shutdown:
                with contextlib.suppress(ClusterGone):  # gone already is as good
                    await self._call("shutdown", reason="it was shut down")
                await self._until_it_is_gone()
            elif self._holds and not self._piped:
                with contextlib.suppress(ClusterGone):
                    await self._call("leave", **self._holder)
        finally:
            await self._let_go()

    async def keep(self) -> None:
        """From now on it ends only when it is told to, or by its idle timeout or age."""
        await self._call("keep")
        self._kept = True

    async def tell_address(self, address: str) -> None:
        """It is reached there from this host, rather than where it thought."""
        await self._call("reached", address=address)

    async def hold(self) -> None:
        """From now on this process holds it, as its creator did: it ends, or lingers, when all who hold it have ended."""
        if not await self._call("hold", **self._holder):
            raise ClusterhubError(f"the keeper of {self._plan.name} does not see this process ({os.getpid()})")
        self._holds = True
        if self._renewing is None and self._record.keeper is not None and self._record.keeper.life() is Life.UNKNOWN:
            self._renewing = asyncio.create_task(self._renew(), name=f"clusterhub-hold-{self._plan.name}")

    async def release(self) -> bool:
        """This process needs it no more: it ends, unless it is kept or others hold it. Whether it did, once it has."""
        if self._closed:
            return False
        self._closed = True
        ends = True
        try:
            with contextlib.suppress(ClusterGone):
                ends = await self._call("release", **self._holder)
            if ends:
                await self._until_it_is_gone()
        finally:
            await self._let_go()
        return ends

    @property
    def _holder(self) -> dict[str, Any]:
        return {"holder": Process.this().model_dump(), "token": self._token}

    async def _let_go(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        if self._launch is not None:
            self._launch.let_go()
        await self._link.close()

    async def _renew(self) -> None:
        """Another host cannot watch this process, so it is told that we live."""
        while True:
            await asyncio.sleep(RENEW)
            with contextlib.suppress(ClusterhubError):
                await self._call("hold", **self._holder)

    # The line

    async def _call(self, do: str, **arguments: Any) -> Any:
        """The keeper's answer. Raises what it raised; or ClusterGone, with what became of the keeper."""
        call = {"do": do, "contract": CONTRACT, "user": os.geteuid(), "with": arguments}
        try:
            answer = await self._answered(self._link.ask(HANDLER, call=call))
        except ClusterGone as gone:
            await self._seen_to_die()
            raise await asyncio.to_thread(self._explained, gone) from gone
        if "error" in answer:
            raise error_from(answer["error"])
        return answer["value"]

    async def _answered(self, question: Coroutine[Any, Any, Any]) -> Any:
        """What comes of ``question``; given up as soon as the keeper is seen to be dead, where Dask would try on for long."""
        asking = asyncio.ensure_future(question)
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=DEATH_LOOK)
                if not asking.done() and await asyncio.to_thread(self._is_dead):
                    raise ClusterGone(f"the scheduler at {self.scheduler_address} is gone")
            return asking.result()
        finally:
            asking.cancel()

    async def _seen_to_die(self) -> None:
        """Return when the keeper does not live, or after a moment: who is killed loses its connections first, then its life."""
        keeper, deadline = self._record.keeper, time.monotonic() + DYING
        while keeper is not None and await asyncio.to_thread(keeper.life) is Life.ALIVE and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    def _is_dead(self) -> bool:
        return self._record.keeper is not None and self._record.keeper.life() is Life.DEAD

    def _explained(self, gone: ClusterGone) -> ClusterGone:
        """Why the keeper does not answer: it has ended, was killed, is stopped, or is only slow."""
        name, keeper = self._plan.name, self._record.keeper
        for ended in self._store.ended(name):
            if ended.uid == self._plan.uid and ended.end is not None:
                return ClusterGone(f"cluster {name} has ended: {ended.end.reason}")
        if keeper is None:
            return gone
        log = self._store.folder(name) / "keeper.log"
        life = keeper.life()
        if life is Life.DEAD:
            return ClusterGone(
                f"cluster {name} is gone: its keeper, process {keeper.pid} on {keeper.host}, died without a word;"
                f" see {log}, and clusterhub gc removes what is left"
            )
        if life is Life.STOPPED:
            return ClusterGone(
                f"the keeper of {name}, process {keeper.pid} on {keeper.host}, is stopped by a signal and answers nobody;"
                f" kill -CONT {keeper.pid} lets it go on",
                final=False,
            )
        if life is Life.ALIVE:
            return ClusterGone(
                f"the keeper of {name}, process {keeper.pid} on {keeper.host}, lives and is too busy to answer: {gone}",
                final=False,
            )
        if self._record.as_job and (fate := job_fate(self._record, self._store)):
            return ClusterGone(f"cluster {name} is gone: {fate}; clusterhub gc removes what is left")
        age = self._store.heartbeat_age(name)
        heard = f"was last heard of {age:.0f} s ago" if age is not None else "has left no sign of life"
        return ClusterGone(
            f"the keeper of {name} runs on {keeper.host}, which cannot be reached from here, and {heard}: {gone}",
            final=False,
        )

    async def _until_it_is_gone(self) -> None:
        """Return when its keeper has ended, and all that it kept. Raises ClusterhubError where it does not."""
        loop = asyncio.get_running_loop()
        deadline, look = loop.time() + END_PATIENCE, 0.0
        while not await asyncio.to_thread(self._has_ended):
            if loop.time() > look:
                await asyncio.to_thread(self._raise_if_left)
                look = loop.time() + LEFT_LOOK
            if loop.time() > deadline:
                raise ClusterhubError(
                    f"cluster {self._plan.name} was told to end {END_PATIENCE:.0f} s ago and has not; see clusterhub ls, and"
                    f" {self._store.folder(self._plan.name) / 'keeper.log'}"
                )
            await asyncio.sleep(0.02)

    def _raise_if_left(self) -> None:
        with contextlib.suppress(LookupError):
            record = self._store.read(self._plan.name)
            if record.uid == self._plan.uid and record.end is not None and record.end.left:
                raise ClusterhubError(
                    f"{self._plan.name} has ended, but not all of it: {record.end.reason}\n"
                    "its keeper goes on trying for half an hour; after that, or if it is killed: clusterhub gc"
                )

    def _has_ended(self) -> bool:
        keeper = self._record.keeper
        if keeper is not None and (life := keeper.life()) is not Life.UNKNOWN:
            return life is Life.DEAD
        try:
            return self._store.read(self._plan.name).uid != self._plan.uid
        except LookupError:
            return True
