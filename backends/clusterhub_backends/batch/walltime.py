"""Walltime is planned for: successors are asked for early, connected, and only then the old jobs drained."""

from __future__ import annotations

import time
from collections.abc import Sequence

from clusterhub import UnitState
from clusterhub_backends.batch.roster import Member

LEAST_LEAD, MOST_LEAD = 20.0, 1800.0
"""Seconds before its end at which a job's successor is asked for, at least and at most."""
SHARE = 0.35
"""The largest share of a walltime that is spent on waiting for successors."""
LAST_MOMENT = 12.0
"""Seconds before its end at which a job that could not be drained in time is let go, whatever still runs there."""
DRAIN_SHARE = 0.5
"""The share of the lead that is left to the tasks that run when the successor is there."""


class Succession:
    """Which jobs near their end, and are to be replaced before it."""

    def __init__(self, walltime: float | None) -> None:
        self.walltime = walltime
        self._wait = 0.0

    def waited(self, seconds: float) -> None:
        """A job took so long from its submission to its workers: the next ones may too."""
        self._wait = max(seconds, 0.8 * self._wait)

    @property
    def lead(self) -> float:
        """Seconds before its end at which a job's successor is asked for."""
        if self.walltime is None:
            return 0.0
        wished = max(LEAST_LEAD, 2.0 * self._wait + LAST_MOMENT)
        return min(wished, MOST_LEAD, SHARE * self.walltime)

    def left(self, member: Member) -> float:
        """Seconds until the walltime of a job ends it; infinite where it has none or has not begun."""
        if self.walltime is None or member.runs_since is None:
            return float("inf")
        return member.runs_since + self.walltime - time.monotonic()

    def staying(self, living: Sequence[Member]) -> list[Member]:
        """Those of the living that do not near their end: the others need a successor."""
        return [member for member in living if self.left(member) > self.lead]

    def to_drain(self, living: Sequence[Member], wanted: int) -> list[Member]:
        """Those that near their end and have a successor that is connected; or whose last moments have come."""
        ending = sorted((m for m in living if self.left(m) <= self.lead), key=self.left)
        connected = sum(m.state is UnitState.CONNECTED and self.left(m) > self.lead for m in living)
        spare = max(0, connected + len(ending) - wanted)
        late = [m for m in ending if self.left(m) <= DRAIN_SHARE * self.lead]
        chosen = ending[:spare]
        return chosen + [m for m in late if m not in chosen]

    def patience(self, members: Sequence[Member]) -> float:
        """Seconds that tasks may still run there."""
        return max(0.0, min((self.left(member) for member in members), default=0.0) - LAST_MOMENT)
