"""The asynchronous front door: ``async with clusterhub.aio.connect("hal", workers=20) as cluster: …``"""

from __future__ import annotations

from typing import Unpack

from clusterhub.api.connecting import prepare, refuse_unusable
from clusterhub.cluster import AsyncCluster
from clusterhub.profile import Overrides
from clusterhub.spec import ClusterSpec

__all__ = ["AsyncCluster", "connect"]


def connect(
    profile: str | ClusterSpec | None = None,
    *,
    name: str | None = None,
    keep: bool = False,
    **overrides: Unpack[Overrides],
) -> AsyncCluster:
    """The cluster that ``clusterhub.connect`` would make, to be awaited or entered with ``async with``.

    Raises as that does; what can be refused is refused here, before it is awaited.
    """
    resolved, plan = prepare(profile, name, keep, overrides)
    refuse_unusable(resolved)
    return AsyncCluster(resolved, plan)
