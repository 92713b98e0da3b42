"""A Dask scheduler that runs in our own process: what a keeper asks it, and answers through it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from clusterhub._dask.dashboard import guard, guarded, plain_link, secret_prefix

LOOPBACK = "127.0.0.1"


def warm_up() -> None:
    """Import what a scheduler of this process will need, which takes longer than all else at its start."""
    import distributed  # noqa: F401


class Hosted:
    """One scheduler of this process."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    @staticmethod
    def silence_workers() -> None:
        """Workers that this process starts serve nothing over HTTP, which needs no key; they cannot be kept from listening."""
        import dask

        dask.config.set({"distributed.worker.http.routes": []})

    @staticmethod
    def secret() -> str:
        """A path that nobody guesses, for a dashboard."""
        return secret_prefix()

    def answer(self, name: str, handler: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]) -> None:
        """Let ``handler`` answer the calls that reach the scheduler under ``name``, each with one argument ``call``."""

        async def handled(call: Mapping[str, Any]) -> dict[str, Any]:
            return await handler(call)

        self._scheduler.handlers[name] = handled

    def guard_dashboard(self, prefix: str, wanted: bool) -> str:
        """Close the scheduler's HTTP server to whoever does not know ``prefix``; its link on this host, or an empty text."""
        guard(self._scheduler, prefix)
        return plain_link(LOOPBACK, self._scheduler.http_server.port, prefix) if wanted else ""

    def idle_since(self) -> datetime | None:
        """Since when nothing is processing, whoever is connected; None while something is."""
        since = self._scheduler.check_idle()
        return None if since is None else datetime.fromtimestamp(since, UTC)

    def stored(self) -> int:
        """Bytes of results that the workers hold."""
        return int(sum(state.nbytes for state in self._scheduler.workers.values()))

    def workers(self) -> int:
        """How many workers are connected."""
        return len(self._scheduler.workers)

    async def ended(self) -> None:
        """Return when the scheduler has closed, whoever closed it."""
        await self._scheduler.finished()

    async def close(self) -> None:
        """Close it, if nobody has. Idempotent."""
        await self._scheduler.close()


def own_scheduler(native: Any) -> Any:
    """The scheduler object behind one of Dask's cluster objects. Raises AttributeError where it lives elsewhere."""
    from distributed import Scheduler

    scheduler = getattr(native, "scheduler", None)
    if not isinstance(scheduler, Scheduler):
        raise AttributeError("scheduler: it does not live in this process")
    return scheduler


def scheduler_class(prefix: str) -> Any:
    """A scheduler that answers HTTP to nobody who does not know ``prefix``; Dask's own where there is none."""
    from distributed import Scheduler

    return guarded(prefix) if prefix else Scheduler


def has_dashboard(native: Any) -> bool:
    """Whether a cluster object's scheduler serves a dashboard, as far as that can be seen from here.

    Its link is no sign: it is formed from the port of an HTTP server that is there for the metrics too.
    """
    application = getattr(getattr(native, "scheduler", None), "http_application", None)
    return application is None or bool(application.applications)


@contextmanager
def impatient(native: Any) -> Iterator[None]:
    """Within it nobody tries for half a minute to reach the scheduler of a cluster object which has ended already."""
    import dask
    from distributed.core import Status

    ended = getattr(getattr(native, "scheduler", None), "status", None) in (Status.closing, Status.closed)
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}) if ended else nullcontext():
        yield


@contextmanager
def last_words(native: Any) -> Iterator[None]:
    """Within it the scheduler of a cluster object that is being closed does not warn of results that go with its workers.

    Dask warns that they "will be recomputed elsewhere", after a script that did all it should; there is no elsewhere.
    """
    workers = tuple(getattr(getattr(native, "scheduler", None), "workers", ()))

    def is_news(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return "caused the cluster to lose" not in text or not any(repr(address) in text for address in workers)

    log = logging.getLogger("distributed.scheduler")
    log.addFilter(is_news)
    try:
        yield
    finally:
        log.removeFilter(is_news)
