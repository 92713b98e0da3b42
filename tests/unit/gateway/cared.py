"""A scheduler as a gateway starts it, here, with dask-gateway's own service in it; of the server there is a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web
from dask_gateway.scheduler_preload import GatewaySchedulerService
from distributed import Client, Scheduler, Worker
from distributed.comm.core import Comm, CommClosedError, connect

from clusterhub._dask import caretaker
from clusterhub._dask.caretaker import ATTEND, Caretaker
from clusterhub_backends.gateway.caretaker import GatewayCaretaker

from .serving import serving

PATIENCE = 20.0


async def eventually(met: Callable[[], Any]) -> Any:
    """What ``met`` returns, once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain"
        await asyncio.sleep(0.01)
    return found


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


class Cared:
    """A cluster that is cared for."""

    def __init__(self, scheduler: Scheduler, gateway: GatewayServer, stack: AsyncExitStack) -> None:
        self.scheduler = scheduler
        self.gateway = gateway
        self.service = GatewaySchedulerService(
            scheduler, gateway=gateway, adaptive_period=0.05, adaptive_window=1, heartbeat_period=15
        )
        self.service.listen(("127.0.0.1", 0))
        scheduler.services["gateway"] = self.service
        stack.callback(self.service.stop)
        self._stack = stack

    def care(self, **memory: Any) -> Caretaker:
        """Give it a caretaker; what is not said is as of a kept cluster that nobody limits."""
        known = {
            "plan": None, "named": False, "kept": True, "created": time.time(), "asked": [0, 0], "limit": None, "linger": 600.0,
            "idle_timeout": None, "max_age": None,
        }  # fmt: skip
        caretaker.install(self.scheduler, GatewayCaretaker, {**known, **memory})
        return self.caretaker

    @property
    def caretaker(self) -> Caretaker:
        there = self.scheduler.plugins[Caretaker.name]
        assert isinstance(there, Caretaker)
        return there

    async def start(self, *names: str) -> list[Worker]:
        """Workers of one thread each, as the gateway would start them."""
        workers = [
            Worker(self.scheduler.address, nthreads=1, name=name, host="127.0.0.1", dashboard=False) for name in names
        ]
        for worker in workers:
            await self._stack.enter_async_context(closing(worker))
        return workers

    @property
    def names(self) -> list[str]:
        """Who is there."""
        return sorted(worker.name for worker in self.scheduler.workers.values())

    async def stays(self) -> dict[str, str]:
        """Why each worker stays that is to leave."""
        told = await self.caretaker.observe()
        return {worker["name"]: worker["stays"] for worker in told["workers"].values()}

    async def client(self) -> Client:
        client = await Client(self.scheduler.address, asynchronous=True, set_as_default=False)
        self._stack.push_async_callback(client.close)
        return client

    async def hold(self, token: str = "ann", holds: bool = True) -> Held:
        """Somebody who is on the line."""
        comm = await connect(self.scheduler.address)
        held = Held(comm)
        self._stack.callback(held.drop)
        await comm.write({"op": ATTEND, "token": token, "holds": holds, "reply": False})
        await eventually(lambda: len(self.caretaker._watchers))
        if holds:
            await eventually(lambda: token in self.caretaker._holders)
        return held


class Held:
    """One end of a line."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self.heard: list[Any] = []
        self._task = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(OSError, CommClosedError, asyncio.CancelledError):
            while True:
                self.heard.append(await self._comm.read())

    def drop(self) -> None:
        """The process ends, however."""
        self._task.cancel()
        self._comm.abort()


@asynccontextmanager
async def closing(worker: Worker) -> AsyncIterator[None]:
    await worker
    try:
        yield
    finally:
        await worker.close()


@contextlib.contextmanager
def _as_they_were(*classes: type) -> Iterator[None]:
    """Classes that arrive where they left from come to no harm.

    cloudpickle takes a class that arrives by value for the one of this process, as it is, and gives it the methods that
    arrived: these look their constants up in a copy of the module, where no test changes any.
    """
    kept = [(made, dict(vars(made))) for made in classes]
    yield
    for made, attributes in kept:
        for name, value in attributes.items():
            if vars(made)[name] is not value:
                setattr(made, name, value)


@asynccontextmanager
async def cared() -> AsyncIterator[Cared]:
    """Such a cluster, without workers and without a caretaker."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_as_they_were(Caretaker, GatewayCaretaker))
        servers: list[GatewayServer] = []
        address, _ = await stack.enter_async_context(serving({"/health": lambda request: servers[0].health(request)}))
        servers.append(GatewayServer(address))
        scheduler = await stack.enter_async_context(
            Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")
        )
        yield Cared(scheduler, servers[0], stack)
