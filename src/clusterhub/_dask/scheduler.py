"""A thin, honest line to a Dask scheduler: short questions, answered in seconds or not at all."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from clusterhub.errors import ClusterGone

if TYPE_CHECKING:
    from distributed import Scheduler, Security

PATIENCE = 10.0
"""Seconds in which a scheduler answers a short question, even a busy one."""


_PICKLING = threading.Lock()
"""cloudpickle's list of modules that travel by value is the process's, and clusters live in several threads."""
DIRECT = frozenset({"identity", "adaptive_target", "workers_to_close", "check_idle"})
"""Operations whose handlers are plain functions that change nothing and answer with plain data."""


class NotRun(ClusterGone):
    """The scheduler answers, and does not run what it was sent."""


class SchedulerLink:
    """Asks one scheduler. Raises ClusterGone where it does not answer within ``patience`` seconds."""

    def __init__(
        self, address: str, security: Security | None, patience: float = PATIENCE, own: Scheduler | None = None
    ) -> None:
        """``own`` is the scheduler itself where it runs on this event loop: its short questions need no connection then."""
        from distributed.core import rpc

        self._own = own
        self.address = address
        self._patience = patience
        args = security.get_connection_args("client") if security is not None else None
        self._rpc = rpc(address, connection_args=args, timeout=patience)

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """What the scheduler answers to one of its operations."""
        if self._own is not None and operation in DIRECT:
            return self._asked_directly(self._own, operation, arguments)
        async with self._told_apart(self._patience):
            return await getattr(self._rpc, operation)(**arguments)

    def _asked_directly(self, scheduler: Scheduler, operation: str, arguments: Mapping[str, Any]) -> Any:
        self._raise_if_ended(scheduler)
        return scheduler.handlers[operation](**arguments)

    def _raise_if_ended(self, scheduler: Scheduler) -> None:
        from distributed.core import Status

        if scheduler.status in (Status.closing, Status.closed, Status.failed):
            raise ClusterGone(f"the scheduler at {self.address} has ended", final=False)

    @asynccontextmanager
    async def _told_apart(self, patience: float | None) -> AsyncIterator[None]:
        """Whatever can go wrong with an answer becomes a ClusterGone that says what it was."""
        from distributed.comm.core import CommClosedError

        try:
            async with asyncio.timeout(patience):
                yield
        except TimeoutError as error:
            raise ClusterGone(
                f"the scheduler at {self.address} did not answer within {patience:g} s", final=False
            ) from error
        except (OSError, CommClosedError) as error:
            raise ClusterGone(f"the scheduler at {self.address} cannot be reached: {error}", final=False) from error

    async def identity(self) -> dict[str, Any]:
        """The scheduler's account of itself and of all its workers (``workers`` by address).

        Not ``Client.scheduler_info()``, whose cached answer can have lost its workers.
        """
        answer: dict[str, Any] = await self.ask("identity", n_workers=-1)
        return answer

    async def names(self) -> Mapping[str, str]:
        """The names of all connected workers by address. Costs next to nothing where the scheduler is our own."""
        if self._own is not None:
            self._raise_if_ended(self._own)
            return {worker.address: str(worker.name) for worker in self._own.workers.values()}
        return {address: str(info["name"]) for address, info in (await self.identity())["workers"].items()}

    async def adaptive_target(self, target_duration: float) -> int:
        """How many workers the present work would keep busy, if each finished its share in ``target_duration`` s."""
        return int(await self.ask("adaptive_target", target_duration=target_duration))

    async def workers_to_close(self, n: int) -> list[str]:
        """Addresses of up to ``n`` workers that would be missed least: idle first, then those with the least data."""
        return list(await self.ask("workers_to_close", n=n, attribute="address"))

    async def idle_since(self) -> float | None:
        """Since when (Unix time, the scheduler's clock) nothing has been processing, or None while something is."""
        answer: float | None = await self.ask("check_idle")
        return answer

    async def stored(self) -> int:
        """Bytes of results that the workers hold, as they last reported."""
        workers = (await self.identity())["workers"].values()
        metrics = [worker.get("metrics", {}) for worker in workers]
        return sum(int(m.get("managed_bytes", 0)) + int(m.get("spilled_bytes", {}).get("disk", 0)) for m in metrics)

    async def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Move the results of ``workers`` (addresses) elsewhere and close them; returns those that really went.

        A worker whose results nobody else can take stays. It takes as long as the data needs to move.
        """
        # By address: by name it finds nobody when names are numbers (distributed#5577).
        async with self._told_apart(None):
            answer = await self._rpc.retire_workers(workers=list(workers), close_workers=True, remove=True)
        return frozenset(answer)

    async def call(self, function: Callable[..., Any], *, along: Sequence[ModuleType] = (), **arguments: Any) -> Any:
        """What ``function(dask_scheduler=…, **arguments)`` returns on the scheduler, which runs the same Python as we do.

        The function travels by value, and with it what it uses of its own module and of those that go ``along``: so the
        scheduler's environment needs no clusterhub.
        """
        from distributed.protocol import deserialize
        from distributed.protocol.serialize import Serialized

        modules = {sys.modules[function.__module__], *along}
        travelling = {"function": _by_value(function, modules), "kwargs": _by_value(arguments, modules)}
        try:
            answer = await self.ask("run_function", **travelling)
        except ClusterGone:
            raise
        except Exception as error:  # what the scheduler itself says to that, as others than ours may
            raise NotRun(f"the scheduler at {self.address} runs no functions: {error}", final=False) from error
        result = answer["result"] if answer["status"] == "OK" else None
        if answer["status"] != "OK":
            why = answer["exception_text"]
            raise NotRun(f"the scheduler at {self.address} could not run {function.__name__}: {why}", final=False)
        return deserialize(result.header, result.frames) if isinstance(result, Serialized) else result

    async def logs(self) -> Mapping[str, str]:
        """The latest log lines of the scheduler (under ``scheduler``) and of every worker (by address)."""
        scheduler = await self.ask("get_logs")
        workers = await self.ask("worker_logs")
        texts = {"scheduler": _lines(scheduler)}
        for address, entries in workers.items():
            # A worker that did not answer is an exception in the scheduler's reply.
            texts[address] = _lines(entries) if isinstance(entries, list | tuple) else f"no log: {entries}"
        return texts

    async def close(self) -> None:
        """Hang up; the scheduler goes on."""
        await self._rpc.close_rpc()


def _lines(entries: Sequence[Sequence[str]]) -> str:
    """Oldest first, as a log is read; Dask answers newest first."""
    return "\n".join(str(entry[-1]) for entry in reversed(entries))


def _by_value(thing: Any, modules: Collection[ModuleType]) -> bytes:
    import cloudpickle

    with _PICKLING:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps(thing))
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)
