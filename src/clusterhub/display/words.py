"""Numbers, ages and marks as people read them, and what becomes of the marks where a stream cannot carry them."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import IO, Any

_SIBILANTS = ("s", "x", "z", "ch", "sh")

# One character each, so that what was aligned stays so; … alone becomes three, and stands at the end of things.
_ASCII = str.maketrans(
    {
        "✔": "+", "✘": "x", "━": "=", "╸": ">", "─": "-", "│": "|", "·": "-", "×": "x", "–": "-", "−": "-",
        "≥": ">", "≤": "<", "°": " ", "…": "...", "→": ">", "“": '"', "”": '"', "‘": "'", "’": "'",
    }
)  # fmt: skip


def plural(noun: str) -> str:
    """The plural of an English noun that forms it regularly: jobs, pods, processes, entries."""
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(_SIBILANTS) else "s")


def counted(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``, ``0 processes``."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def clock(seconds: float) -> str:
    """An elapsed time that is watched as it grows: ``00:41``, ``1:02:03``. Nothing is earlier than ``00:00``."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"


def age(since: datetime, now: datetime) -> str:
    """How long ago, in its largest two units at most: ``40s``, ``19m``, ``2h10``, ``3d``."""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86400:
        minutes = seconds // 60 % 60
        return f"{seconds // 3600}h{minutes:02d}" if minutes else f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


def moment(when: datetime, now: datetime) -> str:
    """A time of the near future or past on the reader's own clock: ``14:05``, with the date where it is another day."""
    local, today = when.astimezone(), now.astimezone()
    return local.strftime("%H:%M") if local.date() == today.date() else local.strftime("%a %d %b %H:%M")


def printable(text: str, stream: IO[Any]) -> str:
    """``text`` such that writing it to ``stream`` cannot fail for its encoding.

    Unchanged where the encoding has every character; else the marks become ASCII and what is left is escaped.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return text


def carries(text: str, stream: IO[Any]) -> bool:
    """Whether ``stream`` can show ``text`` as it is."""
    return printable(text, stream) == text


def flat(text: str) -> str:
    """On one line, and without control characters: what a system says must not move the cursor of whoever reads it."""
    return "".join(char if char.isprintable() else " " for char in text)


def width(text: str) -> int:
    """The cells of a terminal that ``text`` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
