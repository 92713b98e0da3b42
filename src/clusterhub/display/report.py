"""What is known of a cluster at one moment: asked, queued, running, connected, failed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from clusterhub.backend import ALIVE, Unit, UnitState
from clusterhub.errors import Failure, WorkersFailed
from clusterhub.spec import Workers

from .table import Column, Table
from .words import age, counted, moment, plural

LONGEST = 40
"""Units that a report lists one by one; what is beyond is counted, those in trouble being listed first."""

_TROUBLE_FIRST = (
    UnitState.FAILED, UnitState.MISSING, UnitState.LOST, UnitState.PENDING,
    UnitState.SUBMITTING, UnitState.RUNNING, UnitState.CONNECTED, UnitState.DONE,
)  # fmt: skip
_TOLD = (
    UnitState.SUBMITTING, UnitState.PENDING, UnitState.RUNNING,
    UnitState.FAILED, UnitState.MISSING, UnitState.LOST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one state that are in it for the same reason."""

    state: UnitState
    reason: str
    source: str
    """The system's own words, of the first unit of the group."""
    number: int
    starts: datetime | None
    """When the system expects to start the first of them, where it says so."""


@dataclass(frozen=True)
class Report:
    """A cluster as last observed; ``str`` is for people, ``to_dict`` for programs, a notebook shows it as a table."""

    name: str
    profile: str
    backend: str
    unit_noun: str
    """What people call one unit: job, pod, process."""
    target: Workers
    connected: int
    """Workers that are connected to the scheduler."""
    units: tuple[Unit, ...]
    failure: Failure | None
    """Why nothing more is launched, or None."""
    scheduler_address: str
    dashboard_link: str
    started: datetime
    """When the cluster was started; with a time zone."""
    support: str | None = None
    remarks: tuple[str, ...] = ()
    """What there is to know besides the states of the units, a sentence each."""
    taken: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When all this was observed; with a time zone."""

    @property
    def counts(self) -> Mapping[UnitState, int]:
        """How many units are in each state; every state is there, also with 0."""
        found = Counter(unit.state for unit in self.units)
        return {state: found[state] for state in UnitState}

    @property
    def asked(self) -> int:
        """The workers that are worked for at present: the target, or within a range what living units are to bring."""
        if not self.target.adapts:
            return self.target.minimum
        coming = sum(unit.expected for unit in self.units if unit.state in ALIVE)
        return min(max(self.target.minimum, self.connected, coming), max(self.target.maximum, self.connected))

    @property
    def groups(self) -> tuple[Group, ...]:
        """The units that are not simply connected or done, those of one state and reason together."""
        found: dict[tuple[UnitState, str], list[Unit]] = {}
        for unit in sorted(self.units, key=lambda unit: _TROUBLE_FIRST.index(unit.state)):
            if unit.state in _TOLD:
                found.setdefault((unit.state, unit.reason), []).append(unit)
        ordered = sorted(found.items(), key=lambda item: _TOLD.index(item[0][0]))
        return tuple(
            Group(
                state=state,
                reason=reason,
                source=next((unit.source for unit in units if unit.source), ""),
                number=len(units),
                starts=min((unit.starts for unit in units if unit.starts), default=None),
            )
            for (state, reason), units in ordered
        )

    @property
    def gravest(self) -> tuple[Group, ...]:
        """The same, those in trouble first: for whoever cannot show them all."""
        return tuple(sorted(self.groups, key=lambda group: _TROUBLE_FIRST.index(group.state)))

    @property
    def headline(self) -> str:
        """One sentence: ``12 of 24 workers connected, 2 jobs pending (Resources), 2 failed (out of memory)``."""
        parts = [self._connected_part(), *self._state_parts()]
        given_up = f"; nothing more is launched: {self.failure.summary}" if self.failure else ""
        return ", ".join(parts) + given_up

    def _connected_part(self) -> str:
        adapting = f" (adapts between {self.target.minimum} and {self.target.maximum})" if self.target.adapts else ""
        if self.asked == 0 and self.connected == 0:
            return f"no workers asked for{adapting}"
        return f"{self.connected} of {counted(max(self.asked, self.connected), 'worker')} connected{adapting}"

    def _asked_part(self) -> str:
        adapting = f" (adapts between {self.target.minimum} and {self.target.maximum})" if self.target.adapts else ""
        return f"{counted(self.asked, 'worker')} asked{adapting}, {self.connected} connected"

    def _state_parts(self) -> Iterator[str]:
        groups = self.groups
        for index, state in enumerate(state for state in _TOLD if any(group.state == state for group in groups)):
            of_state = [group for group in groups if group.state == state]
            number = sum(group.number for group in of_state)
            # The noun once is enough: "2 jobs pending, 3 failed".
            subject = counted(number, self.unit_noun) if index == 0 else str(number)
            yield f"{subject} {state}{self._parenthesis(of_state)}"

    def _parenthesis(self, groups: list[Group]) -> str:
        reasons = [group for group in groups if group.reason]
        words = [group.reason if len(groups) == 1 else f"{group.number} {group.reason}" for group in reasons]
        inner = "; ".join([*([", ".join(words)] if words else []), *self.expected_start(groups)])
        return f" ({inner})" if inner else ""

    def expected_start(self, groups: Iterable[Group]) -> list[str]:
        """``first expected 14:05`` as a list of one, or nothing where the system says nothing."""
        starts = [group.starts for group in groups if group.starts]
        return [f"first expected {moment(min(starts), self.taken)}"] if starts else []

    @property
    def place(self) -> str:
        """``eddies on hal (pbs)``: a bare backend is not named twice."""
        return f"{self.name} on {self.profile}" + ("" if self.profile == self.backend else f" ({self.backend})")

    @property
    def failure_text(self) -> str:
        """The failure as ``WorkersFailed`` tells it, or an empty text."""
        if self.failure is None:
            return ""
        return str(WorkersFailed(self.failure, cluster=self.profile, support=self.support))

    @property
    def table(self) -> Table:
        """Every unit on a row, those in trouble first, the longest-standing first among equals."""
        listed, states = [], []
        for unit in self._listed():
            listed.append(self._row(unit))
            states.append(str(unit.state))
        heads = (self.unit_noun.upper(), "STATE", "SINCE", "WHERE", "WORKERS", "REASON")
        return Table([Column(head) for head in heads], listed, states=states, marked=1)

    def _listed(self) -> list[Unit]:
        ordered = sorted(self.units, key=lambda unit: (_TROUBLE_FIRST.index(unit.state), unit.since))
        return ordered[:LONGEST]

    def _row(self, unit: Unit) -> tuple[str, ...]:
        here = len(unit.workers)
        workers = "-" if not here and unit.state in (UnitState.SUBMITTING, UnitState.PENDING) else (
            str(here) if here == unit.expected else f"{here}/{unit.expected}"
        )  # fmt: skip
        source = "" if unit.source in unit.reason else unit.source
        expected = f"expected {moment(unit.starts, self.taken)}" if unit.starts else ""
        reason = "; ".join(part for part in (unit.reason, source, expected) if part)
        return (unit.name, str(unit.state), age(unit.since, self.taken), unit.where or "-", workers, reason)

    @property
    def unlisted(self) -> str:
        """What the table leaves out: ``and 160 more jobs: 150 connected, 10 done``, or an empty text."""
        rest = len(self.units) - LONGEST
        if rest <= 0:
            return ""
        shown = Counter(unit.state for unit in self._listed())
        left = Counter(self.counts) - shown
        states = ", ".join(f"{left[state]} {state}" for state in UnitState if left[state])
        return f"and {rest} more {self.unit_noun if rest == 1 else plural(self.unit_noun)}: {states}"

    def __str__(self) -> str:
        parts = [f"{self.place}: {self._asked_part()}"]
        if self.units:
            parts += self.table.lines()
        parts += [f"note       {remark}" for remark in self.remarks]
        parts += [self.unlisted, self.failure_text, f"dashboard  {self.dashboard_link}" if self.dashboard_link else ""]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        from .html import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data that ``json.dumps`` takes; times are ISO 8601 with their zone."""
        return {
            "name": self.name,
            "profile": self.profile,
            "backend": self.backend,
            "headline": self.headline,
            "target": {"minimum": self.target.minimum, "maximum": self.target.maximum},
            "asked": self.asked,
            "connected": self.connected,
            "counts": {str(state): number for state, number in self.counts.items()},
            "unit_noun": self.unit_noun,
            "units": [_unit(unit) for unit in self.units],
            "failure": _failure(self.failure),
            "remarks": list(self.remarks),
            "scheduler_address": self.scheduler_address,
            "dashboard_link": self.dashboard_link,
            "started": self.started.isoformat(),
            "taken": self.taken.isoformat(),
            "support": self.support,
        }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    return None if failure is None else {**asdict(failure), "log_tail": list(failure.log_tail)}


def _unit(unit: Unit) -> dict[str, Any]:
    return {
        "name": unit.name,
        "state": str(unit.state),
        "reason": unit.reason,
        "source": unit.source,
        "since": unit.since.isoformat(),
        "where": unit.where,
        "workers": list(unit.workers),
        "expected": unit.expected,
        "starts": unit.starts.isoformat() if unit.starts else None,
        "failure": _failure(unit.failure),
    }
