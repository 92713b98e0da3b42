"""Who is meant to be there, who is, and who is gone: what a native manager's workers look like as units."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clusterhub.backend import Unit, UnitState
from clusterhub.errors import Failure

YOUNG = 20.0
"""Seconds: a worker that dies earlier after connecting died young."""


@dataclass
class _Entry:
    """One worker by name, as seen over time; times are Unix times in seconds."""

    launched: float
    changed: float
    address: str | None = None
    last: str = ""
    """The address it had when it was last connected."""
    host: str = ""
    came: bool = False
    ended: str = ""
    note: str = ""


@dataclass
class Roster:
    """The workers of one cluster by name, from repeated observations of the scheduler and of the native manager."""

    startup_timeout: float
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _failures: dict[str, tuple[float, Failure]] = field(default_factory=dict)
    _young: list[str] = field(default_factory=list)
    anybody_came: bool = False
    """Whether any worker ever connected."""

    def observe(
        self,
        workers: Mapping[str, Mapping[str, Any]],
        planned: Collection[str] | None,
        ended: Mapping[str, str],
    ) -> None:
        """Take in the scheduler's ``workers`` by address, the names that are ``planned`` and those that have ``ended``."""
        now = time.time()
        connected = {str(info["name"]): (address, str(info.get("host", ""))) for address, info in workers.items()}
        for name in {*connected, *(planned or ())} - set(self._entries):
            if planned is None:
                self._make_good()
            self._entries[name] = _Entry(launched=now, changed=now)
        for name in list(self._entries):
            if name in connected:
                self._connect(name, *connected[name], now)
            elif planned is not None and name not in planned:
                del self._entries[name]
            else:
                self._disconnect(self._entries[name], ended.get(name, ""), now)

    def _make_good(self) -> None:
        """A new worker of a manager that names no plan replaces the one that was lost first."""
        lost = [name for name, entry in self._entries.items() if entry.came and entry.address is None]
        if lost:
            del self._entries[min(lost, key=lambda name: self._entries[name].changed)]

    def strike(self, names: Collection[str]) -> None:
        """Expect these workers no longer."""
        for name in names:
            self._entries.pop(name, None)

    def _connect(self, name: str, address: str, host: str, now: float) -> None:
        entry = self._entries[name]
        if entry.address != address:
            entry.address = entry.last = address
            entry.host, entry.changed, entry.came, entry.ended = host, now, True, ""
            self.anybody_came = True
        self._failures.pop(name, None)

    def _disconnect(self, entry: _Entry, ended: str, now: float) -> None:
        entry.note = ""
        entry.ended = ended
        if entry.address is not None:
            if now - entry.changed < YOUNG:
                self._young.append(entry.address)
            entry.address, entry.changed = None, now

    @property
    def connected(self) -> dict[str, str]:
        """Addresses of the connected workers by name."""
        return {name: entry.address for name, entry in self._entries.items() if entry.address is not None}

    @property
    def dead(self) -> list[str]:
        """Names whose worker will not come (back) by itself, and has to be launched anew."""
        return [name for name, entry in self._entries.items() if entry.address is None and self._is_dead(entry)]

    def _is_dead(self, entry: _Entry) -> bool:
        return bool(entry.ended) or time.time() - entry.changed > self.startup_timeout

    @property
    def living(self) -> list[str]:
        """Names of the workers that are here or on their way."""
        dead = set(self.dead)
        return [name for name in self._entries if name not in dead]

    @property
    def absent(self) -> list[str]:
        """Names of the workers that are not connected now, whether they were before or not."""
        return [name for name, entry in self._entries.items() if entry.address is None]

    @property
    def missing(self) -> list[str]:
        """Names of the workers that never came, and should have."""
        return [name for name in self.dead if not self._entries[name].came and not self._entries[name].ended]

    @property
    def overdue(self) -> bool:
        """Whether some worker has not come a quarter of its time after it was launched."""
        now = time.time()
        return any(
            now - entry.launched > self.startup_timeout / 4 for entry in self._entries.values() if not entry.came
        )

    @property
    def somebody_lasted(self) -> bool:
        """Whether a worker that is connected now has been for long enough not to die young."""
        now = time.time()
        return any(now - entry.changed >= YOUNG for entry in self._entries.values() if entry.address is not None)

    def died_young(self) -> list[str]:
        """Addresses of the workers that died young since this was last asked."""
        young, self._young = self._young, []
        return young

    def made_good(self) -> None:
        """As many are here as are wanted: earlier failures to start are of the past."""
        self._failures.clear()

    def staying(self, leaving: Collection[str]) -> list[str]:
        """Names of the workers that are here or on their way, without those who are leaving, also if just gone."""
        return [name for name in self.living if self._entries[name].last not in leaving]

    def retired(self, addresses: Collection[str]) -> list[str]:
        """Strike the workers of these addresses off, as they left in order; returns their names.

        Also of those that an observation found gone before their retirement was answered: they are not lost.
        """
        names = [name for name, entry in self._entries.items() if entry.last in addresses]
        for name in names:
            del self._entries[name]
        return names

    def stays(self, addresses: Collection[str], why: str) -> None:
        """Note why the workers of these addresses could not leave."""
        for entry in self._entries.values():
            if entry.address in addresses:
                entry.note = why

    def forget_notes(self) -> None:
        """A new target is a new question: whoever could not leave may be wanted again."""
        for entry in self._entries.values():
            entry.note = ""

    def failed(self, names: Collection[str], failure: Failure) -> None:
        """Note that these workers, or an unnamed one, could not start."""
        for name in names or ("-",):
            self._failures[name] = (time.time(), failure)
            self._entries.pop(name, None)

    def units(self, wanted: int, leaving: Collection[str]) -> Sequence[Unit]:
        """The units: one for each worker, for each start that failed and is not made good, and for each not launched."""
        units = [self._unit(name, entry, leaving) for name, entry in self._entries.items()]
        bad = [
            Unit(name=name, state=UnitState.FAILED, reason=f.summary, source=f.source, since=_at(when), failure=f)
            for name, (when, f) in self._failures.items()
        ]
        missing = wanted - len(units) - len(bad)
        unborn = [Unit(name=f"+{index}", state=UnitState.SUBMITTING) for index in range(1, missing + 1)]
        return [*sorted(units, key=_natural), *bad, *unborn]

    def _unit(self, name: str, entry: _Entry, leaving: Collection[str]) -> Unit:
        state, reason = self._state(entry, leaving)
        workers = (entry.address,) if entry.address is not None else ()
        return Unit(name, state, reason, since=_at(entry.changed), where=entry.host, workers=workers)

    def _state(self, entry: _Entry, leaving: Collection[str]) -> tuple[UnitState, str]:
        if entry.address is not None:
            # Why it could not leave tells more than that it is asked to again.
            return UnitState.CONNECTED, entry.note or ("leaving" if entry.address in leaving else "")
        if entry.came:
            return UnitState.LOST, "its process ended, and is being replaced"
        if self._is_dead(entry):
            waited = round(time.time() - entry.launched)
            return UnitState.MISSING, f"was launched {waited} s ago, but its worker never came"
        return UnitState.RUNNING, ""


def _natural(unit: Unit) -> tuple[bool, int, str]:
    """Numbers before names, and 10 after 9."""
    return (not unit.name.isdigit(), int(unit.name) if unit.name.isdigit() else 0, unit.name)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
