"""Draining: the one way in which workers leave without taking results with them.

Dask retires a busy worker after 0.01 s and lets its running tasks start again elsewhere, which repeats their side effects
and wastes their time; and it says "retired" to one that it could not retire. So: hold new work from the workers, let
what runs end up to a limit, retire by address, check who really went, and give work again to those who stayed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.errors import ClusterGone

POLL = 0.1


def hold(dask_scheduler: Any, workers: Sequence[str]) -> dict[str, int]:
    """Give no more tasks to ``workers``; how many each still has. Workers that are gone are left out.

    Only the scheduler's view changes: the worker itself goes on with the tasks it has, where pausing it would leave its
    waiting ones stuck. Said again at each look, since a worker's own report of its status would undo it.
    """
    from distributed.core import Status

    busy = {}
    for address in workers:
        state = dask_scheduler.workers.get(address)
        if state is not None:
            if state.status == Status.running:
                dask_scheduler.handle_worker_status_change(Status.paused, state, f"clusterhub-hold-{address}")
            busy[address] = len(state.processing)
    return busy


def release(dask_scheduler: Any, workers: Sequence[str]) -> None:
    """Give tasks to ``workers`` again, after a drain that was called off or that they could not be part of."""
    from distributed.core import Status

    stimulus = "clusterhub-release"
    for address in workers:
        state = dask_scheduler.workers.get(address)
        if state is None or address not in dask_scheduler.stream_comms:
            continue
        # The worker hears it too: a retirement that failed has left it believing that it is paused. One that is paused
        # for its memory finds out again at its next look at it, and says so.
        dask_scheduler.stream_comms[address].send(
            {"op": "worker-status-change", "status": Status.running.name, "stimulus_id": stimulus}
        )
        dask_scheduler.handle_worker_status_change(Status.running, state, stimulus)


class Drain:
    """One drain of whole units, identified by the addresses of their workers; can be called off until they retire."""

    def __init__(self, link: SchedulerLink, workers: Sequence[str], patience: float) -> None:
        self.link = link
        self.workers = tuple(workers)
        self.patience = patience
        self._retiring = False

    async def run(self) -> frozenset[str]:
        """The addresses of the workers that left: their results are elsewhere. The others work on as before.

        Running tasks have ``patience`` seconds to end; after that they start again on other workers.
        If cancelled before the retirement has begun, all workers take work again.
        """
        try:
            await self._let_tasks_end()
        except BaseException:
            with contextlib.suppress(ClusterGone):
                await self._release(self.workers)
            raise
        self._retiring = True
        gone: frozenset[str] = frozenset()
        try:
            gone = await self._retired()
        except asyncio.CancelledError:
            raise  # it goes on without us, and whoever cancelled is closing the cluster
        except BaseException:
            with contextlib.suppress(ClusterGone):
                await self._release(self.workers)
            raise
        if stayed := [worker for worker in self.workers if worker not in gone]:
            await self._release(stayed)
        return gone

    async def _retired(self) -> frozenset[str]:
        """Shielded: half a retirement would close workers that nobody then knows to be closing."""
        retiring = asyncio.ensure_future(self.link.retire(self.workers))
        # Seen, should it fail after we were cancelled: nobody is left to be told.
        retiring.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(retiring)

    @property
    def can_be_called_off(self) -> bool:
        """Whether cancelling what runs it still keeps the workers."""
        return not self._retiring

    def finish(self) -> None:
        """What followed the retirement is done as well: from now on there is nothing to interrupt."""
        self._retiring = False

    async def _let_tasks_end(self) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            busy = await self.link.call(hold, workers=list(self.workers))
            if not any(busy.values()) or time.monotonic() >= deadline:
                return
            await asyncio.sleep(POLL)

    async def _release(self, workers: Sequence[str]) -> None:
        await self.link.call(release, workers=list(workers))
