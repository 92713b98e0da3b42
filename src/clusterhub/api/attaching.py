"""Clusters that live already: found by name, listed, and removed once they are dead."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from clusterhub import keeper
from clusterhub.api import elsewhere
from clusterhub.api.connecting import check_name
from clusterhub.backend import Plan
from clusterhub.errors import ClusterGone, ConfigError

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster, Opening
    from clusterhub.keeper import Clusters


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

    try:
        check_name(name)
        plan = keeper.plan_of(name)
    except (ConfigError, ClusterGone) as error:
        sought = elsewhere.sought(name, error)
        if sought is None:
            raise
        return sought.plan, Opening(partial(sought.attach, hold), owner=False, inline=False)
    return plan, Opening(partial(keeper.attach, name, hold=hold), owner=False, inline=False)


def clusters() -> Clusters:
    """Every cluster of yours: those written down in this home, as their keepers last told of them, and those that your
    profiles' systems tell of where clusters live elsewhere, each asked for two seconds at most. ``str`` is a table."""
    return keeper.clusters(elsewhere.systems().look)
