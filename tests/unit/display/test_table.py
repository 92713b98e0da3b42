from __future__ import annotations

import io

import pytest

from clusterhub.display.table import Column, Table

COLUMNS = (Column("POD"), Column("N", right=True), Column("REASON"))
LONG = "Unschedulable: 0/6 nodes are available: " + "6 Insufficient memory, " * 10


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_and_nothing_trails() -> None:
    table = Table(COLUMNS, [["tides-worker-7f2c", "1", ""], ["w", "12", "pending"]])
    assert table.lines() == [
        "POD                 N  REASON",
        "tides-worker-7f2c   1",
        "w                  12  pending",
    ]


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = Table((Column("A"), Column("B")), [["流流", "x"], ["ab", "y"]]).lines()
    assert lines == ["A     B", "流流  x", "ab    y"]


def test_a_pipe_gets_every_word_on_one_line() -> None:
    pipe = io.StringIO()
    Table(COLUMNS, [["pod", "1", LONG]]).write(pipe)
    assert LONG.strip() in pipe.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_a_terminal_wraps_the_last_column_under_itself_and_colours_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    Table(COLUMNS, [["pod", "1", LONG]], states=["failed"], marked=0).write(terminal)
    text = terminal.getvalue()
    assert "\x1b[31mpod" in text
    assert text.count("Insufficient") == 10
    assert all(line.startswith("        ") for line in text.splitlines()[2:])


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Table(COLUMNS, [["pod", "1", "x"]], states=["failed"], marked=0).write(terminal)
    assert "\x1b[31m" not in terminal.getvalue()


def test_what_systems_say_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    Table(COLUMNS, [["27[red]", "1", ":smile: [bold]x[/bold]"]]).write(terminal)
    assert "27[red]" in terminal.getvalue()
    assert ":smile: [bold]x[/bold]" in terminal.getvalue()


def test_an_empty_table_writes_its_heading_alone() -> None:
    assert str(Table(COLUMNS, [])) == "POD  N  REASON"
    assert str(Table((Column(), Column()), [])) == ""
