"""A scheduler as a gateway starts it, here, with dask-gateway's own service in it; of the server there is a stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web
from attended import Attended, eventually, started
from dask_gateway.scheduler_preload import GatewaySchedulerService
from distributed import Scheduler

from clusterhub_backends.gateway.caretaker import GatewayCaretaker

from .serving import serving

__all__ = ["Cared", "GatewayServer", "cared", "eventually"]


class GatewayServer:
    """What the service in the scheduler knows of its gateway: whom it tells of workers, and who ends the cluster."""

    token = "of the cluster"

    def __init__(self, address: str) -> None:
        self.api_url = address
        self.heartbeats: list[Mapping[str, Any]] = []
        self.healthy = True
        self.may_close = asyncio.Event()
        """Until then, whoever is to leave is held up with the words that tell so."""
        self.may_close.set()
        self.failures: list[Exception] = []
        """What the next attempts to end the cluster fail with."""
        self.attempts = 0
        self.ended = False

    async def heartbeat(self, message: Mapping[str, Any]) -> None:
        await asyncio.sleep(0.01)  # as a request takes
        self.heartbeats.append(message)
        if message["closing_workers"]:
            await self.may_close.wait()

    async def shutdown(self) -> None:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        self.ended = True

    async def health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if self.healthy else 503)

    @property
    def counts(self) -> list[int]:
        """The numbers of workers that it was told, each once."""
        told = [message["count"] for message in self.heartbeats]
        return [count for index, count in enumerate(told) if index == 0 or told[index - 1] != count]


class Cared(Attended):
    """A cluster that is cared for."""

    kind = GatewayCaretaker

    def __init__(self, scheduler: Scheduler, gateway: GatewayServer, stack: AsyncExitStack) -> None:
        super().__init__(scheduler, stack)
        self.gateway = gateway
        self.service = GatewaySchedulerService(
            scheduler, gateway=gateway, adaptive_period=0.05, adaptive_window=1, heartbeat_period=15
        )
        self.service.listen(("127.0.0.1", 0))
        scheduler.services["gateway"] = self.service
        stack.callback(self.service.stop)


@asynccontextmanager
async def cared() -> AsyncIterator[Cared]:
    """Such a cluster, without workers and without a caretaker."""
    async with AsyncExitStack() as stack:
        servers: list[GatewayServer] = []
        address, _ = await stack.enter_async_context(serving({"/health": lambda request: servers[0].health(request)}))
        servers.append(GatewayServer(address))
        yield Cared(await started(stack, GatewayCaretaker), servers[0], stack)


async def looked(times: int = 5) -> None:
    """It has had its looks."""
    await asyncio.sleep(0.05 * (times + 1))
