"""`Cluster`: the blocking front of `AsyncCluster`, for scripts and notebooks."""

from __future__ import annotations

import atexit
import contextlib
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from clusterhub._dask.client import client_of
from clusterhub._dask.loop import LoopThread, in_spawned_child
from clusterhub._dask.status import Status
from clusterhub.backend import Plan, Unit
from clusterhub.cluster.asynchronous import AsyncCluster, Opening
from clusterhub.display import Display, Report
from clusterhub.errors import ClusterGone, ClusterhubError

if TYPE_CHECKING:
    from distributed import Client, Security

T = TypeVar("T")

EXIT_PATIENCE = 20.0
"""Seconds that closing may take when the interpreter ends with a cluster still open."""


class Cluster:
    """A cluster that keeps the workers it was asked for; a context manager that closes it.

    Works from any thread, and inside a running event loop such as a notebook's. Everything that works with Dask's own
    clusters works with it: ``Client(cluster)``, ``status``, ``scheduler_info``, ``wait_for_workers``, ``get_logs``.
    """

    def __init__(self, plan: Plan[Any], opening: Opening) -> None:
        """Start what was planned, or find it, and return once a client can connect."""
        if in_spawned_child():
            raise ClusterhubError(
                "this process is a worker that is importing your script, and the script would start a cluster of its own"
                " in it: put what starts the cluster under  if __name__ == '__main__':"
            )
        self._inner = AsyncCluster(plan, opening)
        self._thread = LoopThread()
        _open.add(self)  # from now on: an interrupt of the clean-up after an interrupt leaves the rest to the exit
        opening.news.fronted = True
        try:
            self._call(self._inner._start(), meanwhile=opening.news.show)
        except BaseException:
            opening.news.show()
            if self._inner.status in (Status.closed, Status.failed):
                _open.discard(self)
                self._thread.stop()
            raise
        opening.news.show()
        self._inner._on_closed.append(self._thread.stop_soon)

    # Life

    def close(self) -> Any:
        """Need it no more. Idempotent.

        What was made by ``connect`` ends, with all that it started; a cluster that is kept, that was attached to, or that
        other processes hold as well is left running. On the cluster's own event loop, where ``Client.shutdown()`` calls it,
        it returns what has to be awaited; elsewhere what may be, since an asynchronous client awaits whatever this returns.
        """
        return self._end(self._inner.close)

    def shutdown(self) -> Any:
        """End the cluster, and return when all that it started has ended, whoever made or keeps it. Idempotent."""
        self._inner._raise_if_let_go()
        return self._end(self._inner.shutdown)

    def detach(self) -> Any:
        """Leave the cluster running: from now on it is kept, and this object is done with it.

        ``clusterhub.attach(name)`` finds it again. Raises Unsupported for one that lives in this process.
        """
        return self._end(self._inner.detach)

    def _end(self, end: Callable[[], Coroutine[Any, Any, None]]) -> Any:
        if self._thread.here:
            return end()
        if not self._thread.stopped:
            self._call(end())
            self._thread.stop()
        _open.discard(self)  # not before: an interrupt in the middle leaves the rest to the interpreter's end
        return Done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        """A Dask client awaits its cluster, which has started already."""
        yield from ()
        return self

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)
        if thread is None or thread.stopped or self._inner.status is Status.closed:
            return
        if not self._inner.outlives_us:
            warnings.warn(f"{self!r} was dropped without close(), and ends now", ResourceWarning, stacklevel=2)
        thread.submit(self._inner._leave())

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Cluster belongs to its process; give the other process cluster.scheduler_address"
            " (and cluster.security) and make a distributed.Client there"
        )

    def _call(self, coroutine: Coroutine[Any, Any, T], meanwhile: Callable[[], None] | None = None) -> T:
        if self._thread.here:
            coroutine.close()
            raise ClusterhubError(
                "this would stop the event loop that the cluster itself runs on;"
                " use `async with clusterhub.aio.connect(…)` in asynchronous code"
            )
        if self._thread.stopped:
            coroutine.close()
            raise ClusterGone(f"cluster {self.name} has been closed; connect again for a new one")
        return self._thread.run(coroutine, meanwhile=meanwhile)

    # What it is told

    def scale(self, n: int, **foreign: Any) -> None:
        """Make ``n`` workers the target from now on: lost ones are replaced until it is told otherwise.

        It counts Dask workers on every backend, ends adapting, and loses no result on the way down.
        Raises ConfigError for a number that cannot be meant or is over the profile's limit.
        """
        self._order(lambda: self._inner.scale(n, **foreign))

    def adapt(self, minimum: int | None = None, maximum: int | None = None, **foreign: Any) -> None:
        """Let the number of workers follow the load between ``minimum`` and ``maximum``.

        By default it is the profile's own range. Raises ConfigError for a range that cannot be meant.
        """
        self._order(lambda: self._inner.adapt(minimum, maximum, **foreign))

    def _order(self, give: Any) -> None:
        if self._thread.here:
            give()  # takes effect without being awaited
            return
        self._call(_given(give))

    def wait(self, n: int | None = None, timeout: str | float | None = None, *, display: Display | None = None) -> None:
        """Return when ``n`` workers are connected, by default all that are asked for (of a range, its minimum).

        Shows what it waits for. ``timeout`` is in seconds, or as ``"30m"``. Raises WorkersFailed with the cause once they
        cannot come, and WaitTimeout with the state that they were in.
        """
        # The looking is done from here rather than on the loop: a notebook shows only what its own thread displays.
        wait = self._inner._wait(n, timeout, display)
        began = time.monotonic()
        with wait.display:
            while True:
                try:
                    if wait.over(self.report(), elapsed := time.monotonic() - began):
                        return
                except ClusterGone as gone:
                    wait.silent(gone, elapsed := time.monotonic() - began)
                time.sleep(wait.pause(elapsed))

    # What it tells

    def report(self) -> Report:
        """What was asked and what is there: queued, running, connected and failed, with reasons."""
        return self._call(self._inner.report())

    def units(self) -> Sequence[Unit]:
        """The units (jobs, pods, processes) as observed now, each with its state and the reason for it."""
        return self._call(self._inner.units())

    def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The logs by name: of the scheduler and each unit, or of one unit. Raises KeyError for an unknown one."""
        return self._call(self._inner.logs(unit))

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self._inner.name

    @property
    def started_from(self) -> Plan[Any]:
        """The plan that it was started from, as far as that is known: one that was made without clusterhub has no uid."""
        return self._inner.started_from

    @property
    def kept(self) -> bool:
        """Whether it outlives the process that made it, until it is told to end."""
        return self._inner.kept

    @property
    def minimum(self) -> int:
        """The fewest workers of the present target."""
        return self._inner.minimum

    @property
    def maximum(self) -> int:
        """The most workers of the present target."""
        return self._inner.maximum

    @property
    def status(self) -> Status:
        """Dask's status: running, closing, closed or failed."""
        return self._inner.status

    @property
    def scheduler_address(self) -> str:
        """The address for clients."""
        return self._inner.scheduler_address

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in, or None."""
        return self._inner.security

    @property
    def dashboard_link(self) -> str:
        """A link to Dask's dashboard that works from here, or an empty text."""
        return self._inner.dashboard_link

    @property
    def native(self) -> Any:
        """The native manager's own object where there is one: the way out, and no part of any guarantee."""
        return self._inner.native

    # What Dask's own clusters have

    @property
    def loop(self) -> Any:
        """The event loop that the cluster runs on; Dask clients of it share it."""
        return self._thread.loop

    def get_client(self, **options: Any) -> Client:
        """A Dask client of this cluster; ``options`` go to ``distributed.Client``."""
        return client_of(self, **options)

    def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> Any:
        """Dask's own: return when ``n_workers`` are connected; raises TimeoutError (a WaitTimeout).

        An asynchronous client awaits what it returns.
        """
        coroutine = self._inner.wait_for_workers(n_workers, timeout)
        if self._thread.here:
            return coroutine
        self._call(coroutine)
        return Done()

    def get_logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> dict[str, str]:
        """Dask's own: logs by name."""
        return self._call(self._inner.get_logs(cluster, scheduler, workers))

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's account of itself and its workers, asked for now."""
        return self._inner.scheduler_info if self._thread.here else self._call(self._inner.identity())

    def __repr__(self) -> str:
        return repr(self._inner).replace("AsyncCluster", "Cluster")

    def _repr_html_(self) -> str:
        if self.status is Status.running and not self._thread.here:
            with contextlib.suppress(ClusterGone):
                return self.report()._repr_html_()
        return f"<code>{escape(repr(self))}</code>"

    def _repr_mimebundle_(self, **wanted: Any) -> dict[str, Any]:
        """What is drawn instead where there are widgets: the same, kept true, with what scales the cluster."""
        from clusterhub.cluster.live import bundle

        return bundle(self._inner)


class Done:
    """What is done already and may be awaited, as Dask's own cluster objects return it. Notebooks do not show it."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()

    def _ipython_display_(self) -> None: ...


async def _given(give: Any) -> None:
    order: Awaitable[None] = give()
    await order


_open: weakref.WeakSet[Cluster] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A script that ends with its clusters open leaves none behind, but those that are to be found again."""
    for cluster in list(_open):
        if not cluster._thread.stopped:
            # Python 3.12 starts no thread any more at this point, and the loop's own ends with the interpreter.
            cluster._inner._on_closed.clear()
            with contextlib.suppress(ClusterhubError, TimeoutError):
                cluster._thread.run(cluster._inner._leave(), timeout=EXIT_PATIENCE)
