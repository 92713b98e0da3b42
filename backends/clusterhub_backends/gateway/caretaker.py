"""The caretaker of a cluster: lives in its scheduler, since nothing of ours does beside it.

A gateway's server starts and ends workers, and knows only numbers. What it does not do is done here, in the one process that
lives as long as the cluster: to let tasks end and results move before a worker leaves, to remember what the cluster is and
who asked for it, and to end it when nobody needs it any more.

All of this module travels to the scheduler by value, and may use only what is installed there: distributed, and dask-gateway's
own service, which every scheduler of a gateway runs (``dask_gateway/scheduler_preload.py``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from clusterhub.parts import hold, release

VERSION = 1
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


def install(dask_scheduler: Any, memory: Mapping[str, Any]) -> dict[str, Any]:
    """Give the scheduler a caretaker that remembers ``memory``, unless it has one; what that one remembers."""
    there = getattr(dask_scheduler, "plugins", {}).get(Caretaker.name)
    if there is None:
        there = Caretaker(dask_scheduler, dict(memory))
        dask_scheduler.add_plugin(there, name=Caretaker.name)
        dask_scheduler.handlers[ORDER] = there.answer
        dask_scheduler.handlers[ATTEND] = there.attend
        there.begin()
    return {"version": there.version, "memory": there.memory}


def recall(dask_scheduler: Any) -> dict[str, Any]:
    """What the scheduler's caretaker remembers, of version 0 where it has none, and how many workers are connected."""
    there = dask_scheduler.plugins.get(Caretaker.name)
    version, memory = (there.version, there.memory) if there is not None else (0, {})
    return {"version": version, "memory": memory, "connected": len(dask_scheduler.workers)}


class Caretaker(SchedulerPlugin):  # type: ignore[misc]  # distributed carries no annotations
    """One cluster's. Its memory is plain data: ``plan``, ``named``, ``kept``, ``created``, ``asked`` and ``limit``, and how long
    it may be idle, old or alone."""

    name = "clusterhub-caretaker"

    def __init__(self, scheduler: Any, memory: dict[str, Any]) -> None:
        self.version = VERSION
        self.scheduler = scheduler
        self.memory = memory
        self.log = logging.getLogger("distributed.scheduler")
        self._service = scheduler.services["gateway"]
        self._holders: dict[str, Any] = {}
        self._watchers: set[Any] = set()
        self._alone_since = time.monotonic()
        self._reachable_since: float | None = None
        self._leaving: dict[str, float] = {}
        self._ready: frozenset[str] = frozenset()
        self._names: dict[str, str] = {}
        self._sent_off: set[str] = set()
        self._missed = False
        self._ending = ""
        self._kick = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Look after the cluster from now on."""
        self._task = asyncio.create_task(self._run())

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Dask's own hook. That any worker ever came tells a cluster that cannot start from one that has died."""
        self._names[worker] = scheduler.workers[worker].name
        if not self.memory.get("came"):
            self.memory["came"] = True
            self._tasks |= {asyncio.ensure_future(self._tell(comm, {"came": True})) for comm in self._watchers}

    def remove_worker(self, scheduler: Any, worker: str, **facts: Any) -> None:
        """Dask's own hook."""
        name = self._names.pop(worker, None)
        if name in self._sent_off:
            self._sent_off.discard(name)
            # It was sent off, and meanwhile more were asked for: the server, which expects its end, replaces it by nobody.
            self._missed = self._missed or len(self._service.active_workers) < self._service.count
            self._kick.set()

    async def _tell(self, comm: Any, words: Mapping[str, Any]) -> None:
        from distributed.comm.core import CommClosedError

        try:
            if not comm.closed():
                await comm.write(dict(words))
        except (CommClosedError, OSError) as error:
            self.log.debug("clusterhub: somebody hung up: %s", error)

    async def close(self) -> None:
        """The scheduler ends."""
        if self._task is not None:
            self._task.cancel()

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Dask's own hook for who may be chosen to leave: nobody who still works, or holds what nobody else can take."""
        if self._surplus() <= 0:
            return workers
        self._kick.set()
        return [worker for worker in workers if worker.address in self._ready]

    # What it is told and asked

    async def answer(self, call: Mapping[str, Any]) -> Any:
        """The answer to ``call["do"]``, with the arguments in ``call["with"]``."""
        deeds: Mapping[str, Any] = {
            "aim": self.aim, "observe": self.observe, "remember": self.remember, "release": self.release,
        }  # fmt: skip
        return await deeds[call["do"]](**call["with"])

    async def aim(self, minimum: int, maximum: int, tell: bool = True) -> None:
        """From now on ``minimum`` to ``maximum`` workers are wanted; with ``tell`` the gateway's service learns it from us."""
        self.memory["asked"] = [minimum, maximum]
        if tell and minimum == maximum:
            await self._service.scale(minimum)
        elif tell:
            await self._service.adapt(minimum=minimum, maximum=maximum)
        await self._look_at_leaving()
        self._kick.set()

    async def remember(self, **facts: Any) -> None:
        """These facts replace those that were remembered."""
        self.memory.update(facts)

    async def release(self, token: str) -> bool:
        """The holder of that token needs the cluster no more; whether nobody does."""
        self._holders.pop(token, None)
        return not self._holders and not self.memory["kept"]

    async def observe(self) -> dict[str, Any]:
        """The cluster as it is now, as plain data."""
        service, surplus = self._service, self._surplus()
        adapts = service.adapt_task is not None
        workers = {
            worker.address: {
                "name": str(worker.name),
                "host": worker.host,
                "stays": self._why_it_stays(worker) if surplus > 0 and worker.address in self._leaving else "",
            }
            for worker in self.scheduler.workers.values()
        }
        return {
            "workers": workers,
            "count": service.count,
            "range": [service.minimum or 0, service.maximum] if adapts else None,
            "asked": self.memory["asked"],
            "limit": self.memory["limit"],
            "kept": self.memory["kept"],
        }

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

    # Leaving

    def _surplus(self) -> int:
        return len(self.scheduler.workers) - int(self._service.count)

    async def _look_at_leaving(self) -> None:
        """One step of letting workers go: choose them, hold new work from them, and send off those who have ended theirs."""
        workers, surplus = self.scheduler.workers, self._surplus()
        self._sent_off |= self._service.closing_workers
        self._leaving = {address: since for address, since in self._leaving.items() if address in workers}
        if too_many := len(self._leaving) - max(surplus, 0):
            self._call_off(list(self._leaving)[-too_many:] if too_many > 0 else ())
        if surplus <= 0:
            self._ready = frozenset()
            return
        self._choose(surplus - len(self._leaving))
        busy = hold(self.scheduler, list(self._leaving))
        late = time.monotonic() - DRAIN_PATIENCE
        ready = frozenset(
            address
            for address, since in self._leaving.items()
            if address in workers and (not busy.get(address) or since < late) and self._can_be_spared(workers[address])
        )
        if ready - self._ready or (ready and not self._service.closing_workers):
            self._ready = ready
            await self._service.waiter.interrupt()  # it asks us who may leave, retires them, and tells the server
            self._sent_off |= {self._names[address] for address in ready}
        self._ready = ready

    async def _make_good(self) -> None:
        """Have the server count again, which it does only when it is told another number."""
        self._missed = False
        service, count = self._service, self._service.count
        if len(service.active_workers) < count:
            service.count = count - 1
            try:
                await service.heartbeat()
            finally:
                service.count = count if service.count == count - 1 else service.count
            await service.heartbeat()

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

    async def _run(self) -> None:
        while not self._ending:
            try:
                async with asyncio.timeout(BUSY_INTERVAL if self._surplus() > 0 else INTERVAL):
                    await self._kick.wait()
            except TimeoutError:
                pass
            self._kick.clear()
            try:
                await self._look_at_leaving()
                if self._missed:
                    await self._make_good()
                if reason := self._over() or await self._abandoned():
                    await self._end(reason)
            except Exception:  # it has to go on whatever happens; whoever reads the scheduler's log learns of it
                self.log.exception("clusterhub: the caretaker stumbled")

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
        """Why nobody needs it any more; empty where somebody may. While the gateway is away, nobody could be heard of."""
        if self._holders or self.memory["kept"]:
            self._reachable_since = None
            return ""
        if not await self._gateway_answers():
            self._reachable_since = None
            return ""
        now = time.monotonic()
        if self._reachable_since is None:
            self._reachable_since = now
        patience = self.memory["linger"] if self.memory["named"] else GRACE
        alone = now - max(self._alone_since, self._reachable_since)
        return f"whoever made it has been gone for {alone:.0f} s" if alone > patience else ""

    async def _gateway_answers(self) -> bool:
        from tornado.httpclient import AsyncHTTPClient

        try:
            await AsyncHTTPClient().fetch(f"{self._service.gateway.api_url}/health", request_timeout=5)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the gateway, or with the way to it
            self.log.info("clusterhub: the gateway does not answer: %s", error)
            return False
        return True

    async def _end(self, reason: str) -> None:
        """Have the gateway end the cluster, and tell why to those who are on the line. Tried again where that fails."""
        self.log.warning("clusterhub: this cluster ends: %s", reason)
        for comm in list(self._watchers):
            await self._tell(comm, {"ends": reason})
        await self._end_by_the_gateway()
        self._ending = reason

    async def _end_by_the_gateway(self) -> None:
        from tornado.httpclient import HTTPClientError

        try:
            await self._service.gateway.shutdown()
        except HTTPClientError as error:
            if error.code not in (401, 403, 404):
                raise
            # It was started anew, and has forgotten this cluster: nobody else would ever end it.
            self.log.warning("clusterhub: the gateway does not know this cluster any more (%s)", error)
            self._tasks.add(asyncio.ensure_future(self.scheduler.close()))
