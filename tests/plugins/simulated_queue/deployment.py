"""A cluster of the simulated system as one of its users has it: held, let go of, found again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from clusterhub import ClusterGone, Failure, Plan, Ref, Unit, Workers
from simulated_queue import system
from simulated_queue.cluster import SimulatedCluster


class SimulatedDeployment:
    """One user's hold on a cluster. As long as one has it, it lives; a kept one lives longer."""

    native = None
    security = None
    dashboard_link = ""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self._closed = False

    @classmethod
    async def start(cls, plan: Plan[Any]) -> Self:
        """A new cluster, held by whoever started it."""
        starting = asyncio.ensure_future(system.asked(system.started(plan)))
        try:
            cluster = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await system.asked(system.ended(await starting))
            raise
        deployment = cls(cluster)
        await deployment.hold()
        return deployment

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from."""
        return self.cluster.plan

    @property
    def ref(self) -> Ref:
        """Where to find it again."""
        return self.cluster.ref

    @property
    def scheduler_address(self) -> str:
        """A TCP address on loopback."""
        return self.cluster.scheduler_address

    @property
    def target(self) -> Workers:
        """How many workers were asked for last, by whomever."""
        return self.cluster.target

    @property
    def started(self) -> datetime:
        """When it was started."""
        return self.cluster.started

    @property
    def named(self) -> bool:
        """Whether somebody chose its name."""
        return self.plan.named

    @property
    def kept(self) -> bool:
        """Whether it outlives its users."""
        return self.cluster.kept

    async def scale(self, n: int) -> None:
        """Set the target."""
        await system.asked(self._living().scale(n))

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Set the range."""
        await system.asked(self._living().adapt(minimum, maximum))

    async def units(self) -> Sequence[Unit]:
        """Its jobs, and those that a full queue does not take yet."""
        return await system.asked(self._living().units())

    async def failure(self) -> Failure | None:
        """Why nothing more is submitted."""
        return await system.asked(self._living().failure())

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """Both, of one moment."""
        return await system.asked(self._living().observe())

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The scheduler's log, and each job's."""
        return await system.asked(self._living().logs(unit))

    async def hold(self) -> None:
        """It lives on as long as this user has it."""
        self._living().holders.add(self)

    async def keep(self) -> None:
        """It lives on when all its users are gone."""
        self._living().kept = True

    async def release(self) -> bool:
        """Need it no more. Whether it ended."""
        if self._closed:
            return False
        self._closed = True
        self.cluster.holders.discard(self)
        if self.kept or self.cluster.holders:
            return False
        await system.asked(system.ended(self.cluster))
        return True

    async def close(self, *, shutdown: bool = True) -> None:
        """End it for all, or only let go of it."""
        if self._closed:
            return
        self._closed = True
        self.cluster.holders.discard(self)
        if shutdown:
            await system.asked(system.ended(self.cluster))

    def _living(self) -> SimulatedCluster:
        if self._closed or self.cluster.closed:
            raise ClusterGone(f"cluster {self.plan.name} has been closed")
        return self.cluster
