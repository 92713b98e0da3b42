"""What is seen of a cluster at one moment, and the units that this comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from clusterhub import Unit, UnitState, Workers


@dataclass(frozen=True, slots=True)
class Seen:
    """One connected worker."""

    name: str
    host: str
    stays: str = ""
    """Why it is still here although it is to leave; empty where it is not to."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A cluster as its scheduler has it."""

    workers: Mapping[str, Seen]
    """By address."""
    wanted: int
    """How many the gateway works for at present."""
    target: Workers
    limit: int | None
    kept: bool

    @classmethod
    def of(cls, told: Mapping[str, Any], last: Workers) -> Self:
        """From what its caretaker tells; ``last`` is the target where it was told none."""
        workers = {
            address: Seen(name=each["name"], host=each["host"], stays=each["stays"])
            for address, each in told["workers"].items()
        }
        target = _target(told, last)
        wanted = int(told["count"]) if target.adapts else target.minimum
        return cls(workers, wanted, target, told["limit"], bool(told["kept"]))

    @classmethod
    def bare(cls, workers: Mapping[str, Mapping[str, Any]], last: Workers, limit: int | None, kept: bool) -> Self:
        """From the scheduler's own account of its ``workers``, where it has no caretaker."""
        seen = {address: Seen(name=str(each["name"]), host=str(each["host"])) for address, each in workers.items()}
        return cls(seen, max(last.minimum, len(seen)) if last.adapts else last.minimum, last, limit, kept)


def _target(told: Mapping[str, Any], last: Workers) -> Workers:
    """What was asked for, where the gateway still works for that; else somebody has told the gateway itself another number."""
    asked, limit, span = told["asked"], told["limit"], told["range"]
    if asked is not None:
        capped = [end if limit is None else min(end, limit) for end in asked]
        if (span is None and asked[0] == asked[1] and told["count"] in (asked[0], capped[0])) or (
            span is not None and asked[0] != asked[1] and span[1] in (asked[1], capped[1])
        ):
            return Workers(minimum=asked[0], maximum=asked[1])
    if span is None:
        return Workers.exactly(int(told["count"]))
    return Workers(minimum=span[0], maximum=max(span[0], span[1] if span[1] is not None else last.maximum))


def units_of(sight: Sight) -> Sequence[Unit]:
    """One unit for each worker that is connected or wanted. Of those that are wanted the gateway tells nothing but the number."""
    units = [
        Unit(worker.name, UnitState.CONNECTED, worker.stays, where=worker.host, workers=(address,))
        for address, worker in sight.workers.items()
    ]
    allowed = sight.wanted if sight.limit is None else min(sight.wanted, sight.limit)
    staying = sum(not worker.stays for worker in sight.workers.values())
    for index in range(max(0, sight.wanted - staying)):
        beyond = staying + index >= allowed
        reason = (
            f"over the gateway's limit of {sight.limit} workers a cluster"
            if beyond
            else "the gateway was asked for it, and does not tell how far it is"
        )
        units.append(Unit(f"+{index + 1}", UnitState.PENDING, reason))
    return units
