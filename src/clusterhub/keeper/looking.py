"""What a keeper sees of its cluster from time to time, for those who only read files: ``clusterhub ls``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from clusterhub._dask.hosting import Hosted
from clusterhub.backend import UnitState
from clusterhub.display import Report
from clusterhub.keeper.record import BEAT, Status
from clusterhub.quantities import Bytes

if TYPE_CHECKING:
    from clusterhub.keeper.process import Keeper

SOON = timedelta(minutes=15)
"""How long before an end it is announced with what goes."""
WAITING = (UnitState.SUBMITTING, UnitState.PENDING)
BAD = (UnitState.FAILED, UnitState.MISSING, UnitState.LOST)


class Look:
    """Looks at one cluster, and knows what of it has been told already."""

    def __init__(self, keeper: Keeper, hosted: Hosted) -> None:
        self._keeper = keeper
        self._hosted = hosted
        self._seen: Status | None = None
        self._told: tuple[Any, ...] | None = None
        self._told_at = 0.0

    async def now(self) -> Look:
        """Look. Raises ClusterGone where there is nothing to see any more."""
        keeper = self._keeper
        units = tuple(await keeper.deployment.units())
        report = Report(
            name=keeper.plan.name,
            profile=keeper.plan.profile,
            backend=keeper.plan.backend,
            unit_noun=keeper.plan.unit_noun,
            target=keeper.target,
            connected=sum(len(unit.workers) for unit in units),
            units=units,
            failure=await keeper.deployment.failure(),
            scheduler_address="",
            dashboard_link="",
            started=keeper.started,
        )
        idle, ends = self._hosted.idle_since(), None
        if found := dict(self._ends(idle)):
            ends = min(found.values())
        self._seen = Status(
            taken=datetime.now(UTC),
            target=(keeper.target.minimum, keeper.target.maximum),
            asked=report.asked,
            connected=report.connected,
            pending=sum(report.counts[state] for state in WAITING),
            failed=sum(report.counts[state] for state in BAD),
            idle_since=idle,
            ends=ends,
            headline=report.headline,
            kept=keeper.lifeline.kept,
            note=self._note(found),
        )
        return self

    def _ends(self, idle: datetime | None) -> Iterator[tuple[str, datetime]]:
        """When it will end, by each of the causes that are known now."""
        lifecycle = self._keeper.plan.spec.lifecycle
        if lifecycle.max_age != "never":
            yield "lifecycle.max_age", self._keeper.started + timedelta(seconds=float(lifecycle.max_age))
        if lifecycle.idle_timeout != "never" and idle is not None:
            yield "lifecycle.idle_timeout", idle + timedelta(seconds=float(lifecycle.idle_timeout))
        if self._keeper.tenure is not None and (ends := self._keeper.tenure.ends) is not None:
            yield "lifecycle.job.walltime", ends
        if (until := self._keeper.lifeline.lingers_until) is not None:
            left = timedelta(seconds=until - asyncio.get_running_loop().time())
            yield "lifecycle.linger", datetime.now(UTC) + left

    def _note(self, ends: dict[str, datetime]) -> str:
        """What goes with it, once its end is near."""
        if not ends:
            return ""
        cause = min(ends, key=lambda key: ends[key])
        left, stored = ends[cause] - datetime.now(UTC), self._hosted.stored()
        if left > SOON or not stored:
            return ""
        return f"ends by {cause}, and {Bytes(stored).about()} of results go with it"

    def worth_telling(self) -> bool:
        """Whether anything changed, or nothing was told for so long that readers would worry."""
        essence = self._essence()
        now = time.monotonic()
        if essence == self._told and now - self._told_at < BEAT:
            return False
        self._told, self._told_at = essence, now
        return True

    def untold(self) -> None:
        """It could not be told after all; so it will be tried again."""
        self._told = None

    def _essence(self) -> tuple[Any, ...]:
        seen = self.status()
        return (
            seen.target,
            seen.asked,
            seen.connected,
            seen.pending,
            seen.failed,
            seen.kept,
            seen.idle_since is None,
            seen.note,
        )

    def status(self) -> Status:
        """What was seen last."""
        assert self._seen is not None  # nobody asks before the first look
        return self._seen
