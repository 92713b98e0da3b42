"""The caretaker of a gateway's cluster: what it does by dask-gateway's own service, which every scheduler of a gateway runs.

It travels to the scheduler by value, as :mod:`clusterhub._dask.caretaker` says. The service is
``dask_gateway/scheduler_preload.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from clusterhub.parts import Caretaker

AGAIN = 0.1
"""Seconds after which the service's adaptation is told again to end."""


class GatewayCaretaker(Caretaker):
    """Tells the service how many workers are wanted, and which of them may leave; the service tells the server."""

    def __init__(self, scheduler: Any, memory: dict[str, Any]) -> None:
        super().__init__(scheduler, memory)
        self._service = scheduler.services["gateway"]
        self._names: dict[str, str] = {}
        self._asked: frozenset[str] = frozenset()
        self._sent_off: set[str] = set()
        self._missed = False

    def surplus(self) -> int:
        """Beyond the number that the service works for."""
        self._sent_off |= self._service.closing_workers
        return len(self.scheduler.workers) - int(self._service.count)

    async def told(self, minimum: int, maximum: int) -> None:
        """A number, or the service's own adaptation."""
        if minimum == maximum:
            await self._adapt_no_more()
            await self._service.scale(minimum)
        else:
            await self._service.adapt(minimum=minimum, maximum=maximum)

    async def _adapt_no_more(self) -> None:
        """Tell the service's adaptation to end until it has.

        ``scale`` tells it once and waits, for ever where that is lost, as it is where the adaptation just wakes the service:
        ``Waiter.interrupt`` takes the cancellation for that of its own sleep.
        """
        adapting = self._service.adapt_task
        while adapting is not None and not adapting.done():
            adapting.cancel()
            await asyncio.wait([adapting], timeout=AGAIN)

    async def send_off(self, ready: frozenset[str]) -> None:
        """Wake the service: it asks us who may leave, retires them, and tells the server."""
        if ready - self._asked or not self._service.closing_workers:
            await self._service.waiter.interrupt()
            self._sent_off |= {self._names[address] for address in ready}
        self._asked = ready

    def facts(self) -> Mapping[str, Any]:
        """The number that the service works for, and the range within which it adapts, where it does."""
        service = self._service
        adapts = service.adapt_task is not None
        return {"count": service.count, "range": [service.minimum or 0, service.maximum] if adapts else None}

    # Dask's own hooks

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Remember its name, by which the service knows it."""
        self._names[worker] = scheduler.workers[worker].name
        super().add_worker(scheduler, worker)

    def remove_worker(self, scheduler: Any, worker: str, **facts: Any) -> None:
        """Find out whether it leaves a place that the server will not fill."""
        name = self._names.pop(worker, None)
        if name in self._sent_off:
            self._sent_off.discard(name)
            # It was sent off, and meanwhile more were asked for: the server, which expects its end, replaces it by nobody.
            self._missed = self._missed or len(self._service.active_workers) < self._service.count
            self.kick.set()

    async def tend(self) -> None:
        """Have the server count again, which it does only when it is told another number."""
        if not self._missed:
            return
        service, count = self._service, self._service.count
        if len(service.active_workers) < count:
            service.count = count - 1
            try:
                await service.heartbeat()
            finally:
                service.count = count if service.count == count - 1 else service.count
            await service.heartbeat()
        self._missed = False  # not before: what the server did not hear is told again

    # Ending

    async def reachable(self) -> bool:
        """Whether the gateway answers: while it does not, nobody who uses the cluster could be heard of."""
        from tornado.httpclient import AsyncHTTPClient

        try:
            await AsyncHTTPClient().fetch(f"{self._service.gateway.api_url}/health", request_timeout=5)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the gateway, or with the way to it
            self.log.info("clusterhub: the gateway does not answer: %s", error)
            return False
        return True

    async def end(self, reason: str) -> None:
        """Have the gateway end it; one that it has forgotten ends by itself."""
        from tornado.httpclient import HTTPClientError

        try:
            await self._service.gateway.shutdown()
        except HTTPClientError as error:
            if error.code not in (401, 403, 404):
                raise
            # It was started anew, and has forgotten this cluster: nobody else would ever end it.
            self.log.warning("clusterhub: the gateway does not know this cluster any more (%s)", error)
            self.tasks.add(asyncio.ensure_future(self.scheduler.close()))
