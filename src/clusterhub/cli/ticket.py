"""``report``: all that somebody needs who is to help with a cluster, as one text without secrets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clusterhub.errors import ClusterhubError

from .names import complete_name
from .options import debug_option
from .outcome import Mistake
from .output import say

if TYPE_CHECKING:
    from clusterhub.backend import Plan
    from clusterhub.display import Report
    from clusterhub.keeper import ClusterInfo
    from clusterhub.keeper.record import Record
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.standing import Standing

TAIL = 50
"""Log lines of each unit, and of the keeper four times as many, since it tells of all of them."""
MOST = 20
"""Units whose logs are in it, those in trouble first: a ticket of ten thousand lines helps nobody."""

_SECRET_PATH = re.compile(r"(?<=/)[A-Za-z0-9_-]{22}(?=/)")
"""What may be the secret path of a dashboard (16 random bytes) in an address that a log shows."""


@dataclass(frozen=True)
class Seen:
    """What could be learned of a cluster."""

    record: Record
    standing: Standing
    keeper_log: str
    report: Report | None = None
    logs: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    """Why a living cluster did not tell more."""

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from."""
        from clusterhub.keeper.wire import plan_from

        return plan_from(self.record.plan)

    def life(self) -> Iterator[tuple[str, str]]:
        """What it is, and how it fares."""
        record = self.record
        yield "name", f"{record.name} ({_chosen(record.named)}{', kept' if record.kept else ''})"
        yield "uid", record.uid
        yield "profile", f"{record.profile}, backend {record.backend}"
        yield "state", f"{record.state}; {self.standing.condition}: {self.standing.reason}"
        yield "created", f"{_moment(record.created)} by {record.creator}"
        if record.keeper is not None:
            yield "keeper", f"{record.keeper}; clusterhub {record.version}, {record.python}"
        if record.end is not None:
            yield "ended", f"{_moment(record.end.when)}: {record.end.reason}"


@dataclass(frozen=True)
class SeenElsewhere:
    """The same of one that lives elsewhere, and has neither record nor keeper."""

    info: ClusterInfo
    plan: Plan[Any]
    report: Report | None = None
    logs: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    def life(self) -> Iterator[tuple[str, str]]:
        """What it is, and how it fares."""
        info = self.info
        own = f", {info.own_name} to its system" if info.own_name else ""
        yield "name", f"{info.name}{own}{', kept' if info.kept else ''}"
        yield "uid", self.plan.uid or "none"
        yield "profile", f"{info.profile}, backend {info.backend}"
        yield "state", f"{info.state} on {info.host}" + (f": {info.reason}" if info.reason else "")
        if info.created is not None:
            yield "created", _moment(info.created)


@click.command(short_help="Print all that helps with a cluster, without secrets.")
@click.argument("name", metavar="N", shell_complete=complete_name)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it into FILE, which nobody else can read. A file that exists is not replaced.",
)
@debug_option
def report(name: str, output: Path | None) -> None:
    """Print what somebody needs who is to help with cluster N: versions, spec with origins, reasons, logs.

    Secrets are hidden as far as they are known to be some; read it before you send it. It works for clusters that ended,
    as far as they are remembered.
    """
    if output is not None and (output.exists() or output.is_symlink()):
        raise Mistake(f"{output} exists, and is not replaced; name another file, or move it away")
    text = bundle(_seen(name))
    if output is None:
        say(text)
        return
    try:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise Mistake(f"cannot write {output}: {error.strerror}; name another file") from None
    with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{text}\n")
    say(f"written  {output}")
    say("next     read it before you send it: what your own code printed is in it")


def _seen(name: str) -> Seen | SeenElsewhere:
    """Raises ConfigError for a name that nobody knows or remembers, and Unreadable as the store does."""
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.standing import Condition, standing

    store = Store.here()
    if name not in store.names():
        return _seen_elsewhere(store, name)
    try:
        record = store.read(name)
    except LookupError:
        return _seen_elsewhere(store, name)
    stands, log = standing(record, store), _log_of(store.folder(name))
    if stands.condition is not Condition.LIVING or record.state != "running":
        return Seen(record, stands, log)
    return _asked(store, record, stands, log)


def _asked(store: Store, record: Record, stands: Standing, log: str) -> Seen:
    from clusterhub.api import attach

    found: Report | None = None
    try:
        with attach(record.name) as cluster:
            found = cluster.report()
            return Seen(record, stands, log, found, cluster.logs())
    except ClusterhubError as error:
        return Seen(record, stands, log, found, trouble=str(error))


def _seen_elsewhere(store: Store, name: str) -> Seen | SeenElsewhere:
    """One that is not written down here, or else what is remembered of it."""
    from clusterhub.api.attaching import located
    from clusterhub.api.elsewhere import stand_in

    try:
        at = located(name)
    except ClusterhubError:
        if (remembered := _remembered(store, name)) is not None:
            return remembered
        raise
    if at is None:  # it was written down just now
        return _seen(name)
    found, info = None, at.info
    plan = stand_in(info.name, info.backend)
    try:
        with at.attach() as cluster:
            plan, found = cluster.started_from, cluster.report()
            return SeenElsewhere(info, plan, found, cluster.logs())
    except ClusterhubError as error:
        return SeenElsewhere(info, plan, found, trouble=str(error))


def _remembered(store: Store, name: str) -> Seen | None:
    from clusterhub.keeper.standing import Condition, Standing

    try:
        ended = store.ended(name)
    except ClusterhubError:
        return None
    if not ended:
        return None
    last = ended[0]
    reason = f"it ended at {last.end.when.isoformat(timespec='seconds')}: {last.end.reason}" if last.end else ""
    # As the store has it, whose ended clusters have no other names.
    log = _log_of(store.root / "ended" / f"{name}-{last.uid[:8]}")
    return Seen(last, Standing(Condition.DEAD, reason), log)


def _log_of(folder: Path) -> str:
    try:
        return (folder / "keeper.log").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"no log: {error.strerror}"


def bundle(seen: Seen | SeenElsewhere) -> str:
    """The text of the ticket, secrets hidden."""
    from clusterhub.profile.secrets import HIDDEN, redact_text

    plan = seen.plan
    text = "\n".join(line for title, lines in _parts(seen, plan) for line in (f"──── {title} ────", *lines))
    if plan.dashboard_prefix:
        text = text.replace(plan.dashboard_prefix, HIDDEN)
    return redact_text(_SECRET_PATH.sub(HIDDEN, text))


def _parts(seen: Seen | SeenElsewhere, plan: Plan[Any]) -> Iterator[tuple[str, Iterable[str]]]:
    yield f"clusterhub report of {plan.name}, {_moment(datetime.now(UTC))}", ()
    yield "versions", _table(_versions(plan.backend))
    yield "cluster", _table(_life(seen))
    yield "spec", _table([(leaf.path, leaf.text, leaf.origin) for leaf in plan.values])
    if plan.summary:
        yield "plan", [plan.summary]
    for document in plan.documents:
        yield document.title, document.text.rstrip("\n").splitlines()
    if seen.report is not None:
        yield from _units(seen.report)
    if isinstance(seen, Seen):
        yield "log of the keeper", seen.keeper_log.splitlines()[-4 * TAIL :]
    for source in _worth_reading(seen):
        yield f"log of {source}", seen.logs[source].splitlines()[-TAIL:]


def _versions(backend: str) -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    from clusterhub.registry import candidates

    yield "python", f"{sys.version.split()[0]} on {sys.platform}, {sys.executable}"
    for package in ("clusterhub", "dask", "distributed"):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
    candidate = candidates().get(backend)
    yield f"backend {backend}", ", ".join(candidate.distributions) if candidate else "not installed here"


def _life(seen: Seen | SeenElsewhere) -> Iterator[tuple[str, str]]:
    yield from seen.life()
    if seen.trouble:
        yield "trouble", seen.trouble


def _chosen(named: bool) -> str:
    return "chosen" if named else "generated"


def _units(report: Report) -> Iterator[tuple[str, Iterable[str]]]:
    from clusterhub.display import plural

    yield "workers", [report.headline]
    if report.units:
        yield plural(report.unit_noun), [*report.table.lines(), report.unlisted]
    if report.failure is not None:
        yield "failure", report.failure_text.splitlines()


def _worth_reading(seen: Seen | SeenElsewhere) -> Sequence[str]:
    """The scheduler's log and those of some units, in trouble first. The keeper's own is in its file."""
    trouble = [] if seen.report is None else [row[0] for row in seen.report.table.rows]
    units = [name for name in trouble if name in seen.logs]
    others = [name for name in seen.logs if name not in ("keeper", "scheduler", *units)]
    return [*(["scheduler"] if "scheduler" in seen.logs else []), *[*units, *others][:MOST]]


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    from clusterhub.display.table import Column, Table

    found = list(rows)
    return Table([Column()] * len(found[0]), found, indent=2).lines() if found else []


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
