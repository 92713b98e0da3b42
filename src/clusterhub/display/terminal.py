"""The wait display of a terminal: a bar, the time, and what is not there yet with the reason why."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

from .report import Group, Report
from .table import STYLES
from .words import clock, counted, flat

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

BAR = 30
"""Cells of the bar."""
MOST = 6
"""Groups of units that are explained; a display of many lines would push itself off the screen."""


class Terminal:
    """Draws on a terminal in place, from the waiting thread alone: no thread of its own can outlive an interrupt."""

    def __init__(self, stream: IO[str], *, bare: bool = False) -> None:
        self._stream = stream
        self._bare = bare
        self._wanted = 0
        self._live: Live | None = None

    def begin(self, report: Report, wanted: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._wanted = wanted
        console = Console(file=self._stream, highlight=False, emoji=False, markup=False)
        if not self._bare:
            console.print(self._head(report))
        self._live = Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # a pipe's reader wants all of its output
        )
        self._live.start()

    def show(self, report: Report, elapsed: float) -> None:
        if self._live is not None:
            self._live.update(_frame(report, self._wanted, elapsed), refresh=True)

    def end(self, report: Report, elapsed: float) -> None:
        self.show(report, elapsed)
        if self._live is not None:
            console = self._live.console
            self.leave()
            if not self._bare:
                _foot(console, report)

    def note(self, text: str) -> None:
        self._stream.write(f"{flat(text)}\n")

    def leave(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _head(self, report: Report) -> Text:
        from rich.text import Text

        adapting = f"{report.target} workers, as the load asks"
        asked = adapting if report.target.adapts else counted(report.asked, "worker")
        goal = "" if self._wanted == report.asked else f"; waiting for {self._wanted}"
        scheduler = f"scheduler {report.scheduler_address}"
        return Text("\n").join(
            [
                Text(flat(report.place)),
                Text(f"  {asked}{goal}"),
                Text.assemble(("  ✔ ", STYLES["ok"]), flat(scheduler)),
            ]
        )


def _frame(report: Report, wanted: int, elapsed: float) -> RenderableType:
    from rich.console import Group as Stack
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    total = max(wanted, 1)
    drawn = ProgressBar(
        total=total, completed=min(report.connected, total), width=BAR, complete_style="green", finished_style="green"
    )
    bar = Table.grid(padding=(0, 2, 0, 0))
    bar.add_row("", drawn, _count(report, wanted, elapsed))
    reasons = Table.grid(padding=(0, 3, 0, 0))
    for group in report.groups if len(report.groups) <= MOST else report.gravest[:MOST]:
        reasons.add_row(*_explained(report, group))
    if len(report.groups) > MOST:
        reasons.add_row(f"    and {len(report.groups) - MOST} more reasons")
    return Stack(bar, reasons) if report.groups else bar


def _count(report: Report, wanted: int, elapsed: float) -> str:
    return f"{report.connected} of {max(wanted, report.connected)} connected · {clock(elapsed)}"


def _explained(report: Report, group: Group) -> tuple[Text, Text]:
    from rich.text import Text

    state = (str(group.state), STYLES.get(group.state, ""))
    what = Text.assemble("    ", f"{counted(group.number, report.unit_noun)} ", state)
    ours = "; ".join([*([flat(group.reason)] if group.reason else []), *report.expected_start([group])])
    lines = [ours] if ours else []
    if group.source and group.source not in group.reason:
        lines.append(flat(group.source))
    return what, Text("\n".join(lines))


def _foot(console: Console, report: Report) -> None:
    if report.dashboard_link and report.failure is None:
        # Not wrapped: a link in two lines can be neither clicked nor copied.
        console.print(f"dashboard  {flat(report.dashboard_link)}", soft_wrap=True)
