"""What lives: a list of clusters from their records, read from files alone, so that fifty of them take no second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clusterhub.display import Column, Table, age
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.asking import waited_for
from clusterhub.keeper.discovery import Found, Seen
from clusterhub.keeper.record import Record, Status, Unreadable
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, standing

AS_FAR = ", as far as could be asked"
"""What is added to "none" where there may be more."""


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """One cluster, as its keeper last told of it; ``state`` says whether that can be relied on."""

    name: str
    profile: str
    backend: str
    state: str
    """``running``, ``degraded`` (fewer workers than asked for, and some in trouble), ``starting``, ``ending``, ``stopped``,
    ``dead`` (proven), ``unknown`` (cannot be known from here) or ``unreadable``."""
    reason: str
    """Why it is in a state that is not ``running``, and what to do."""
    kept: bool
    connected: int | None
    """Workers; None where that is not known, as with the next three."""
    asked: int | None
    pending: int | None
    failed: int | None
    created: datetime | None
    idle_since: datetime | None
    ends: datetime | None
    host: str
    taken: datetime | None
    """When its keeper last told of it; None for one that never did, or that lives elsewhere."""
    own_name: str = ""
    """What the system that it lives in calls it, where that is another name."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data that ``json.dumps`` takes."""
        plain = {key: getattr(self, key) for key in self.__slots__}
        return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in plain.items()}


@dataclass(frozen=True)
class Clusters(Sequence[ClusterInfo]):
    """The clusters of this user, by name; ``str`` is a table for people."""

    infos: tuple[ClusterInfo, ...]
    taken: datetime
    remarks: tuple[str, ...] = ()
    """What could not be looked at, and why: a backend that did not answer in time."""

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, index: Any) -> Any:
        return self.infos[index]

    def __iter__(self) -> Iterator[ClusterInfo]:
        return iter(self.infos)

    @property
    def table(self) -> Table:
        """One row for each cluster."""
        heads = ("NAME", "PROFILE", "BACKEND", "STATE", "WORKERS", "PENDING", "AGE", "IDLE", "ENDS", "HOST", "")
        rows = [self._row(info) for info in self.infos]
        return Table(
            [Column(head) for head in heads], rows, states=[_colour(info.state) for info in self.infos], marked=3
        )

    def _row(self, info: ClusterInfo) -> tuple[str, ...]:
        def since(moment: datetime | None) -> str:
            return "-" if moment is None else age(moment, self.taken)

        ends = "-" if info.ends is None else f"in {age(self.taken, info.ends)}"
        counts = ["-" if number is None else str(number) for number in (info.connected, info.asked, info.pending)]
        workers = "-" if info.connected is None and info.asked is None else f"{counts[0]}/{counts[1]}"
        return (
            info.name, info.profile, info.backend, info.state, workers, counts[2],
            since(info.created), since(info.idle_since), ends, info.host or "-", info.reason,
        )  # fmt: skip

    @property
    def none(self) -> str:
        """What is said where there is none."""
        return f"no clusters live{AS_FAR if self.remarks else ''}"

    def __str__(self) -> str:
        return "\n".join([str(self.table) if self.infos else self.none, *self.remarks])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _colour(state: str) -> str:
    return {"running": "ok", "dead": "fail", "unreadable": "fail"}.get(state, "warn")


def clusters(look: Callable[[], Seen] = Seen) -> Clusters:
    """Every cluster of this user: those written down in this home, the dead and the doubtful included, and those that
    ``look`` tells of, which live elsewhere."""
    infos = recorded()
    seen = look()
    infos += map(info_of, seen.found)
    return Clusters(tuple(sorted(infos, key=lambda info: info.name)), datetime.now(UTC), seen.remarks)


def recorded() -> list[ClusterInfo]:
    """Those written down in this home, read from files alone."""
    store = Store.here()
    return [info for name in store.names() if (info := _info(store, name)) is not None]


def _info(store: Store, name: str) -> ClusterInfo | None:
    try:
        record = store.read(name)
    except Unreadable as error:
        return ClusterInfo(
            name, "-", "-", "unreadable", str(error), kept=False, connected=None, asked=None, pending=None, failed=None,
            created=None, idle_since=None, ends=None, host="", taken=None,
        )  # fmt: skip
    except (ClusterhubError, LookupError):
        return None  # it ended while we looked
    status = store.status(name)
    state, reason = _state(store, record, status)
    dead = state == "dead"
    return ClusterInfo(
        name=name,
        profile=record.profile,
        backend=record.backend,
        state=state,
        reason=reason,
        kept=record.kept,
        connected=None if status is None else 0 if dead else status.connected,
        asked=None if status is None else status.asked,
        pending=None if status is None else status.pending,
        failed=None if status is None else status.failed,
        created=record.created,
        idle_since=None if dead or status is None else status.idle_since,
        ends=None if dead or status is None else status.ends,
        host=(record.keeper or record.creator).host,
        taken=None if status is None else status.taken,
    )


def _state(store: Store, record: Record, status: Status | None) -> tuple[str, str]:
    stands = standing(record, store)
    if stands.condition is Condition.DEAD:
        return "dead", f"{stands.reason}; clusterhub gc removes what is left"
    if stands.condition is Condition.STARTING and record.as_job and (wait := waited_for(record, store)) is not None:
        return (
            "starting",
            f"its keeper, job {wait.unit}, {wait.text}" if wait.unit else f"its keeper's job: {wait.text}",
        )
    if stands.condition is not Condition.LIVING:
        return str(stands.condition), stands.reason
    if record.state != "running":
        return record.state, ""
    if status is None:
        return "running", ""
    if status.connected < status.asked and status.failed:
        return "degraded", status.note or status.headline
    return "running", status.note


def info_of(found: Found) -> ClusterInfo:
    """One of which its system tells."""
    seen = found.sighting
    asked = None if seen.target is None else seen.target.minimum
    if seen.target is not None and seen.target.adapts:  # what is wanted just now, its system knows
        asked = max(seen.target.minimum, seen.connected or 0)
    return ClusterInfo(
        name=found.name,
        profile=seen.profile or "-",
        backend=seen.ref.backend,
        state="dead" if seen.orphaned and seen.state != "ending" else seen.state,
        reason=f"{seen.orphaned}; clusterhub gc removes what is left" if seen.orphaned else seen.reason,
        kept=seen.kept,
        connected=seen.connected,
        asked=asked,
        pending=None,
        failed=None,
        created=seen.created,
        idle_since=seen.idle_since,
        ends=seen.ends,
        host=seen.where or found.system.label,
        taken=None,
        own_name=seen.own_name,
    )
