"""Walltime is planned for: successors are asked for early, connected, and only then the old jobs drained."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from clusterhub import UnitState
from clusterhub_backends.batch.roster import Member

LEAST_LEAD, MOST_LEAD = 120.0, 1800.0
"""Seconds before its end at which a job's successor is asked for, at least and at most."""
SHARE = 0.35
"""The largest share of a walltime that is spent on waiting for successors."""
LEAST_MOMENT, MOST_MOMENT, MOMENT_SHARE = 12.0, 45.0, 0.05
"""Seconds before its end at which a job that could not be drained in time is let go, and as a share of its walltime."""
LIFETIME_MARGIN = 25.0
"""Seconds before its end at which a worker leaves by itself, should nobody have let it go: after the last moment."""
LATE_SHARE, LATE_MOST = 0.5, 300.0
"""When a job is drained though no successor has come: the share of the lead, and seconds, that are left then."""
ROUNDS = 4
"""In how many rounds jobs go where a full queue has no place for a successor before one of them has gone."""


class Succession:
    """Which jobs near their end, and are to be replaced before it."""

    def __init__(self, walltime: float | None) -> None:
        self._asked = walltime
        self.wait = 0.0
        """Seconds that a job takes from its submission to its workers, as lately seen."""

    def waited(self, seconds: float) -> None:
        """A job took so long from its submission to its workers: the next ones may too."""
        self.wait = max(seconds, 0.8 * self.wait)

    def walltime(self, member: Member) -> float | None:
        """Seconds for which it may run: as the system granted them, else as was asked for."""
        return member.job.limit if member.job is not None and member.job.limit is not None else self._asked

    def lead(self, member: Member) -> float:
        """Seconds before its end at which its successor is asked for."""
        walltime = self.walltime(member)
        if walltime is None:
            return 0.0
        return min(max(LEAST_LEAD, 2.0 * self.wait + 60.0), MOST_LEAD, SHARE * walltime)

    def last_moment(self, member: Member) -> float:
        """Seconds before its end at which it is let go, whatever still runs there."""
        walltime = self.walltime(member)
        return min(max(LEAST_MOMENT, MOMENT_SHARE * walltime), MOST_MOMENT) if walltime is not None else 0.0

    def usable(self, member: Member) -> float | None:
        """Seconds that a job has for its tasks; None where it may run for ever."""
        walltime = self.walltime(member)
        return walltime - self.lead(member) if walltime is not None else None

    def left(self, member: Member) -> float:
        """Seconds until the walltime of a job ends it; infinite where it has none or has not begun."""
        walltime = self.walltime(member)
        if walltime is None or member.runs_since is None:
            return math.inf
        return member.runs_since + walltime - time.monotonic()

    def ends_soon(self, member: Member) -> bool:
        """Whether it needs a successor."""
        return self.left(member) <= self.lead(member)

    def is_last_moment(self, member: Member) -> bool:
        """Whether waiting for it any longer would leave it to be killed."""
        return self.left(member) <= self.last_moment(member)

    def patience(self, member: Member) -> float:
        """Seconds that tasks may still run there."""
        return max(0.0, self.left(member) - self.last_moment(member))

    def to_drain(
        self, living: Sequence[Member], ending: Sequence[Member], wanted: int, *, crowded: bool
    ) -> list[Member]:
        """Those of ``ending`` whose successors are connected, and those whose time is up.

        Where it is ``crowded`` no successor can come before one of them has gone: then a share of them goes first, so that
        there is somebody left to take its results.
        """
        nearest = sorted(ending, key=self.left)
        others = sum(member.state is UnitState.CONNECTED for member in living if member not in ending)
        spare = max(0, others + len(nearest) - wanted)
        if crowded and not spare and len(nearest) > 1:
            spare = math.ceil(len(nearest) / ROUNDS)
        late = [m for m in nearest if self.left(m) <= min(LATE_SHARE * self.lead(m), LATE_MOST)]
        chosen = nearest[:spare]
        return chosen + [member for member in late if member not in chosen]
