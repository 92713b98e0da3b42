"""What a command writes: results to stdout, what is about its work to stderr, nothing that an encoding cannot carry."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clusterhub.display.table import Table


class ReaderGone(Exception):
    """Nobody reads stdout any more, as after ``| head -1``."""


def say(text: str) -> None:
    """A line of the result, to stdout."""
    _write(f"{text}\n", sys.stdout)


def say_table(table: Table) -> None:
    """A table of the result, to stdout."""
    try:
        table.write(sys.stdout)
    except BrokenPipeError:
        raise ReaderGone from None


def say_json(value: Any) -> None:
    """The result for a program, to stdout: characters as they are where the encoding has all of them."""
    import json

    ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: a file name that is no UTF-8
        text = json.dumps(value, indent=2)
    _write(f"{text}\n", sys.stdout)


def say_marked(mark: str, style: str, text: str, lines: Iterable[str] = ()) -> None:
    """A line of the result behind a coloured mark, and lines under it."""
    import click

    from clusterhub.display.table import has_colour

    sign = click.style(mark, fg=style) if has_colour(sys.stdout) else mark
    _write("".join(f"{line}\n" for line in (f"  {sign} {text}".rstrip(), *lines)), sys.stdout)


def tell_line(text: str) -> None:
    """A line about the work, to stderr; lost where nobody can read it, since it may be the very last thing to do."""
    with suppress(ReaderGone, OSError, ValueError):
        _write(f"{text}\n", sys.stderr)


def _write(text: str, stream: IO[str]) -> None:
    from clusterhub.display.words import printable

    try:
        stream.write(printable(text, stream))
        stream.flush()  # in the order in which it was said, also when stdout and stderr are one file
    except BrokenPipeError:
        raise ReaderGone from None
