"""Clusters in a process of their own: started, found again by name, listed, and cleared away once they are dead.

Importing this imports no Dask: a command that only lists reads files, and answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from clusterhub.backend import Document, Plan
    from clusterhub.keeper.collecting import Finding, collect
    from clusterhub.keeper.ending import end
    from clusterhub.keeper.launch import Launch
    from clusterhub.keeper.listing import ClusterInfo, Clusters, clusters, recorded
    from clusterhub.keeper.remote import RemoteDeployment
    from clusterhub.spec import Workers

__all__ = [
    "ClusterInfo",
    "Clusters",
    "Finding",
    "attach",
    "clusters",
    "collect",
    "end",
    "in_advance",
    "plan_of",
    "recorded",
    "start",
]


async def start(
    plan: Plan[Any],
    *,
    named: bool,
    kept: bool,
    target: Workers | None = None,
    launch: Launch | None = None,
    tell: Callable[[str], None] | None = None,
) -> RemoteDeployment:
    """See :func:`clusterhub.keeper.opening.start`."""
    from clusterhub.keeper import opening

    said = {} if tell is None else {"tell": tell}
    return await opening.start(plan, named=named, kept=kept, target=target, launch=launch, **said)


def in_advance(name: str | None) -> Launch | None:
    """A keeper that starts up while its order is still being made; None where a cluster has that name already."""
    from clusterhub.keeper.launch import Launch
    from clusterhub.keeper.records import Store

    store = Store.here()
    if name is not None and store.folder(name).exists():
        return None
    return Launch(name or "(unnamed)", store.own_folder())


def document_of(plan: Plan[Any]) -> Document | None:
    """What would be sent to have the keeper of ``plan`` run as a job of its own; None where it is to live elsewhere."""
    from clusterhub import registry
    from clusterhub.backend import SubmitsKeeper
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.submission import keeper_command

    backend = registry.backend(plan.backend)
    if plan.spec.lifecycle.host != "job" or not isinstance(backend, SubmitsKeeper):
        return None
    return backend.keeper_document(plan, keeper_command(plan, Store.here()))


async def attach(name: str, *, hold: bool = False) -> RemoteDeployment:
    """See :func:`clusterhub.keeper.opening.attach`."""
    from clusterhub.keeper import opening

    return await opening.attach(name, hold=hold)


def plan_of(name: str) -> Plan[Any]:
    """What a living cluster was started from, secrets hidden. Raises as :func:`attach`."""
    from clusterhub.keeper.finding import living_record
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.wire import plan_from

    return plan_from(living_record(Store.here(), name).plan)


_HOMES = {
    "Finding": "collecting",
    "collect": "collecting",
    "end": "ending",
    "ClusterInfo": "listing",
    "Clusters": "listing",
    "clusters": "listing",
    "recorded": "listing",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
