"""What lives: a list of clusters from their records, read from files alone, so that fifty of them take no second."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clusterhub.backend import Ref
from clusterhub.display import Column, Table, age
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.asking import waited_for
from clusterhub.keeper.discovery import discovered_refs
from clusterhub.keeper.record import Record, Status, Unreadable
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, standing


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
    connected: int
    asked: int
    pending: int
    failed: int
    created: datetime | None
    idle_since: datetime | None
    ends: datetime | None
    host: str
    taken: datetime | None
    """When its keeper last told of it."""

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
        known = info.taken is not None
        workers = f"{info.connected}/{info.asked}" if known else "-"
        pending = str(info.pending) if known else "-"
        return (
            info.name, info.profile, info.backend, info.state, workers, pending,
            since(info.created), since(info.idle_since), ends, info.host or "-", info.reason,
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([str(self.table) if self.infos else "no clusters live", *self.remarks])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _colour(state: str) -> str:
    return {"running": "ok", "dead": "fail", "unreadable": "fail"}.get(state, "warn")


def clusters() -> Clusters:
    """Every cluster of this user: those written down in this home, the dead and the doubtful included, and those that the
    backends know whose clusters live elsewhere. Each backend is asked at the same time, and has two seconds.
    """
    store = Store.here()
    infos = [info for name in store.names() if (info := _info(store, name)) is not None]
    found, remarks = discovered({info.name for info in infos})
    return Clusters(tuple(sorted([*infos, *found], key=lambda info: info.name)), datetime.now(UTC), remarks)


def _info(store: Store, name: str) -> ClusterInfo | None:
    try:
        record = store.read(name)
    except Unreadable as error:
        return ClusterInfo(
            name, "-", "-", "unreadable", str(error), kept=False, connected=0, asked=0, pending=0, failed=0,
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
        connected=0 if dead or status is None else status.connected,
        asked=0 if status is None else status.asked,
        pending=0 if status is None else status.pending,
        failed=0 if status is None else status.failed,
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


def discovered(known: Collection[str]) -> tuple[list[ClusterInfo], tuple[str, ...]]:
    """The clusters that backends tell of and that are not ``known``, and what is to be said of those that did not answer."""
    refs, remarks = discovered_refs()
    return [_elsewhere(ref) for ref in refs if ref.name not in known], remarks


def _elsewhere(ref: Ref) -> ClusterInfo:
    """One of which only its backend knows."""
    return ClusterInfo(
        ref.name, "-", ref.backend, "running", "", kept=False, connected=0, asked=0, pending=0, failed=0,
        created=None, idle_since=None, ends=None, host="", taken=None,
    )  # fmt: skip
