"""How many workers the load calls for, where a queue is between asking for them and having them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from clusterhub import Workers

LEAST_DURATION, MOST_DURATION = 10.0, 600.0
"""Seconds in which the work at hand should be done, at least and at most: twice what a job waits in the queue."""
LEAST_PATIENCE, MOST_PATIENCE = 10.0, 300.0
"""Seconds for which fewer workers have to be enough before any are let go, at least and at most: likewise."""


@dataclass
class Following:
    """A target within a range. It rises at once, and falls when less was enough for long, to the most of it."""

    limits: Workers
    _lower_since: float | None = None
    _highest: int = 0

    def duration(self, wait: float) -> float:
        """The seconds in which the work at hand should be done, where a job waits ``wait`` seconds in the queue."""
        return min(max(LEAST_DURATION, 2.0 * wait), MOST_DURATION)

    def decide(self, recommended: int, current: int, wait: float) -> int:
        """The target after this recommendation, where ``current`` is the target so far."""
        wanted = max(self.limits.minimum, min(recommended, self.limits.maximum))
        within = max(self.limits.minimum, min(current, self.limits.maximum))
        if wanted >= within:
            self._lower_since = None
            return wanted
        now = time.monotonic()
        if self._lower_since is None:
            self._lower_since, self._highest = now, wanted
        self._highest = max(self._highest, wanted)
        if now - self._lower_since < min(max(LEAST_PATIENCE, 2.0 * wait), MOST_PATIENCE):
            return within
        self._lower_since = None
        return self._highest
