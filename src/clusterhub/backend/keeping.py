"""What a backend can do for clusters in a keeper: clear away after one, and run one as a unit of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from clusterhub.backend.plans import Document, Plan, Ref
from clusterhub.backend.units import Unit


@runtime_checkable
class SupportsCleanup(Protocol):
    """A backend whose units can outlive a keeper that was killed."""

    async def clean_up(self, ref: Ref, uid: str) -> Sequence[str]:
        """End what is left of the cluster of that uid, and nothing else; the names of the units that were ended."""


@dataclass(frozen=True, slots=True)
class KeeperCommand:
    """What starts a keeper on a node, in the working directory of whoever wants the cluster."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it needs, and nothing secret: scripts can be read by others."""


@runtime_checkable
class SubmitsKeeper(SupportsCleanup, Protocol):
    """A backend whose system can run a cluster's keeper as a unit of its own, for ``lifecycle.host: job``.

    That unit is found by the cluster's uid, by any process and from any host, as ``clean_up`` finds the others: so it is
    never submitted twice, and one that nobody waits for any more can be ended. ``unit`` is the system's name for it, where
    that is known: the quicker way to the same.
    """

    def keeper_document(self, plan: Plan[Any], command: KeeperCommand) -> Document:
        """What would be sent to start ``command``, exactly. Pure."""

    async def submit_keeper(self, plan: Plan[Any], command: KeeperCommand) -> str:
        """Send it, and return the system's name for the unit. One whose answer was lost is found, and not sent again.

        Raises SubmitRejected with the key that decides it, QueueFull, and ClusterhubError where it is not known whether the
        system took it.
        """

    async def keeper_unit(self, plan: Plan[Any], unit: str = "") -> Unit | None:
        """The unit as the system tells of it now, with ``failure`` where it has ended; None where it knows no such unit.

        Raises ClusterhubError where the system does not answer.
        """

    async def end_keeper(self, plan: Plan[Any], unit: str = "") -> None:
        """Have the system end it, softly, as whoever cancels a unit by hand does. Idempotent. Raises as :meth:`keeper_unit`."""

    def addresses(self, address: str) -> Sequence[str]:
        """The addresses of this host at which others may reach what listens at ``address``, the likeliest first."""
