"""One living cluster, as everything that uses it knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from clusterhub.backend.plans import Ref
from clusterhub.backend.units import Unit
from clusterhub.errors import Failure

if TYPE_CHECKING:
    from distributed import Scheduler, Security


class Deployment(Protocol):
    """One living cluster. Every coroutine runs on the loop it was started on; none blocks it.

    The deployment keeps its target by itself: after :meth:`scale` or :meth:`adapt` returns, lost workers are replaced and
    failed starts tried again, until it is told otherwise or gives up and says why in :meth:`failure`.
    """

    @property
    def native(self) -> Any:
        """The native manager's object, or None where there is none; the way out, and no part of the guarantees."""

    @property
    def ref(self) -> Ref:
        """Where to find it again."""

    @property
    def scheduler_address(self) -> str:
        """The address that clients connect to; known as soon as the deployment exists."""

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in, or None for an open scheduler."""

    @property
    def dashboard_link(self) -> str:
        """A link to the dashboard that works from here, or an empty text."""

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target and stop adapting. Returns once the target is set, not once it is reached.

        Going down loses no result: whole units are drained first, and what cannot go is told in :meth:`units`.
        """

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load between ``minimum`` and ``maximum`` workers."""

    async def units(self) -> Sequence[Unit]:
        """Every living unit, and those that ended badly and were not yet made good."""

    async def failure(self) -> Failure | None:
        """Why nothing more is launched, or None while the target is still being worked on."""

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The logs by name: of the scheduler and every unit, or of one unit. KeyError for an unknown one."""

    async def close(self, *, shutdown: bool = True) -> None:
        """End everything that this deployment started; with ``shutdown=False`` only let go of it. Idempotent."""


@runtime_checkable
class HostsScheduler(Deployment, Protocol):
    """A deployment whose scheduler runs in the process that started it. A backend that offers ``Feature.HOST`` starts such
    ones: their cluster can then live in a keeper, which answers through that scheduler."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler itself."""


@runtime_checkable
class Remarks(Protocol):
    """A deployment that has more to tell than the states of its units."""

    async def remarks(self) -> Sequence[str]:
        """What whoever looks at the cluster should know, a sentence each: ``task x is longer than any job``."""
