"""One at a time: whoever starts the cluster of a name, for code on an event loop that must go on meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from clusterhub.errors import WaitTimeout
from clusterhub.keeper.records import Store

POLL = 0.1
"""Seconds between two trials: a start takes seconds at least."""
LASTING = 1.0
"""Seconds for which one waits before it is told: most starts are nobody else's business."""


@asynccontextmanager
async def turn(store: Store, name: str, patience: float, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Be the only one, among all tasks, threads, processes and nodes, that starts ``name``. Not reentrant.

    ``tell`` hears of it where that takes long. Raises WaitTimeout, with who holds it, after ``patience`` seconds.
    """
    with ExitStack() as held:
        await _taken(held, store, name, patience, tell)
        yield


async def _taken(held: ExitStack, store: Store, name: str, patience: float, tell: Callable[[str], None]) -> None:
    began, told = time.monotonic(), False
    while not await _tried(held, store, name):
        waited = time.monotonic() - began
        if waited >= patience:
            raise WaitTimeout(
                f"{name} is being started or ended by {store.holder(name)}, for longer than {patience:g} s"
            )
        if waited >= LASTING and not told:
            told = True
            tell(f"{name}: waits for {store.holder(name)}, which is starting it")
        await asyncio.sleep(POLL)


async def _tried(held: ExitStack, store: Store, name: str) -> bool:
    """Take the lock, if it is free. Whoever is cancelled amid that leaves it to ``held``, which frees it again."""
    trial = asyncio.ensure_future(asyncio.to_thread(held.enter_context, store.locked(name, 0.0)))
    try:
        await asyncio.shield(trial)
    except WaitTimeout:
        return False
    except asyncio.CancelledError:
        await asyncio.wait([trial])
        if not trial.cancelled():
            trial.exception()  # seen: what was cancelled does not matter any more
        raise
    return True
