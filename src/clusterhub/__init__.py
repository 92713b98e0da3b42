"""Name a place, get Dask workers there, keep them, and be told the truth about them.

Everything public is here; importing it costs next to nothing, since each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clusterhub import aio
    from clusterhub.api import attach, check, clusters, connect, plan, profiles
    from clusterhub.backend import (
        CONTRACT,
        Allocation,
        Backend,
        Deployment,
        Document,
        Feature,
        Finding,
        Footprint,
        Holdable,
        HostsScheduler,
        KeeperCommand,
        NoOptions,
        Plan,
        Ref,
        Sighting,
        Standalone,
        SubmitsKeeper,
        SupportsAttach,
        SupportsCleanup,
        SupportsCollection,
        SupportsEnd,
        Unit,
        UnitState,
    )
    from clusterhub.cluster import AsyncCluster, Cluster
    from clusterhub.errors import (
        BackendUnavailable,
        ClusterGone,
        ClusterhubError,
        ConfigError,
        Failure,
        LeftBehind,
        Problem,
        QueueFull,
        SubmitRejected,
        Unsupported,
        WaitTimeout,
        WorkersFailed,
    )
    from clusterhub.native import NativeDeployment
    from clusterhub.profile import Overrides
    from clusterhub.quantities import Bytes, Duration
    from clusterhub.spec import ClusterSpec, Frozen, Worker, Workers

_HOMES = {
    "api": ("attach", "check", "clusters", "connect", "plan", "profiles"),
    "backend": (
        "CONTRACT",
        "Allocation",
        "Backend",
        "Deployment",
        "Document",
        "Feature",
        "Finding",
        "Footprint",
        "Holdable",
        "HostsScheduler",
        "KeeperCommand",
        "NoOptions",
        "Plan",
        "Ref",
        "Sighting",
        "Standalone",
        "SubmitsKeeper",
        "SupportsAttach",
        "SupportsCleanup",
        "SupportsCollection",
        "SupportsEnd",
        "Unit",
        "UnitState",
    ),
    "cluster": ("AsyncCluster", "Cluster"),
    "errors": (
        "BackendUnavailable",
        "ClusterGone",
        "ClusterhubError",
        "ConfigError",
        "Failure",
        "LeftBehind",
        "Problem",
        "QueueFull",
        "SubmitRejected",
        "Unsupported",
        "WaitTimeout",
        "WorkersFailed",
    ),
    "native": ("NativeDeployment",),
    "profile": ("Overrides",),
    "quantities": ("Bytes", "Duration"),
    "spec": ("ClusterSpec", "Frozen", "Worker", "Workers"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CONTRACT",
    "Allocation",
    "AsyncCluster",
    "Backend",
    "BackendUnavailable",
    "Bytes",
    "Cluster",
    "ClusterGone",
    "ClusterSpec",
    "ClusterhubError",
    "ConfigError",
    "Deployment",
    "Document",
    "Duration",
    "Failure",
    "Feature",
    "Finding",
    "Footprint",
    "Frozen",
    "Holdable",
    "HostsScheduler",
    "KeeperCommand",
    "LeftBehind",
    "NativeDeployment",
    "NoOptions",
    "Overrides",
    "Plan",
    "Problem",
    "QueueFull",
    "Ref",
    "Sighting",
    "Standalone",
    "SubmitRejected",
    "SubmitsKeeper",
    "SupportsAttach",
    "SupportsCleanup",
    "SupportsCollection",
    "SupportsEnd",
    "Unit",
    "UnitState",
    "Unsupported",
    "WaitTimeout",
    "Worker",
    "Workers",
    "WorkersFailed",
    "aio",
    "attach",
    "check",
    "clusters",
    "connect",
    "plan",
    "profiles",
]


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        value = getattr(import_module(f"clusterhub.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in ("aio", "testing"):
        # Modules; `testing` is no part of `__all__`, since it needs pytest.
        return import_module(f"clusterhub.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("clusterhub")
    raise AttributeError(f"module 'clusterhub' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "testing", "__version__"])
