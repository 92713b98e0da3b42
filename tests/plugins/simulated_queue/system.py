"""The simulated system: what lives in it, on an event loop of its own that no user of it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from clusterhub import Plan
    from simulated_queue.cluster import SimulatedCluster

T = TypeVar("T")

LIVING: dict[str, SimulatedCluster] = {}
"""By the system's own name."""
_STARTING = threading.Lock()
_LOOPS: list[asyncio.AbstractEventLoop] = []


def loop() -> asyncio.AbstractEventLoop:
    """The loop that the system runs on, for as long as this process lives."""
    with _STARTING:
        if not _LOOPS:
            _LOOPS.append(asyncio.new_event_loop())
            threading.Thread(target=_LOOPS[0].run_forever, name="simulated-system", daemon=True).start()
        return _LOOPS[0]


def ask(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Have the system run it."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop())


async def asked(coroutine: Coroutine[Any, Any, T]) -> T:
    """What comes of it in the system, for whoever waits on a loop of their own."""
    return await asyncio.wrap_future(ask(coroutine))


async def started(plan: Plan[Any]) -> SimulatedCluster:
    """A new cluster. On the system's loop."""
    from simulated_queue.cluster import SimulatedCluster

    cluster = await SimulatedCluster.start(plan)
    LIVING[cluster.id] = cluster
    return cluster


async def ended(cluster: SimulatedCluster) -> None:
    """End a cluster. On the system's loop."""
    await cluster.end()
    LIVING.pop(cluster.id, None)
