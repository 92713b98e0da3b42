"""Factories for dask-labextension, whose sidebar makes clusters from Dask's config and calls them with ``asynchronous=True``.

::

    labextension:
      factory: {module: clusterhub.labextension, class: connect, args: [hal], kwargs: {}}

``class: attach`` with ``args: [eddies]`` shows a cluster that lives already; closing it in the sidebar leaves it running.
"""

from __future__ import annotations

from typing import Any

from clusterhub import aio
from clusterhub.cluster import AsyncCluster


def connect(*arguments: Any, asynchronous: bool = True, **options: Any) -> AsyncCluster:
    """The cluster that ``clusterhub.aio.connect`` makes of the same arguments; it is awaited by the sidebar."""
    return aio.connect(*arguments, **options)


def attach(name: str, *, asynchronous: bool = True) -> AsyncCluster:
    """The living cluster of that name; it is awaited by the sidebar."""
    return aio.attach(name)
