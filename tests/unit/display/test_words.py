from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from clusterhub.display.words import age, clock, counted, flat, plural, printable, width

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("noun", "plurals"),
    [("job", "jobs"), ("pod", "pods"), ("process", "processes"), ("entry", "entries"), ("day", "days")],
)
def test_plurals_of_what_backends_call_their_units(noun: str, plurals: str) -> None:
    assert plural(noun) == plurals


def test_one_is_singular_and_none_is_plural() -> None:
    assert [counted(n, "process") for n in (0, 1, 2)] == ["0 processes", "1 process", "2 processes"]


@pytest.mark.parametrize(("seconds", "text"), [(-3, "00:00"), (41.9, "00:41"), (3599, "59:59"), (3723, "1:02:03")])
def test_elapsed_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (40, "40s"), (19 * 60, "19m"), (7200, "2h"), (7800, "2h10"), (3 * 86400, "3d")]
)
def test_ages(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def test_marks_become_ascii_where_the_encoding_has_none() -> None:
    assert printable("✔ 12 of 24 · 00:41", stream("ascii")) == "+ 12 of 24 - 00:41"
    assert printable("✘ Océan", stream("latin-1")) == "x Océan"


def test_what_has_no_ascii_form_is_escaped_and_never_raises() -> None:
    assert printable("流", stream("ascii")) == "\\u6d41"
    assert printable("file-\udcff", stream("utf-8")) == "file-\\udcff"


def test_utf8_stays_as_it_is() -> None:
    assert printable("✔ 流 ━", stream("utf-8")) == "✔ 流 ━"


def test_control_characters_cannot_move_the_readers_cursor() -> None:
    assert flat("bad\x1b[2Jnews\nhere") == "bad [2Jnews here"


def test_wide_and_combining_characters_count_as_the_cells_they_take() -> None:
    assert [width(text) for text in ("abc", "流", "e\u0301")] == [3, 2, 1]
