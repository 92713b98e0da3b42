"""The panel of a living cluster: kept true by a task on the cluster's own loop, which also runs while a cell does.

What is clicked meanwhile waits for that cell: ipykernel (7.4) answers a widget where it was last published, which is the cell's
thread.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from clusterhub._dask.status import Status
from clusterhub.display.panel import Panel, possible
from clusterhub.errors import ClusterGone, ClusterhubError

if TYPE_CHECKING:
    from clusterhub.cluster.asynchronous import AsyncCluster

logger = logging.getLogger(__name__)

REFRESH = 1.0
"""Seconds between two looks."""


class Live:
    """One cluster's panel. It keeps no cluster alive: the registry of widgets holds it for as long as the kernel lives."""

    def __init__(self, cluster: AsyncCluster) -> None:
        assert cluster._starting is not None
        self._cluster = weakref.ref(cluster)
        self._loop = cluster._starting.get_loop()
        self._task: asyncio.Task[Any] | None = None
        self._away = False
        """Whether the cluster did not answer the last time."""
        self.panel = Panel(self._scale, self._adapt)
        cluster._on_closed.append(self._closed)
        self._submit(self._follow())

    def _submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        # From any thread: some kernels handle what is clicked on one of their own, most of them on the main one.
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _follow(self) -> None:
        self._task = asyncio.current_task()
        try:
            while (cluster := self._cluster()) is not None and cluster.status is Status.running:
                await self._look(cluster)
                del cluster
                await asyncio.sleep(REFRESH)
        except Exception as error:
            logger.warning("clusterhub: a panel cannot be kept true any more", exc_info=True)
            self.panel.end(f"not kept up to date any more: {error!r}; show the cluster again for a new one")
            if (cluster := self._cluster()) is not None:
                cluster._live = None

    async def _look(self, cluster: AsyncCluster) -> None:
        try:
            self.panel.show(await cluster.report())
        except ClusterGone as gone:
            self._away = True
            if gone.final:
                self.panel.end(str(gone))
            else:
                self.panel.say(str(gone))
        else:
            if self._away:
                self._away = False
                self.panel.say("")

    def _scale(self, n: int) -> None:
        self._order(lambda cluster: cluster.scale(n))

    def _adapt(self, minimum: int, maximum: int) -> None:
        self._order(lambda cluster: cluster.adapt(minimum, maximum))

    def _order(self, give: Callable[[AsyncCluster], Awaitable[None]]) -> None:
        if (cluster := self._cluster()) is not None and cluster.status is Status.running:
            self._submit(self._given(cluster, give))

    async def _given(self, cluster: AsyncCluster, give: Callable[[AsyncCluster], Awaitable[None]]) -> None:
        try:
            await give(cluster)
        except ClusterhubError as error:
            self.panel.say(str(error))
            return
        self.panel.say("")
        await self._look(cluster)

    def _closed(self) -> None:
        """On the cluster's loop, which may end after this."""
        if self._task is not None:
            self._task.cancel()
        cluster = self._cluster()
        if cluster is not None and cluster._lives_on:
            self.panel.end(f"let go of: it lives on, and clusterhub.attach({cluster.name!r}) finds it")
        else:
            self.panel.end("closed")


def bundle(cluster: AsyncCluster) -> dict[str, Any]:
    """The panel of ``cluster`` as a notebook displays it; empty where there is none to be had, and HTML has to do."""
    if cluster.status is not Status.running or not possible():
        return {}
    if cluster._live is None:
        cluster._live = Live(cluster)
        if cluster._last_report is not None:
            cluster._live.panel.show(cluster._last_report)
    return cluster._live.panel.bundle()
