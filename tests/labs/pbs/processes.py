"""Sessions of processes, of which each job is one: looked at and ended together, by one walk through /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Use:
    """What the processes of one session use."""

    cpu: float = 0.0
    rss: int = 0
    virtual: int = 0


def _all() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            # The name in parentheses may hold anything: count from the last one, behind which the state is first.
            yield int(entry.name), text.rpartition(")")[2].split()


def use(sessions: Collection[int]) -> dict[int, Use]:
    """What each of these sessions uses."""
    found = {session: Use() for session in sessions}
    for _, fields in _all():
        if (of := found.get(int(fields[3]))) is not None:
            of.cpu += (int(fields[11]) + int(fields[12])) / TICKS
            of.virtual += int(fields[20])
            of.rss += int(fields[21]) * PAGE
    return found


def send(sessions: Collection[int], number: int) -> None:
    """A signal to every process of these sessions."""
    wanted = set(sessions) - {0}
    if not wanted:
        return
    for pid, fields in _all():
        if int(fields[3]) in wanted and fields[0] != "Z":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def born(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 where there is none."""
    fields = _fields(pid)
    return int(fields[19]) if fields else 0


def _fields(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if fields[0] in "ZX" else fields
