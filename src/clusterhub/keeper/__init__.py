"""Clusters in a process of their own: started, found again by name, listed, and cleared away once they are dead.

Importing this imports no Dask: a command that only lists reads files, and answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clusterhub.keeper.collecting import Finding, collect
from clusterhub.keeper.listing import ClusterInfo, Clusters, clusters

if TYPE_CHECKING:
    from clusterhub.backend import Plan
    from clusterhub.keeper.remote import RemoteDeployment
    from clusterhub.spec import Workers

__all__ = ["ClusterInfo", "Clusters", "Finding", "attach", "clusters", "collect", "plan_of", "start"]


async def start(plan: Plan[Any], *, named: bool, kept: bool, target: Workers | None = None) -> RemoteDeployment:
    """See :func:`clusterhub.keeper.opening.start`."""
    from clusterhub.keeper import opening

    return await opening.start(plan, named=named, kept=kept, target=target)


async def attach(name: str) -> RemoteDeployment:
    """See :func:`clusterhub.keeper.opening.attach`."""
    from clusterhub.keeper import opening

    return await opening.attach(name)


def plan_of(name: str) -> Plan[Any]:
    """What a living cluster was started from, secrets hidden. Raises as :func:`attach`."""
    from clusterhub.keeper.finding import living_record
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.wire import plan_from

    return plan_from(living_record(Store.here(), name).plan)
