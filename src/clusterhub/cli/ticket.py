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


def _seen(name: str) -> Seen:
    """Raises ConfigError for a name that nobody knows or remembers, and Unreadable as the store does."""
    from clusterhub.keeper.finding import unknown
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.standing import Condition, Standing, standing

    store = Store.here()
    try:
        record = store.read(name)
    except LookupError:
        ended = store.ended(name)
        if not ended:
            raise unknown(store, name) from None
        last = ended[0]
        reason = f"it ended at {last.end.when.isoformat(timespec='seconds')}: {last.end.reason}" if last.end else ""
        # As the store has it, whose ended clusters have no other names.
        log = _log_of(store.root / "ended" / f"{name}-{last.uid[:8]}")
        return Seen(last, Standing(Condition.DEAD, reason), log)
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


def _log_of(folder: Path) -> str:
    try:
        return (folder / "keeper.log").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"no log: {error.strerror}"


def bundle(seen: Seen) -> str:
    """The text of the ticket, secrets hidden."""
    from clusterhub.keeper.wire import plan_from
    from clusterhub.profile.secrets import HIDDEN, redact_text

    plan = plan_from(seen.record.plan)
    text = "\n".join(line for title, lines in _parts(seen, plan) for line in (f"──── {title} ────", *lines))
    if plan.dashboard_prefix:
        text = text.replace(plan.dashboard_prefix, HIDDEN)
    return redact_text(_SECRET_PATH.sub(HIDDEN, text))


def _parts(seen: Seen, plan: Plan[Any]) -> Iterator[tuple[str, Iterable[str]]]:
    yield f"clusterhub report of {seen.record.name}, {_moment(datetime.now(UTC))}", ()
    yield "versions", _table(_versions(seen.record))
    yield "cluster", _table(_life(seen))
    yield "spec", _table([(leaf.path, leaf.text, leaf.origin) for leaf in plan.values])
    if plan.summary:
        yield "plan", [plan.summary]
    for document in plan.documents:
        yield document.title, document.text.rstrip("\n").splitlines()
    if seen.report is not None:
        yield from _units(seen.report)
    yield "log of the keeper", seen.keeper_log.splitlines()[-4 * TAIL :]
    for source in _worth_reading(seen):
        yield f"log of {source}", seen.logs[source].splitlines()[-TAIL:]


def _versions(record: Record) -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    from clusterhub.registry import candidates

    yield "python", f"{sys.version.split()[0]} on {sys.platform}, {sys.executable}"
    for package in ("clusterhub", "dask", "distributed"):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
    candidate = candidates().get(record.backend)
    yield f"backend {record.backend}", ", ".join(candidate.distributions) if candidate else "not installed here"
    yield "its keeper", f"clusterhub {record.version}, {record.python}"


def _life(seen: Seen) -> Iterator[tuple[str, str]]:
    record = seen.record
    yield "name", f"{record.name} ({'chosen' if record.named else 'generated'}{', kept' if record.kept else ''})"
    yield "uid", record.uid
    yield "profile", f"{record.profile}, backend {record.backend}"
    yield "state", f"{record.state}; {seen.standing.condition}: {seen.standing.reason}"
    yield "created", f"{_moment(record.created)} by {record.creator}"
    if record.keeper is not None:
        yield "keeper", str(record.keeper)
    if record.end is not None:
        yield "ended", f"{_moment(record.end.when)}: {record.end.reason}"
    if seen.trouble:
        yield "trouble", seen.trouble


def _units(report: Report) -> Iterator[tuple[str, Iterable[str]]]:
    from clusterhub.display import plural

    yield "workers", [report.headline]
    if report.units:
        yield plural(report.unit_noun), [*report.table.lines(), report.unlisted]
    if report.failure is not None:
        yield "failure", report.failure_text.splitlines()


def _worth_reading(seen: Seen) -> Sequence[str]:
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
