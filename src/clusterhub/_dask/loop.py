"""Runs coroutines from ordinary code on an event loop in a thread, shared with the Dask clients of the cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from distributed.utils import LoopRunner

from clusterhub.errors import ClusterhubError

T = TypeVar("T")

CANCEL_PATIENCE = 30.0
"""Seconds that an interrupted call may take to clean up after itself."""
MEANWHILE = 0.2
"""Seconds between two looks at what else is to be done while a call lasts."""


def in_spawned_child() -> bool:
    """Whether this process is a child of multiprocessing that is still importing its parent's script."""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


class LoopThread:
    """An event loop in a thread of its own, so that it also works where a loop runs already, as in a notebook."""

    def __init__(self) -> None:
        self._runner = LoopRunner(asynchronous=False)
        self._runner.start()
        self._pid = os.getpid()
        self._stopping = threading.Lock()
        self._thread: int | None = None
        self._thread = self.run(_thread_id())

    @property
    def loop(self) -> Any:
        """The tornado loop, for a Dask client to share."""
        return self._runner.loop

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` has been called."""
        return not self._runner.is_started()

    @property
    def here(self) -> bool:
        """Whether the caller runs on the loop itself, where waiting would stop it for ever."""
        return threading.get_ident() == self._thread

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        timeout: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """What ``coroutine`` returns. An interrupt (Ctrl-C) cancels it and waits until it has cleaned up.

        ``meanwhile`` is called again and again, on the caller's thread, until it has returned.
        Raises ClusterhubError in a process that was forked from the one that made the loop: its thread is not there.
        """
        if os.getpid() != self._pid:
            coroutine.close()
            raise ClusterhubError(
                f"this cluster belongs to process {self._pid}, and a forked process cannot use it;"
                " use the 'spawn' start method and connect a Client to cluster.scheduler_address there"
            )
        if self.stopped:
            coroutine.close()
            raise ClusterhubError("the event loop of this cluster has ended")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop.asyncio_loop)
        try:
            while meanwhile is not None and not concurrent.futures.wait([future], MEANWHILE).done:
                meanwhile()
            return future.result(timeout)
        except BaseException:
            # An error of the coroutine itself, and then it is done; or Ctrl-C in this thread, and then it still runs.
            if not future.done():
                future.cancel()
                self._settle()
            raise

    def _settle(self) -> None:
        """Wait until everything that was just cancelled has run its clean-up."""
        pending = asyncio.run_coroutine_threadsafe(_cancelled_have_ended(), self.loop.asyncio_loop)
        concurrent.futures.wait([pending], timeout=CANCEL_PATIENCE)

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start ``coroutine`` on the loop and do not wait for it."""
        asyncio.run_coroutine_threadsafe(coroutine, self.loop.asyncio_loop)

    def stop_soon(self) -> None:
        """End the loop from a thread that may wait for its end; for those who run on it, which cannot."""
        threading.Thread(target=self.stop, name="clusterhub-loop-end", daemon=True).start()

    def stop(self) -> None:
        """End the loop, unless Dask clients still share it. Idempotent."""
        with self._stopping:
            if not self.stopped and os.getpid() == self._pid:
                self._runner.stop()


async def _thread_id() -> int:
    return threading.get_ident()


async def _cancelled_have_ended() -> None:
    while any(task.cancelling() for task in asyncio.all_tasks() if not task.done()):
        await asyncio.sleep(0.02)
