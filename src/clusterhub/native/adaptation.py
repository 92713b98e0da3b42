"""How many workers the load calls for: up at once, down with patience."""

from __future__ import annotations

from dataclasses import dataclass, field

from clusterhub.spec import Workers


@dataclass
class Adaptation:
    """A target within a range that follows recommendations.

    It rises at once and falls only when ``patience`` recommendations in a row were lower, and then to the highest of
    them: work comes in bursts, and a worker that was let go has to be waited for again.
    """

    limits: Workers
    patience: int = 3
    _lower: list[int] = field(default_factory=list)

    def decide(self, recommended: int, current: int) -> int:
        """The target after this recommendation, where ``current`` is the target so far."""
        wanted = max(self.limits.minimum, min(recommended, self.limits.maximum))
        within = max(self.limits.minimum, min(current, self.limits.maximum))
        if wanted >= within:
            self._lower.clear()
            return wanted
        self._lower.append(wanted)
        if len(self._lower) < self.patience:
            return within
        highest = max(self._lower)
        self._lower.clear()
        return highest
