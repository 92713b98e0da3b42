"""How long a keeper may live that is a job itself: it ends its cluster in good order some time before the system ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from clusterhub.backend import Backend, Leaf, Plan
from clusterhub.display.words import moment
from clusterhub.quantities import Duration
from clusterhub.spec import ClusterSpec

SHARE = 0.1
"""The part of a walltime that is left to the end of the cluster, within the following."""
LEAST, MOST = timedelta(seconds=15), timedelta(minutes=2)
"""To cancel the workers' jobs takes a second where all is well, and a busy server is asked again for a minute."""
KEY = "lifecycle.job.walltime"


class Tenure:
    """The time that the keeper's job has."""

    def __init__(self, backend: Backend[Any], spec: ClusterSpec) -> None:
        self._backend = backend
        self._spec = spec
        self._began = datetime.now(UTC)
        walltime, self._key = spec.keeper_walltime
        self._job_ends = self._began + timedelta(seconds=float(walltime)) if walltime is not None else None

    async def look(self) -> None:
        """Ask the system: what was asked for may have been rounded, changed since, or left to a site's default."""
        allocation = await asyncio.to_thread(self._backend.allocation, with_end=True)
        if allocation is not None and allocation.ends is not None:
            self._job_ends = allocation.ends

    @property
    def ends(self) -> datetime | None:
        """When the cluster ends for want of a host; None where the job has no end that is known."""
        return None if self._job_ends is None else self._job_ends - margin(self._job_ends - self._began)

    async def over(self) -> str:
        """Why the cluster is to end now; empty while there is time, also where the system has granted more meanwhile."""
        if self.ends is None or datetime.now(UTC) < self.ends:
            return ""
        await self.look()
        now = datetime.now(UTC)
        if now < self.ends:
            return ""
        return f"its keeper's job ends at {moment(self._job_ends or now, now)} by its walltime; {KEY} asks for longer"


def margin(tenure: timedelta) -> timedelta:
    """How long before the end of its job a cluster ends."""
    return min(MOST, max(LEAST, SHARE * tenure))


def foretold(plan: Plan[Any], *, kept: bool) -> str:
    """That the keeper's job ends before what was asked for of the cluster; empty where that is not so, or not known."""
    walltime, key = plan.spec.keeper_walltime
    age = plan.spec.lifecycle.max_age
    if walltime is None or not (kept or _was_said(plan.values, "lifecycle.max_age")):
        return ""
    if age != "never" and age <= walltime:
        return ""
    longer = "is to live until it is told to end" if age == "never" else f"may live for {age} (lifecycle.max_age)"
    asks = "" if key == KEY else f"; {KEY} asks for longer"
    return f"it {longer}, and ends with its keeper's job, after {Duration(walltime)} ({key}){asks}"


def _was_said(values: Iterable[Leaf], path: str) -> bool:
    return any(leaf.path == path and not leaf.is_default for leaf in values)
