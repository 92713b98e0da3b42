"""The caretaker of a cluster: lives in its scheduler, where nothing of ours does beside it.

A system such as a gateway or Kubernetes starts and ends workers, and knows only numbers. What it does not do is done here, in
the one process that lives as long as the cluster: to let tasks end and results move before a worker leaves, to remember what
the cluster is and who asked for it, and to end it when nobody needs it any more.

This module, and those of its subclasses, travel to the scheduler by value, and may use only what is installed there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from clusterhub._dask.draining import hold, release

VERSION = 2
"""Of what it is asked and answers. It rises when another clusterhub would no longer understand it."""
ORDER, ATTEND = "clusterhub-order", "clusterhub-attend"
"""The handlers by which a scheduler that has a caretaker is told and asked things."""
INTERVAL, BUSY_INTERVAL = 2.0, 0.25
"""Seconds between two looks: usually, and while workers leave."""
DRAIN_PATIENCE = 60.0
"""Seconds that tasks may still run on a worker that is to leave; after that they start again elsewhere."""
GRACE = 30.0
"""Seconds that an unnamed cluster outlives the connection of whoever made it. Long enough for a proxy to be replaced: whoever
made it may be there, and cannot be heard."""


def install(dask_scheduler: Any, kind: type[Caretaker], memory: Mapping[str, Any]) -> dict[str, Any]:
    """Give the scheduler a caretaker that remembers ``memory``, unless it has one; what that one remembers."""
    there = getattr(dask_scheduler, "plugins", {}).get(Caretaker.name)
    if there is None:
        there = kind(dask_scheduler, dict(memory))
        dask_scheduler.add_plugin(there, name=Caretaker.name)
        dask_scheduler.handlers[ORDER] = there.answer
        dask_scheduler.handlers[ATTEND] = there.attend
        there.begin()
    return {"version": there.version, "memory": there.memory}


def recall(dask_scheduler: Any) -> dict[str, Any] | None:
    """What the scheduler's caretaker remembers, and how the cluster fares; None where it has none, or one of another version."""
    there = dask_scheduler.plugins.get(Caretaker.name)
    return {**there.memory, **there.life()} if there is not None and there.version == VERSION else None


class Caretaker(SchedulerPlugin, ABC):  # type: ignore[misc]  # distributed carries no annotations
    """One cluster's. Its memory is plain data: ``plan``, ``named``, ``kept``, ``created``, ``asked``, ``came`` and ``limit``,
    and how long it may be idle, old or alone."""

    name = "clusterhub-caretaker"

    def __init__(self, scheduler: Any, memory: dict[str, Any]) -> None:
        self.version = VERSION
        self.scheduler = scheduler
        self.memory = memory
        self.log = logging.getLogger("distributed.scheduler")
        self.kick = asyncio.Event()
        """Set where it has to look at once."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._holders: dict[str, Any] = {}
        self._watchers: set[Any] = set()
        self._alone_since = time.monotonic()
        self._reachable_since: float | None = None
        self._leaving: dict[str, float] = {}
        self._ready: frozenset[str] = frozenset()
        self._ending = ""
        self._task: asyncio.Task[None] | None = None

    # What a system adds

    @abstractmethod
    def surplus(self) -> int:
        """How many of the connected workers are too many, as the system has been told; below 0 where some are missing."""

    @abstractmethod
    async def told(self, minimum: int, maximum: int) -> None:
        """Tell the system what is wanted."""

    @abstractmethod
    async def send_off(self, ready: frozenset[str]) -> None:
        """Have the system end these workers, by address: they have ended their tasks, and what they hold can be moved."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What the system is working for, as plain data, for whoever observes."""

    @abstractmethod
    async def reachable(self) -> bool:
        """Whether those who use the cluster could reach it now, as far as the system decides that."""

    @abstractmethod
    async def end(self, reason: str) -> None:
        """Have the system end the cluster. What it raises is told in the log, and it is tried again."""

    async def tend(self) -> None:
        """Anything else that has to be done now and then."""

    # Its life

    def begin(self) -> None:
        """Look after the cluster from now on, and after the workers that were there before."""
        for address in self.scheduler.workers:
            self.add_worker(self.scheduler, address)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """The scheduler ends."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while not self._ending:
            try:
                async with asyncio.timeout(self._pause()):
                    await self.kick.wait()
            except TimeoutError:
                pass
            self.kick.clear()
            try:
                await self.look_at_leaving()
                await self.tend()
                if reason := self._over() or await self._abandoned():
                    await self._end(reason)
            except Exception:  # it has to go on whatever happens; whoever reads the scheduler's log learns of it
                self.log.exception("clusterhub: the caretaker stumbled")

    def _pause(self) -> float:
        return BUSY_INTERVAL if self._leaving else INTERVAL

    # Dask's own hooks

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """That any worker ever came tells a cluster that cannot start from one that has died."""
        if not self.memory.get("came"):
            self.memory["came"] = True
            self.tasks |= {asyncio.ensure_future(self._tell(comm, {"came": True})) for comm in self._watchers}

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Who may be chosen to leave: nobody who still works, or holds what nobody else can take."""
        if self.surplus() <= 0:
            return workers
        self.kick.set()
        return [worker for worker in workers if worker.address in self._ready]

    # What it is told and asked

    async def answer(self, call: Mapping[str, Any]) -> Any:
        """The answer to ``call["do"]``, with the arguments in ``call["with"]``."""
        deeds: Mapping[str, Any] = {
            "aim": self.aim, "observe": self.observe, "remember": self.remember, "release": self.release,
        }  # fmt: skip
        return await deeds[call["do"]](**call["with"])

    async def aim(self, minimum: int, maximum: int, tell: bool = True) -> None:
        """From now on ``minimum`` to ``maximum`` workers are wanted; with ``tell`` the system learns it from us."""
        self.memory["asked"] = [minimum, maximum]
        if tell:
            await self.told(minimum, maximum)
        await self.look_at_leaving()
        self.kick.set()

    async def remember(self, **facts: Any) -> None:
        """These facts replace those that were remembered."""
        self.memory.update(facts)

    async def release(self, token: str) -> bool:
        """The holder of that token needs the cluster no more; whether nobody does."""
        self._holders.pop(token, None)
        return not self._holders and not self.memory["kept"]

    async def observe(self) -> dict[str, Any]:
        """The cluster as it is now, as plain data."""
        surplus = self.surplus()
        workers = {
            worker.address: {
                "name": str(worker.name),
                "host": worker.host,
                "stays": self._why_it_stays(worker) if surplus > 0 and worker.address in self._leaving else "",
            }
            for worker in self.scheduler.workers.values()
        }
        remembered = {key: self.memory[key] for key in ("asked", "limit", "kept")}
        return {"workers": workers, **remembered, **self.facts()}

    def life(self) -> dict[str, Any]:
        """How it fares, for whoever lists clusters: ``connected`` workers, and in seconds, since clocks differ, ``idle_for`` and
        ``ends_in``, unless it is used again; None where it is busy, or no end is in sight."""
        since, now = self.scheduler.check_idle(), time.time()
        idle = None if since is None else max(0.0, now - since)
        spans = (
            [float(oldest) - (now - self.memory["created"])] if (oldest := self.memory["max_age"]) is not None else []
        )
        if idle is not None and self.memory["idle_timeout"] is not None:
            spans.append(float(self.memory["idle_timeout"]) - idle)
        if not self._holders and not self.memory["kept"]:
            spans.append(self._patience - self._alone(time.monotonic()))
        ends = max(0.0, min(spans)) if spans else None
        return {"connected": len(self.scheduler.workers), "idle_for": idle, "ends_in": ends}

    async def attend(self, comm: Any, token: str, holds: bool) -> None:
        """Stay on the line with one who uses the cluster: who ``holds`` it is known to live as long as the line does."""
        from distributed.comm.core import CommClosedError

        self._watchers.add(comm)
        if holds:
            self._holders[token] = comm
        if self.memory.get("came"):
            await self._tell(comm, {"came": True})
        try:
            while True:
                await comm.read()
        except (CommClosedError, OSError):
            pass  # however it ended
        finally:
            self._watchers.discard(comm)
            if self._holders.get(token) is comm:
                del self._holders[token]
                self._alone_since = time.monotonic()

    async def _tell(self, comm: Any, words: Mapping[str, Any]) -> None:
        from distributed.comm.core import CommClosedError

        try:
            if not comm.closed():
                await comm.write(dict(words))
        except (CommClosedError, OSError) as error:
            self.log.debug("clusterhub: somebody hung up: %s", error)

    # Leaving

    async def look_at_leaving(self) -> None:
        """One step of letting workers go: choose them, hold new work from them, and send off those who have ended theirs."""
        workers, surplus = self.scheduler.workers, self.surplus()
        self._leaving = {address: since for address, since in self._leaving.items() if address in workers}
        if too_many := len(self._leaving) - max(surplus, 0):
            self._call_off(list(self._leaving)[-too_many:] if too_many > 0 else ())
        if surplus <= 0:
            self._ready = frozenset()
            return
        self._choose(surplus - len(self._leaving))
        busy = hold(self.scheduler, list(self._leaving))
        late = time.monotonic() - DRAIN_PATIENCE
        self._ready = frozenset(
            address
            for address, since in self._leaving.items()
            if address in workers and (not busy.get(address) or since < late) and self._can_be_spared(workers[address])
        )
        if self._ready:
            await self.send_off(self._ready)

    def _choose(self, n: int) -> None:
        """``n`` more workers that are to leave: those that would be missed least."""
        if n <= 0:
            return
        workers = self.scheduler.workers.values()
        staying = [worker for worker in workers if worker.address not in self._leaving]
        staying.sort(key=lambda worker: (bool(worker.long_running), len(worker.processing) > 0, worker.nbytes))
        self._leaving |= dict.fromkeys((worker.address for worker in staying[:n]), time.monotonic())

    def _call_off(self, addresses: Collection[str]) -> None:
        for address in addresses:
            self._leaving.pop(address, None)
        if addresses:
            release(self.scheduler, list(addresses))

    def _can_be_spared(self, worker: Any) -> bool:
        """Whether what it holds can go to others, or nobody needs it."""
        return not worker.has_what or any(
            other.address not in self._leaving and other.status.name == "running"
            for other in self.scheduler.workers.values()
        )

    def _why_it_stays(self, worker: Any) -> str:
        if worker.processing:
            return "leaves when its running tasks have ended"
        if not self._can_be_spared(worker):
            return "is to leave, and stays: it holds results that no other worker could take"
        return "is leaving"

    # Ending

    def _over(self) -> str:
        """Why the cluster has to end by the clock; empty where it has not."""
        idle, oldest, now = self.memory["idle_timeout"], self.memory["max_age"], time.time()
        since = self.scheduler.check_idle()
        if idle is not None and since is not None and now - since > idle:
            return f"it was idle for {idle:.0f} s"
        if oldest is not None and now - self.memory["created"] > oldest:
            return f"it reached its age of {oldest:.0f} s"
        return ""

    async def _abandoned(self) -> str:
        """Why nobody needs it any more; empty where somebody may. While nobody could reach it, nobody could be heard of."""
        if self._holders or self.memory["kept"] or not await self.reachable():
            self._reachable_since = None
            return ""
        now = time.monotonic()
        if self._reachable_since is None:
            self._reachable_since = now
        alone = self._alone(now)
        return f"whoever made it has been gone for {alone:.0f} s" if alone > self._patience else ""

    @property
    def _patience(self) -> float:
        """Seconds that it outlives those who hold it."""
        return float(self.memory["linger"]) if self.memory["named"] else GRACE

    def _alone(self, now: float) -> float:
        """Seconds for which nobody has held it, although anybody could have."""
        since = now if self._reachable_since is None else self._reachable_since
        return now - max(self._alone_since, since)

    async def _end(self, reason: str) -> None:
        """Have the system end the cluster, and tell why to those who are on the line. Tried again where that fails."""
        self.log.warning("clusterhub: this cluster ends: %s", reason)
        for comm in list(self._watchers):
            await self._tell(comm, {"ends": reason})
        await self.end(reason)
        self._ending = reason
