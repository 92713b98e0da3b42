"""Clusters that live already: found by name, listed, and removed once they are dead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from clusterhub import keeper
from clusterhub.api import elsewhere
from clusterhub.api.connecting import NAME, check_name
from clusterhub.api.elsewhere import Sought
from clusterhub.backend import Plan
from clusterhub.errors import ClusterGone, ConfigError
from clusterhub.keeper.discovery import Found, under_way
from clusterhub.keeper.listing import info_of

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster, Opening
    from clusterhub.keeper import ClusterInfo, Clusters


def attach(name: str, *, hold: bool = False) -> Cluster:
    """The living cluster of that name; never makes one. Closing it lets go of it, ``shutdown()`` ends it.

    With ``hold`` it does not end for want of those who made it, as long as this process is attached.

    Raises ConfigError for a name that nobody knows, with those there are, and ClusterGone for a cluster that has ended,
    with why.
    """
    plan, opening = found(name, hold=hold)
    from clusterhub.cluster import Cluster

    return Cluster(plan, opening)


def found(name: str, *, hold: bool = False) -> tuple[Plan[Any], Opening]:
    """What a facade needs to attach to the cluster of that name: the one that is written down in this home, else one that a
    system elsewhere knows, by the name that a person or the system itself gave it. Raises as :func:`attach`."""
    from clusterhub.cluster import Opening

    there = _recorded_or_sought(name)
    if isinstance(there, Plan):
        return there, Opening(partial(keeper.attach, name, hold=hold), owner=False, inline=False)
    return elsewhere.stand_in(name), Opening(partial(there.attach, hold), owner=False, inline=False)


def _recorded_or_sought(name: str) -> Plan[Any] | Sought:
    """The plan of the living cluster that is written down here by that name, or where else it is looked for."""
    try:
        check_name(name)
        return keeper.plan_of(name)
    except (ConfigError, ClusterGone) as error:
        if (sought := elsewhere.sought(name, error)) is not None:
            return sought
        raise


@dataclass(frozen=True)
class Located:
    """A living cluster elsewhere, as its system tells of it, to be attached to."""

    found: Found

    @property
    def info(self) -> ClusterInfo:
        """What is known of it without attaching."""
        return info_of(self.found)

    def attach(self) -> Cluster:
        """The cluster itself."""
        from clusterhub.cluster import Cluster, Opening

        opening = Opening(partial(elsewhere.attached, self.found), owner=False, inline=False)
        return Cluster(elsewhere.stand_in(self.found.name), opening)

    def end(self) -> str:
        """End it, and return one sentence on what was done, once it is."""
        return under_way(partial(elsewhere.end, self.found)).result()


def located(name: str) -> Located | None:
    """The one cluster of that name elsewhere; None where a living one is written down in this home. Raises as :func:`attach`."""
    there = _recorded_or_sought(name)
    return None if isinstance(there, Plan) else Located(there.found())


def end(name: str) -> str:
    """End the cluster of that name, in this home or else elsewhere, and return one sentence on what was done, once it is.

    One in this home that is proven dead is cleared away. Raises ConfigError for a name that nobody knows, ClusterGone where it
    had ended before, and ClusterhubError where it cannot be ended from here.
    """
    from clusterhub.keeper.records import Store

    if isinstance(name, str) and NAME.fullmatch(name) and name in Store.here().names():
        return keeper.end(name)
    at = located(name)
    return keeper.end(name) if at is None else at.end()


def all_elsewhere() -> tuple[list[Located], list[Located], tuple[str, ...]]:
    """All that live elsewhere: those that were made by clusterhub, the others, and what could not be asked."""
    seen = elsewhere.systems().look()
    ours = [Located(one) for one in seen.found if one.sighting.profile]
    others = [Located(one) for one in seen.found if not one.sighting.profile]
    return ours, others, seen.remarks


def clusters() -> Clusters:
    """Every cluster of yours: those written down in this home, as their keepers last told of them, and those that your
    profiles' systems tell of where clusters live elsewhere, each asked for two seconds at most. ``str`` is a table."""
    return keeper.clusters(elsewhere.systems().look)
