"""A cluster with a caretaker of ours in its scheduler, here: what the tests of every system's caretaker are told in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, ClassVar

import pytest
from distributed import Client, Scheduler, Worker, get_worker
from distributed.comm.core import Comm, CommClosedError, connect

from clusterhub._dask import caretaker
from clusterhub._dask.caretaker import ATTEND, Caretaker

PATIENCE = 60.0


async def eventually(met: Callable[[], Any]) -> Any:
    """What ``met`` returns, once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain"
        await asyncio.sleep(0.01)
    return found


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have caretakers look, and lose patience, in fractions of a second."""
    monkeypatch.setattr(caretaker, "INTERVAL", 0.05)
    monkeypatch.setattr(caretaker, "BUSY_INTERVAL", 0.02)
    monkeypatch.setattr(caretaker, "GRACE", 0.3)


GATES: dict[str, threading.Event] = {}


def gate(name: str) -> threading.Event:
    """Workers are threads of this process: a task can wait for us."""
    return GATES.setdefault(name, threading.Event())


def work(name: str) -> str:
    """A task that runs until its gate is opened; where it ran."""
    assert GATES[name].wait(30)
    return str(get_worker().name)


class Attended:
    """A cluster that is cared for."""

    kind: ClassVar[type[Caretaker]]

    def __init__(self, scheduler: Scheduler, stack: AsyncExitStack) -> None:
        self.scheduler = scheduler
        self._stack = stack

    def care(self, **memory: Any) -> Any:
        """Give it a caretaker; what is not said is as of a kept cluster that nobody limits."""
        known = {
            "plan": None, "named": False, "kept": True, "created": time.time(), "asked": [0, 0], "limit": None, "linger": 600.0,
            "idle_timeout": None, "max_age": None,
        }  # fmt: skip
        caretaker.install(self.scheduler, self.kind, {**known, **memory})
        return self.caretaker

    @property
    def caretaker(self) -> Any:
        there = self.scheduler.plugins[Caretaker.name]
        assert isinstance(there, Caretaker)
        return there

    async def start(self, *names: str) -> list[Worker]:
        """Workers of one thread each, as the system would start them."""
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


@contextmanager
def as_they_were(*classes: type) -> Iterator[None]:
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


async def started(stack: AsyncExitStack, *kinds: type[Caretaker]) -> Scheduler:
    """A scheduler without workers, which lives as long as the stack; ``kinds`` are the caretakers that may travel to it."""
    stack.enter_context(as_they_were(Caretaker, *kinds))
    return await stack.enter_async_context(
        Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")
    )
