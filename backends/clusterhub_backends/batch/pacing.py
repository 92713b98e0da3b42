"""How often the queue is asked: quickly after a change, slowly when all is calm, and less where it does not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

QUICKEST, SLOWEST, GROWTH = 1.0, 20.0, 1.3
"""Seconds between two listings: after a change, when nothing has changed for long; and how one becomes the other."""


@dataclass
class Pace:
    """When to list the queue next."""

    _pause: float = QUICKEST
    _last: float = field(default=-SLOWEST)

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() - self._last >= self._pause

    def listed(self, *, changed: bool) -> None:
        """It was listed just now, and something was new, or nothing."""
        self._last = time.monotonic()
        self._pause = QUICKEST if changed else min(self._pause * GROWTH, SLOWEST)

    def hurry(self) -> None:
        """Something happened that the queue tells of, or soon will."""
        self._pause = QUICKEST


@dataclass
class Backoff:
    """When to try again what failed: after twice as long each time."""

    first: float = 1.0
    most: float = 60.0
    _failures: int = 0
    _until: float = 0.0

    @property
    def over(self) -> bool:
        """Whether it may be tried."""
        return time.monotonic() >= self._until

    def failed(self) -> None:
        """It failed once more."""
        self._until = time.monotonic() + min(self.first * 2**self._failures, self.most)
        self._failures = min(self._failures + 1, 32)

    def worked(self) -> None:
        """It worked."""
        self._failures, self._until = 0, 0.0
