"""What keeps one thing from running, in our words, and whether waiting may help."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from clusterhub import Failure

PATIENCE = 20.0
"""Seconds that a trouble which may pass by itself has for that: a start has to fail with its cause within 30, and takes some
before its first trouble is seen."""
FOR_EVER = float("inf")
_VERBS = frozenset({"needs", "finds", "is", "was", "waits", "cannot", "ended", "runs", "must"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not run, or does not stay."""

    words: str
    """What it is, a clause that may lack its subject, which is the pod: ``needs 4 cores, …``, ``image x cannot be pulled: …``."""
    source: str = ""
    """The system's own words."""
    because: str = ""
    """The key of a profile that decides it."""
    next_step: str = ""
    patience: float = PATIENCE
    """Seconds for which it may pass by itself: none at all for what does not, for ever for what is no fault."""
    since: datetime | None = None
    exit_code: int | None = None
    ended: bool = False
    """Whether something had begun, and ended; else it has not begun."""
    temporary: bool = False
    """Whether it passes for one whose like has come before: others have what is lacking, and may give it back, or nodes take
    nothing for a while."""

    def is_final(self, now: datetime) -> bool:
        """Whether nothing more is to be expected of waiting."""
        if self.patience == FOR_EVER:
            return False
        return self.patience <= 0 or (self.since is not None and now - self.since >= timedelta(seconds=self.patience))

    @property
    def _lacks_subject(self) -> bool:
        return self.words.partition(" ")[0].rstrip(",") in _VERBS

    def of(self, subject: str) -> str:
        """The words with a subject: ``one needs 4 cores, …``, ``its pod: image x cannot be pulled: …``."""
        return f"{subject} {self.words}" if self._lacks_subject else f"{subject}: {self.words}"

    def failure(self, unit: str, *, count: int = 1, subject: str = "") -> Failure:
        """The same as evidence, for a unit of that name; without a ``subject`` for any of many."""
        began = self.ended or self.words.startswith("runs")
        return Failure(
            summary=self.of(subject or "one") if subject or self._lacks_subject else self.words,
            unit=unit if began else "",  # what has not begun did not end either
            exit_code=self.exit_code,
            source=self.source,
            because=self.because,
            next_step=self.next_step,
            count=count if began else 1,
        )
