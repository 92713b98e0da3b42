"""When to give up: the same trouble too often in a row. Everything else is tried again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import StrEnum

from clusterhub.errors import Failure

LIKE_FAILURES = 3
"""How often in a row the same may go wrong before nothing more is launched."""


class Trouble(StrEnum):
    """What can go wrong again and again; each kind is counted, and forgiven, on its own."""

    START = "workers cannot be started"
    MISSING = "workers are started and never come"
    YOUNG = "workers die soon after they came"
    NAMES = "workers are not called what they were planned as"
    LOOP = "the control loop itself fails"


@dataclass
class Verdict:
    """Counts troubles, and says which of them has come too often."""

    _counts: dict[Trouble, int] = field(default_factory=dict)
    _failures: dict[Trouble, Failure] = field(default_factory=dict)

    @property
    def failure(self) -> Failure | None:
        """The trouble that came too often, or None."""
        return next(iter(self._failures.values()), None)

    def blame(self, trouble: Trouble, failure: Failure, count: int = 1, limit: int = LIKE_FAILURES) -> None:
        """Count ``trouble``; from ``limit`` times in a row on it is the failure."""
        total = self._counts[trouble] = self._counts.get(trouble, 0) + count
        if total >= limit:
            self._failures[trouble] = replace(failure, count=total)

    def forgive(self, *troubles: Trouble) -> None:
        """These went well: what went wrong before was in passing."""
        for trouble in troubles:
            self._counts.pop(trouble, None)
            self._failures.pop(trouble, None)

    def forgive_all(self) -> None:
        """Whoever asks again wants it tried again."""
        self.forgive(*Trouble)


@dataclass
class Idleness:
    """How long nothing was processing, by our own clock: the scheduler's may differ from it by minutes."""

    _since: float | None = None
    _began: float = 0.0

    def seconds(self, idle_since: float | None, *, awaited: bool) -> float:
        """Seconds of idleness so far; ``idle_since`` is the scheduler's word for when it began, None while it works.

        While workers are ``awaited`` the cluster is not idle, it has not begun: a queue may take longer than any timeout.
        """
        now = time.monotonic()
        if idle_since is None or awaited:
            self._since = None
            return 0.0
        if idle_since != self._since:
            self._since, self._began = idle_since, now
        return now - self._began
