"""The number of workers that is asked for: checked in one place, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusterhub.backend import Plan
from clusterhub.errors import ConfigError, Problem
from clusterhub.profile import foreign_argument
from clusterhub.spec import LARGEST_COUNT, Workers


class Targets:
    """The target of one cluster, and what it may become within its profile's limits."""

    def __init__(self, plan: Plan[Any]) -> None:
        self._limit = plan.spec.limits.workers
        self._limit_origin = next((leaf.origin for leaf in plan.values if leaf.path == "limits.workers"), "")
        self._profile = plan.spec.workers
        self.now = plan.spec.workers

    def fixed(self, n: object, foreign: Mapping[str, Any]) -> Workers:
        """The target of ``scale(n)``."""
        self._refuse_foreign("scale", foreign)
        return Workers.exactly(self._count("scale", "n", n))

    def range(self, minimum: object, maximum: object, foreign: Mapping[str, Any]) -> Workers:
        """The target of ``adapt(minimum, maximum)``; what is not given comes from the profile, stretched to hold it."""
        self._refuse_foreign("adapt", foreign)
        low = self._count("adapt", "minimum", minimum) if minimum is not None else None
        high = self._count("adapt", "maximum", maximum) if maximum is not None else None
        if low is not None and high is not None and low > high:
            raise _wrong("adapt", f"minimum = {low}", f"is more than maximum = {high}; swap them?")
        if low is None:
            low = self._profile.minimum if self._profile.adapts else 0
            low = low if high is None else min(low, high)
        if high is None:
            high = max(self._profile.maximum, low)
        return Workers(minimum=low, maximum=high)

    def awaited(self, n: object) -> int:
        """How many workers ``wait(n)`` waits for. Raises ConfigError for more than will ever come."""
        if n is None:
            return self.now.minimum
        count = self._count("wait", "n", n)
        if count > self.now.maximum:
            raise _wrong("wait", f"n = {count}", f"only {self.now.maximum} are asked for; scale({count}) first")
        return count

    def _count(self, call: str, argument: str, n: object) -> int:
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise _wrong(call, f"{argument} = {n!r}", "must be a whole number of workers")
        count: int = n.__index__()  # numpy's integers count as well
        if count < 0:
            raise _wrong(call, f"{argument} = {count}", "must be 0 or more")
        if count > LARGEST_COUNT:
            raise _wrong(call, f"{argument} = {count}", f"must be {LARGEST_COUNT} or fewer")
        if self._limit is not None and count > self._limit:
            where = f", set at {self._limit_origin}" if self._limit_origin else ""
            raise _wrong(call, f"{argument} = {count}", f"is over the limit of {self._limit} (limits.workers{where})")
        return count

    def _refuse_foreign(self, call: str, foreign: Mapping[str, Any]) -> None:
        if foreign:
            raise ConfigError(
                Problem(f"{call}()", f"{word} = {value!r}", foreign_argument(word, value))
                for word, value in foreign.items()
            )


def _wrong(call: str, written: str, message: str) -> ConfigError:
    return ConfigError.of(message, origin=f"{call}()", path=written)
