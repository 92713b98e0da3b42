"""The line to a cluster whose scheduler runs elsewhere: its caretaker is met and asked over it, and it is watched."""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from clusterhub._dask import draining
from clusterhub._dask.scheduler import NotRun, SchedulerLink
from clusterhub.errors import ClusterGone

if TYPE_CHECKING:
    from distributed import Security

    from clusterhub._dask.caretaker import Caretaker

logger = logging.getLogger(__name__)

CONNECT_PATIENCE = 5.0
"""Seconds in which a scheduler that lives takes a connection."""


REFUSAL_PATIENCE = 2.0
"""Seconds in which who is dead is found to be: a connection to it is refused at once."""


class TooBusy(ClusterGone):
    """Something is there, and says nothing: what lives and is busy, or stopped. Who is dead is refused at once."""


class Line:
    """To one scheduler. Raises ClusterGone where it does not answer."""

    def __init__(self, address: str, security: Security | None, kind: type[Caretaker]) -> None:
        """``kind`` is the caretaker that a cluster of that system needs."""
        self._kind = kind
        self.address = address
        self.security = security
        self.link = SchedulerLink(address, security)
        self.remark = ""
        """Why the cluster has no caretaker; empty where it has one."""
        self.memory: Mapping[str, Any] = {}
        """What the caretaker remembers, as of when it was met."""

    @property
    def attended(self) -> bool:
        """Whether there is a caretaker that understands us."""
        return bool(self.memory)

    async def meet(self, memory: Mapping[str, Any]) -> None:
        """Find the cluster's caretaker, or install one that remembers ``memory``.

        A cluster goes without where the scheduler runs another Python, into which no code of ours can be carried, where it takes
        no functions, or where another version of clusterhub was there before; :attr:`remark` says so.
        """
        from clusterhub._dask import caretaker

        theirs, ours = await self._python(), _python_here()
        if theirs != ours:
            self._without(f"its scheduler runs Python {theirs}, this is {ours}")
            return
        try:
            met = await self._run(caretaker.install, kind=self._kind, memory=dict(memory))
        except NotRun as refused:
            self._without(str(refused))
            return
        if met["version"] != caretaker.VERSION:
            self._without("another version of clusterhub made it")
            return
        self.memory = met["memory"]

    async def recall(self) -> Mapping[str, Any] | None:
        """What a caretaker that is there remembers, and how the cluster fares (``Caretaker.life``); None where there is none."""
        from clusterhub._dask import caretaker

        if await self._python() != _python_here():
            return None
        found: Mapping[str, Any] | None = await self._run(caretaker.recall)
        return found

    async def _run(self, function: Callable[..., Any], **arguments: Any) -> Any:
        from clusterhub._dask import caretaker

        along = (draining, caretaker, sys.modules[self._kind.__module__])
        return await self.link.call(function, along=along, **arguments)

    def _without(self, why: str) -> None:
        self.remark = (
            f"no caretaker of ours could be put into its scheduler ({why}): scaling down may interrupt tasks, and the cluster"
            " ends by close() or by its system's own rules alone"
        )

    async def _python(self) -> str:
        versions = await self.link.ask("versions")
        return ".".join(str(dict(versions["host"])["python"]).split(".")[:2])

    async def tell(self, do: str, **arguments: Any) -> Any:
        """The caretaker's answer."""
        from clusterhub._dask.caretaker import ORDER

        return await self.link.ask(ORDER, call={"do": do, "with": arguments})

    async def close(self) -> None:
        """Hang up."""
        await self.link.close()

    # Whether it is up

    async def _refuses(self, arguments: Mapping[str, Any]) -> bool:
        """Whether it turns down a connection, as nobody does who lives; tried once, which `connect` cannot tell of its many."""
        from distributed.comm.addressing import parse_address
        from distributed.comm.registry import get_backend

        scheme, location = parse_address(self.address)
        try:
            async with asyncio.timeout(REFUSAL_PATIENCE):
                comm = await get_backend(scheme).get_connector().connect(location, **arguments)
        except TimeoutError:
            return False
        except OSError:  # CommClosedError among them
            return True
        comm.abort()
        return False

    async def stay(
        self, token: str, holds: bool, up: Callable[[], None], heard: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Keep a connection to the scheduler, and return when it has broken.

        ``up`` is called once it is there, ``heard`` with whatever its caretaker says. Raises ClusterGone where none can be made.
        """
        from distributed.comm.core import CommClosedError, connect

        from clusterhub._dask.caretaker import ATTEND

        arguments = self.security.get_connection_args("client") if self.security is not None else {}
        try:
            async with asyncio.timeout(CONNECT_PATIENCE):  # its own ends before the other side has said who it is
                comm = await connect(self.address, timeout=0.8 * CONNECT_PATIENCE, **arguments)
        except TimeoutError as error:
            raise TooBusy(
                f"the scheduler at {self.address} cannot be reached: no answer within {CONNECT_PATIENCE:g} s",
                final=False,
            ) from error
        except (OSError, CommClosedError) as error:
            kind = ClusterGone if await self._refuses(arguments) else TooBusy
            raise kind(f"the scheduler at {self.address} cannot be reached: {error}", final=False) from error
        try:
            if self.attended:
                await comm.write({"op": ATTEND, "token": token, "holds": holds, "reply": False})
            up()
            while True:
                said = await comm.read()
                if isinstance(said, Mapping):
                    heard(said)
        except (OSError, CommClosedError):
            return
        finally:
            comm.abort()


def _python_here() -> str:
    return ".".join(platform.python_version_tuple()[:2])


async def ended(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait for its end."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])


def logged(task: asyncio.Task[Any]) -> None:
    """For a task that nobody awaits while it works: what it raised is told at once."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("clusterhub: %s failed", task.get_name(), exc_info=error)
