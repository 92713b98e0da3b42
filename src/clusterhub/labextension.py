"""Factories for dask-labextension, whose sidebar makes clusters from Dask's config, in the process of the Jupyter server.

::

    labextension:
      factory: {module: clusterhub.labextension, class: connect, args: [hal], kwargs: {}}

Without ``args`` its button makes a cluster of each user's default profile. ``class: attach`` with ``args: [eddies]`` shows a
cluster that lives already; closing it in the sidebar leaves it running.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Generator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

from clusterhub import aio
from clusterhub._dask.dashboard import linked_through
from clusterhub.api.connecting import new_name
from clusterhub.profile import resolve

if TYPE_CHECKING:
    from clusterhub.cluster import AsyncCluster
    from clusterhub.cluster.asynchronous import Adapting


class Listed:
    """A cluster as the sidebar lists it: all that ``dask_labextension/manager.py`` (7.0) asks of one.

    It differs from the cluster itself in its address and its link, which are for notebooks: other processes, and a browser.
    """

    def __init__(self, cluster: AsyncCluster) -> None:
        self._cluster = cluster

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._cluster.__await__()
        return self

    @property
    def scheduler_address(self) -> str:
        """What the code that it inserts connects to: the name, by which keys are found and a scheduler that has moved."""
        # Without a process or system of its own it is no cluster that others could find.
        return f"hub://{self._cluster.name}" if self._cluster.outlives_us else self._cluster.scheduler_address

    @property
    def dashboard_link(self) -> str:
        """A link through this Jupyter server: the sidebar's own relay knows hosts and ports, and no secret paths."""
        server = _base_url()
        with linked_through(server) if server is not None else nullcontext():
            return self._cluster.dashboard_link

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's account of its workers, as last heard."""
        return self._cluster.scheduler_info

    def scale(self, n: int) -> Awaitable[None]:
        """As the cluster's own."""
        return self._cluster.scale(n)

    def adapt(self, minimum: int, maximum: int) -> Adapting:
        """As the cluster's own."""
        return self._cluster.adapt(minimum, maximum)

    async def close(self) -> None:
        """As the cluster's own."""
        await self._cluster.close()


def connect(
    profile: str | None = None, *, name: str | None = None, asynchronous: bool = True, **options: Any
) -> Listed:
    """The cluster that ``clusterhub.aio.connect`` makes of the same arguments; it is awaited by the sidebar.

    Without a ``name`` it gets one of its own, so that it lives beside the Jupyter server and not in it, and notebooks find it.
    """
    called = name or new_name(resolve(profile, options).profile)
    return _listed(aio.connect(profile, name=called, **options))


def attach(name: str, *, asynchronous: bool = True) -> Listed:
    """The living cluster of that name; it is awaited by the sidebar."""
    return _listed(aio.attach(name))


def _listed(cluster: AsyncCluster) -> Listed:
    # The sidebar calls a cluster by its type: "eddies 1" says which one it is, "AsyncCluster 1" nothing.
    kind: type[Listed] = type(cluster.name, (Listed,), {})
    return kind(cluster)


def _base_url() -> str | None:
    """The base URL of the Jupyter server that this process is; None where it is none."""
    serverapp = sys.modules.get("jupyter_server.serverapp")
    if serverapp is None or not serverapp.ServerApp.initialized():
        return None
    return str(serverapp.ServerApp.instance().base_url)
