"""Clusters that do not live in the process that uses them, and the backends whose system knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from clusterhub.backend.deployment import Deployment
from clusterhub.backend.plans import Plan, Ref
from clusterhub.backend.units import Unit
from clusterhub.errors import Failure
from clusterhub.spec import Workers


@runtime_checkable
class Standalone(Deployment, Protocol):
    """A deployment that does not live in the process that uses it, and so can be kept, let go of and found again."""

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from; an attached facade has no other source."""

    @property
    def target(self) -> Workers:
        """How many workers were asked for last, as far as known here."""

    @property
    def started(self) -> datetime:
        """When it was started; with a time zone."""

    @property
    def named(self) -> bool:
        """Whether somebody chose its name: then it outlives its creators for a while, to be found again."""

    @property
    def kept(self) -> bool:
        """Whether it outlives its creators for good."""

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """What ``units`` and ``failure`` say, of one moment; refreshes :attr:`target` and :attr:`kept`."""

    async def keep(self) -> None:
        """From now on it ends only when it is told to, or by its idle timeout or age."""

    async def release(self) -> bool:
        """This process needs it no more: it ends, unless it is kept or other processes hold it.

        Returns whether it ended, and when all of it has.
        """


@dataclass(frozen=True, slots=True)
class Sighting:
    """A living cluster, as its own system tells of it to whoever lists clusters or looks for one."""

    ref: Ref
    """Where to find it; ``ref.name`` is what people call it, the system's own name where nobody chose one."""
    state: Literal["starting", "running", "ending"] = "running"
    reason: str = ""
    """What its owner should know of it: ``made without clusterhub``."""
    profile: str = ""
    """The profile that it was asked for under; empty where that is not known."""
    kept: bool = False
    target: Workers | None = None
    """How many workers were asked for last, where that is known."""
    connected: int | None = None
    """Workers that are connected now, where that is known."""
    created: datetime | None = None
    """With a time zone."""
    idle_since: datetime | None = None
    """Since when nothing has been processing; None where it is busy, or that is not known."""
    ends: datetime | None = None
    """When it will end by itself unless it is used again; None where that is not known, or never."""
    where: str = ""
    """The host or service that it lives on."""
    own_name: str = ""
    """What its system itself calls it, where that is not ``ref.name``: it is found by either."""
    silent: bool = False
    """Whether it could not be asked what it is: ``ref.name`` is its system's name then, and people may know it by another."""
    orphaned: str = ""
    """The proof that nobody needs it and that nobody will end it, in a clause; empty where there is none. ``gc`` ends it, by
    :meth:`SupportsCollection.end_orphan`."""


@runtime_checkable
class Holdable(Standalone, Protocol):
    """A deployment that whoever attached to it can hold, as its creator does: it does not end for want of others then."""

    async def hold(self) -> None:
        """From now on this process holds it, until it releases it, lets go of it, or ends."""


@runtime_checkable
class SupportsAttach(Protocol):
    """A backend whose clusters live elsewhere, in a system that knows of them: they outlive the process that made them.

    It starts :class:`Standalone` deployments, and honours ``Plan.named`` and ``Plan.kept``. ``options`` say which system is
    asked, and as whom.
    """

    async def attach(self, ref: Ref, options: Any) -> Standalone:
        """The living cluster behind ``ref``; raises ClusterGone where there is none."""

    async def discover(self, options: Any) -> Sequence[Sighting]:
        """The clusters of this user that are alive, whoever made them. Raises ClusterhubError where that cannot be told."""


@runtime_checkable
class SupportsEnd(Protocol):
    """A backend that can end a cluster which nobody can attach to yet, or any more: that only starts, or does not answer."""

    async def end(self, ref: Ref, options: Any) -> None:
        """End the cluster behind ``ref``, and return when all of it has ended. Idempotent."""


@runtime_checkable
class SupportsCollection(Protocol):
    """A backend that tells of orphans among its clusters, and ends them."""

    async def end_orphan(self, ref: Ref, options: Any) -> bool:
        """End the cluster behind ``ref`` if the proof still holds at that very moment, and return whether it did, once all of
        it has ended. Raises ClusterhubError where that cannot be done."""
