"""Looking at a cluster again and again, until it ends or the reader has seen enough."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clusterhub.errors import ClusterGone, ConfigError

from .names import dashboard_line, headline, info_of
from .outcome import FAILURE
from .output import ReaderGone, say, tell_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clusterhub.cluster import Cluster
    from clusterhub.display import Report

    from .names import At

EVERY = 1.0
"""Seconds between two looks."""


def until_it_ends(
    cluster: Cluster, look: Callable[[], None], trouble: Callable[[str], None], *, recorded: bool = True
) -> int:
    """Call ``look`` every second until the cluster ends or the reader interrupts; the exit code.

    ``trouble`` is told of a cluster that does not answer now and may again. An interrupt is the way to end this, and no
    failure: as with ``watch``, and unlike a command that was interrupted before it had done what it was for. A cluster that
    ended as it was told to is none either; one that is gone without a word is.
    """
    try:
        while True:
            try:
                if recorded:
                    _raise_if_gone(cluster.name)
                look()
            except ClusterGone as gone:
                if gone.final:
                    return _told_end(cluster.name, gone) if recorded else _told(gone)
                trouble(str(gone))
            time.sleep(EVERY)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        raise ReaderGone from None


def _told(gone: ClusterGone) -> int:
    """One that lived elsewhere is gone: of whom it was told to end, its system need not tell."""
    tell_line(str(gone))
    return 0


def _raise_if_gone(name: str) -> None:
    """Raise ClusterGone for a cluster whose end is written down or proven: a question to it would only wait in vain."""
    from clusterhub.keeper.finding import living_record
    from clusterhub.keeper.record import Unreadable
    from clusterhub.keeper.records import Store

    with suppress(ConfigError, Unreadable):
        living_record(Store.here(), name)


def _told_end(name: str, gone: ClusterGone) -> int:
    tell_line(str(gone))
    left = info_of(name)  # whoever went without a word has left its record
    return FAILURE if left is not None and left.state in ("dead", "unreadable") else 0


def watch(cluster: Cluster, at: At) -> int:
    """Show the report of a cluster until it ends: in place on a terminal, else a line for each change."""
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return _in_place(cluster, at)
    return _in_lines(cluster, at)


def _in_lines(cluster: Cluster, at: At) -> int:
    from clusterhub.display.waiting import Lines

    lines, began, told = Lines(sys.stdout), time.monotonic(), ""
    say(headline(cluster.report(), at.host))

    def look() -> None:
        nonlocal told
        lines.show(cluster.report(), time.monotonic() - began)
        told = ""

    def trouble(text: str) -> None:
        nonlocal told
        if text != told:
            told = text
            say(text)

    return until_it_ends(cluster, look, trouble, recorded=at.recorded)


def _in_place(cluster: Cluster, at: At) -> int:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    last: list[Any] = [Text("")]
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def show(below: str = "") -> None:
            from rich.console import Group

            live.update(Group(*last, *([Text(below)] if below else [])), refresh=True)

        def look() -> None:
            last[:] = _frame(cluster.report(), at.host, console.width)
            show()

        return until_it_ends(cluster, look, show, recorded=at.recorded)


def _frame(report: Report, host: str, width: int) -> list[RenderableType]:
    from rich.text import Text

    from clusterhub.display.words import clock, flat

    now = report.taken.astimezone().strftime("%H:%M:%S")
    age = clock((report.taken - report.started).total_seconds())
    parts: list[RenderableType] = [Text(f"{flat(headline(report, host))} · {now}, up {age}")]
    if report.units:
        parts.append(report.table.rich(width))
    lines = (report.unlisted, report.failure_text, dashboard_line(report.dashboard_link, host))
    return [*parts, *(Text(line, overflow="fold") for line in lines if line)]
