"""The asynchronous front door: ``async with clusterhub.aio.connect("hal", workers=20) as cluster: …``"""

from __future__ import annotations

from typing import Unpack

from clusterhub.api.attaching import found
from clusterhub.api.connecting import prepare
from clusterhub.cluster import AsyncCluster
from clusterhub.profile import Overrides
from clusterhub.spec import ClusterSpec

__all__ = ["AsyncCluster", "attach", "connect"]


def connect(
    profile: str | ClusterSpec | None = None,
    *,
    name: str | None = None,
    keep: bool = False,
    **overrides: Unpack[Overrides],
) -> AsyncCluster:
    """The cluster that ``clusterhub.connect`` would make or find, to be awaited or entered with ``async with``.

    Raises as that does; what can be refused is refused here, before it is awaited.
    """
    prepared = prepare(profile, name, keep, overrides, start=True)
    return AsyncCluster(prepared.plan, prepared.opening())


def attach(name: str, *, hold: bool = False) -> AsyncCluster:
    """The living cluster that ``clusterhub.attach`` would find, to be awaited or entered with ``async with``."""
    return AsyncCluster(*found(name, hold=hold))
