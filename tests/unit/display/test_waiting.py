from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from clusterhub.backend import UnitState
from clusterhub.display import Display, Report, choose
from clusterhub.display.terminal import Terminal
from clusterhub.display.waiting import Lines, Silent, silent
from clusterhub.errors import Failure

from .conftest import NEEDS, PBS, bad, connected, pending

Make = Callable[..., Report]


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Tty:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Tty()


def sequence(report: Make) -> list[Report]:
    """A wait that goes well: four jobs, two of which start first."""
    return [
        report(*map(pending, range(4))),
        report(connected(0), connected(1), pending(2), pending(3)),
        report(*map(connected, range(4))),
    ]


def play(display: Display, reports: list[Report], wanted: int | None = None) -> None:
    with display:
        display.start(reports[0], wanted=wanted)
        for number, seen in enumerate(reports):
            for again in range(3):
                display.update(seen, 10 * number + again)
        display.finish(reports[-1])


def test_lines_are_written_for_changes_and_for_nothing_else(report: Make) -> None:
    out = io.StringIO()
    play(Display(Lines(out)), sequence(report))
    assert out.getvalue().splitlines() == [
        "00:00  eddies on hal (pbs), scheduler tls://10.12.0.2:41873",
        f"00:00  eddies: 0 of 24 workers connected, 4 jobs pending ({NEEDS}) · {PBS}",
        f"00:10  eddies: 12 of 24 workers connected, 2 jobs pending ({NEEDS}) · {PBS}",
        "00:20  eddies: 24 of 24 workers connected",
    ]


def test_a_new_wording_of_the_system_is_no_change(report: Make) -> None:
    out = io.StringIO()
    play(Display(Lines(out)), [report(pending(0, source="A: 6 T: 8000")), report(pending(0, source="A: 7 T: 8000"))])
    assert len(out.getvalue().splitlines()) == 2


def test_a_failure_is_the_last_line(report: Make) -> None:
    out = io.StringIO()
    play(Display(Lines(out)), [report(pending(0)), report(bad(0), failure=Failure("their python does not exist"))])
    assert out.getvalue().splitlines()[-1] == (
        "00:10  eddies: 0 of 24 workers connected, 1 job failed (out of memory);"
        " nothing more is launched: their python does not exist"
    )


def test_waiting_for_workers_that_are_there_shows_nothing(report: Make) -> None:
    out = io.StringIO()
    play(Display(Lines(out)), [report(connected(0))], wanted=1)
    assert out.getvalue() == ""


def test_waiting_for_some_of_them_says_so(report: Make) -> None:
    out = io.StringIO()
    play(Display(Lines(out)), [report(pending(0)), report(connected(0))], wanted=1)
    assert "(waiting for 1)" in out.getvalue()


def test_a_terminal_shows_the_bar_the_time_and_both_wordings_of_the_reason(report: Make, tty: Tty) -> None:
    play(Display(Terminal(tty)), sequence(report))
    text = tty.getvalue()
    assert "eddies on hal (pbs)" in text
    assert "12 of 24 connected · 00:10" in text
    assert NEEDS in text
    assert PBS in text
    assert "24 of 24 connected · 00:22" in text
    assert text.endswith("dashboard  http://127.0.0.1:8787/status\n")


def test_many_reasons_do_not_push_the_bar_off_the_screen(report: Make, tty: Tty) -> None:
    play(Display(Terminal(tty)), [report(*(pending(n, f"reason {n}") for n in range(30)))])
    assert "and 24 more reasons" in tty.getvalue()


def test_an_interrupt_leaves_the_terminal_with_its_cursor(report: Make, tty: Tty) -> None:
    with pytest.raises(KeyboardInterrupt), Display(Terminal(tty)) as display:  # noqa: PT012 - the order is the point
        display.start(report(pending(0)))
        raise KeyboardInterrupt
    assert tty.getvalue().rindex("\x1b[?25h") > tty.getvalue().rindex("\x1b[?25l")


def test_ansi_codes_of_a_system_do_not_reach_the_terminal(report: Make, tty: Tty) -> None:
    play(Display(Terminal(tty)), [report(pending(0, "bad\x1b]0;title\x07", source="x\x1b[2J"))])
    assert "\x1b]0;" not in tty.getvalue()
    assert "\x1b[2J" not in tty.getvalue()


class Broken(Silent):
    def show(self, report: Report, elapsed: float) -> None:
        raise OSError("the terminal is gone")

    def leave(self) -> None:
        raise RuntimeError("and cannot be put away")


def test_a_display_that_breaks_never_breaks_the_wait(report: Make) -> None:
    display = Display(Broken())
    play(display, sequence(report))
    assert display.kind == "silent"


def test_a_closed_stream_is_no_reason_to_stop_waiting(report: Make) -> None:
    out = io.StringIO()
    out.close()
    play(Display(Lines(out)), sequence(report))


def test_the_display_that_fits_is_chosen(tty: Tty, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(tty).kind == "terminal"
    assert choose(io.StringIO()).kind == "lines"
    assert silent().kind == "silent"
    monkeypatch.setenv("TERM", "dumb")
    assert choose(tty).kind == "lines"


def test_a_terminal_without_the_marks_gets_lines(tty: Tty, report: Make) -> None:
    tty.encoding = "ascii"
    display = choose(tty)
    assert display.kind == "lines"
    play(display, sequence(report))
    assert tty.getvalue().isascii()


def test_no_stream_at_all_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert choose().kind == "silent"


class Handle:
    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, content: Any) -> None:
        self.shown.append(content)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A stand-in for IPython inside a notebook's kernel, which is no dependency of ours."""
    handle = Handle()

    def display(content: str, *, display_id: bool) -> Handle:
        handle.update(content)
        return handle

    shell = type("Shell", (type("ZMQInteractiveShell", (), {}),), {})()
    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    module.HTML, module.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return handle


def test_a_notebook_is_updated_in_place_and_only_when_something_differs(report: Make, kernel: Handle) -> None:
    display = choose(io.StringIO())
    assert display.kind == "notebook"
    same = report(pending(0))
    with display:
        display.start(same)
        display.update(same, 0.5)
        display.update(same, 0.6)
        display.update(report(connected(0)), 2)
        display.finish(report(connected(0)))
    assert len(kernel.shown) == 2
    assert "00:02" in kernel.shown[-1]


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert choose(io.StringIO()).kind == "lines"


def test_what_is_in_trouble_is_not_what_is_left_out(report: Make, tty: Tty) -> None:
    units = [*(pending(n, f"reason {n}") for n in range(30)), bad(30)]
    play(Display(Terminal(tty)), [report(*units)])
    assert "out of memory" in tty.getvalue()


def test_every_state_can_be_shown(report: Make, tty: Tty) -> None:
    units = [connected(0), pending(1)] + [bad(2 + n, state) for n, state in enumerate(UnitState)]
    play(Display(Terminal(tty)), [report(*units)])
    play(Display(Lines(io.StringIO())), [report(*units)])
    assert "lost" in tty.getvalue()
