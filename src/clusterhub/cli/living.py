"""``ls``, ``status`` and ``scale``: the clusters that live, what each of them does, and how many workers it is to have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .names import dashboard_line, find, headline, name_argument, place
from .options import Count, debug_option, json_option
from .output import say, say_json, say_table, tell_line

if TYPE_CHECKING:
    from clusterhub.display import Report, Table
    from clusterhub.keeper import ClusterInfo


@click.command(short_help="List the clusters that live, and those that died.")
@json_option
@debug_option
def ls(as_json: bool) -> None:
    """List your clusters: what each is, whether it lives, its workers, its age and its end.

    It reads files, and asks the systems of your profiles whose clusters live elsewhere, for two seconds at most.
    """
    from clusterhub.api import clusters

    found = clusters()
    if as_json:
        say_json([info.to_dict() for info in found])
    elif not found:
        say(f"{found.none}; clusterhub up P starts one")
    else:
        say_table(_without_empty_end(found.table))
    for remark in found.remarks:
        tell_line(f"! {remark}")


def _without_empty_end(table: Table) -> Table:
    """The table without a last column that says nothing, which would take its room from the others."""
    if any(row[-1] for row in table.rows):
        return table
    return replace(table, columns=table.columns[:-1], rows=[row[:-1] for row in table.rows])


@click.command(short_help="Tell what a cluster does, with reasons.")
@name_argument
@click.option("--watch", "watches", is_flag=True, help="Go on telling until it ends, or you interrupt.")
@json_option
@debug_option
def status(name: str, watches: bool, as_json: bool) -> int:
    """Tell of cluster N what was asked, what is there, and why the rest is not.

    With --watch it is told again and again on a terminal, and elsewhere a line for each change, until the cluster ends.
    An interrupt ends the watching and is no failure (exit code 0), being the way in which one stops to watch.
    """
    if watches and as_json:
        raise click.UsageError("--watch is for people, --json for programs, which ask again by themselves; choose one")
    at = find(name)
    passing = ("starting", "ending") if at.recorded else ("starting", "ending", "dead")
    if at.info is not None and at.info.state in passing and not watches:
        _say_passing(at.info, as_json)
        return 0
    with at.attach() as cluster:
        if watches:
            from .watching import watch

            return watch(cluster, at)
        report = cluster.report()
        if as_json:
            say_json(report.to_dict() | _life(at.info))
        else:
            _say_report(report, at.host, at.info)
    return 0


def _say_passing(info: ClusterInfo, as_json: bool) -> None:
    """One that only starts, or ends, or that nobody has started to its end: there is nobody yet, or no more, to ask."""
    if as_json:
        say_json(info.to_dict())
        return
    from datetime import UTC, datetime

    from clusterhub.display import age

    since = f", since {age(info.created, datetime.now(UTC))}" if info.created and info.state == "starting" else ""
    say(f"{place(info.name, info.profile, info.backend, info.host)}: {info.state}{since}")
    if info.reason:
        say(f"  {info.reason}")


def _life(info: ClusterInfo | None) -> dict[str, Any]:
    """What its keeper, or its system, tells of its life."""
    if info is None:
        return {}
    known = info.to_dict()
    return {key: known[key] for key in ("host", "kept", "state", "idle_since", "ends")}


def _say_report(report: Report, host: str, info: ClusterInfo | None) -> None:
    say(headline(report, host))
    if report.units:
        say_table(report.table)
    notes = [f"note       {remark}" for remark in report.remarks]
    more = (report.unlisted, report.failure_text, dashboard_line(report.dashboard_link, host), _end_line(info))
    for line in (*notes, *more):
        if line:
            say(line)


def _end_line(info: ClusterInfo | None) -> str:
    """``ends       in 57m unless it is used: idle for 3m``."""
    if info is None or info.ends is None:
        return ""
    from datetime import UTC, datetime

    from clusterhub.display import age

    now = datetime.now(UTC)
    idle = f", idle for {age(info.idle_since, now)}" if info.idle_since is not None else ""
    return f"ends       in {age(now, info.ends)}{idle}" + (f"; {info.reason}" if info.reason else "")


@click.command(short_help="Tell a cluster how many workers it is to have.")
@name_argument
@click.argument("workers", metavar="K", type=Count())
@debug_option
def scale(name: str, workers: Any) -> None:
    """Tell cluster N to have K workers, or with a range as 0..200 to follow the load between the two.

    It is its target from now on: lost workers are replaced, and those that are too many go without losing results.
    """
    from clusterhub.api import attach

    with attach(name) as cluster:
        if isinstance(workers, dict):
            cluster.adapt(workers["minimum"], workers["maximum"])
        else:
            cluster.scale(workers)
        report = cluster.report()
        for line in (_target_line(report), *(f"  {obstacle}" for obstacle in _obstacles(report))):
            say(line)


def _obstacles(report: Report) -> list[str]:
    """A sentence for each reason known now why the target may not be reached."""
    return [*report.remarks, *([f"nothing more is launched: {report.failure.summary}"] if report.failure else [])]


def _target_line(report: Report) -> str:
    from clusterhub.display import counted

    target = report.target
    words = f"{target} workers, as the load asks" if target.adapts else counted(target.minimum, "worker")
    return f"{report.name}: {words}, from now on; {report.connected} connected"
