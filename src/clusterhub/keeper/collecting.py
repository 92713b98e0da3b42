"""Removes what dead clusters left, and only theirs: nothing is ended without proof of death."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clusterhub import registry
from clusterhub.backend import Ref, SupportsCleanup
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.record import End, Record, Unreadable
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, standing


@dataclass(frozen=True, slots=True)
class Finding:
    """One record that a collection looked at."""

    name: str
    verdict: str
    """``removed``, ``would be removed``, ``left alone``, or ``failed``: it is dead, and what it left cannot be removed."""
    reason: str
    ended: tuple[str, ...] = ()
    """Its units that were ended."""


def collect(*, dry_run: bool = False) -> list[Finding]:
    """Remove every cluster that is proven dead, with the units it left; the others are told of and left alone.

    Living ones are not mentioned. A record that cannot be read is left alone: it may belong to a newer clusterhub.
    """
    store, findings = Store.here(), []
    for name in store.names():
        try:
            record = store.read(name)
        except LookupError:
            continue  # it ended while we looked
        except Unreadable as error:
            findings.append(Finding(name, "left alone", str(error)))
            continue
        if (finding := _judged(store, record, dry_run)) is not None:
            findings.append(finding)
    return findings


def _judged(store: Store, record: Record, dry_run: bool) -> Finding | None:
    stands = standing(record, store, ask=True)
    if stands.condition is Condition.UNKNOWN or stands.condition is Condition.STOPPED:
        return Finding(record.name, "left alone", stands.reason)
    if stands.condition is not Condition.DEAD:
        return None
    if dry_run:
        return Finding(record.name, "would be removed", stands.reason)
    try:
        with store.locked(record.name, 5.0):
            again = store.read(record.name)
            if again.uid != record.uid or standing(again, store, ask=True).condition is not Condition.DEAD:
                return None
            return Finding(record.name, "removed", stands.reason, clear(store, again, stands.reason))
    except LookupError:
        return None
    except ClusterhubError as error:
        return Finding(record.name, "failed", f"it is dead, and what it left cannot be removed: {error}")


def clear(store: Store, record: Record, reason: str) -> tuple[str, ...]:
    """Remove a cluster that is proven dead, its name locked by us; the units of it that were ended.

    Raises ClusterhubError where its units cannot be ended; the record stays then, since it is what they are found by.
    """
    ended = tuple(_units_ended(record))
    store.retire(record, End(when=datetime.now(UTC), reason=reason))
    return ended


def _units_ended(record: Record) -> Sequence[str]:
    if not record.ref:
        return ()  # it never came so far as to have any
    backend = registry.backend(record.backend)
    backend.load()
    if not isinstance(backend, SupportsCleanup):
        return ()
    return asyncio.run(backend.clean_up(Ref.model_validate(record.ref), record.uid))
