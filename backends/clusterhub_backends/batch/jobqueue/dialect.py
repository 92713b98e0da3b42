"""What the sections of one batch system have of their own: its directives, its resources, its way to write a time."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from clusterhub import Duration
from clusterhub.profile.dask_config import DaskValue
from clusterhub_backends.batch.jobqueue.draft import Draft
from clusterhub_backends.batch.jobqueue.reading import Section

NAMES = "jobs are named by clusterhub, which finds them again by their names"
LOGS = "logs are named by job and kept in the folder storage.logs, where they are found"


@dataclass(frozen=True, slots=True)
class Directive:
    """One option of a directive."""

    flag: str
    """``-q``, ``--qos``."""
    value: str
    """Empty where it has none."""
    entry: DaskValue

    def __str__(self) -> str:
        return self.flag + (self.value and ("=" if self.flag.startswith("--") else " ") + self.value)


@dataclass(slots=True)
class Booked:
    """What a job asks of the batch system where that is said apart from ``cores`` and ``memory``, with who says it."""

    cpus: int | None = None
    cpus_from: DaskValue | None = None
    memory: int | None = None
    """Bytes."""
    memory_from: DaskValue | None = None


class Dialect(ABC):
    """One batch system, as dask-jobqueue's users speak of it."""

    system: ClassVar[str]
    """As people call it: ``PBS``."""
    mark: ClassVar[str]
    """What its directives begin with."""
    queue: ClassVar[str]
    """The option that names the queue."""
    options: ClassVar[Mapping[str, str]]
    """Flags of directives that our options say, by flag."""
    ours: ClassVar[Mapping[str, str]]
    """Flags that clusterhub sets by itself, with why."""
    foreign: ClassVar[frozenset[str]]
    """Keys that dask-jobqueue reads for other systems only."""
    login: ClassVar[bool]
    """Whether jobs begin with a login shell by themselves."""

    @abstractmethod
    def seconds(self, text: str) -> float | None:
        """The time that the system understands by ``text``; None where it understands none."""

    @abstractmethod
    def book(self, section: Section, draft: Draft, booked: Booked) -> None:
        """Take the entries that only this system has."""

    @abstractmethod
    def directive(self, directive: Directive, draft: Draft, booked: Booked) -> bool:
        """Take a directive that means more than a line of the script; whether it was one."""

    def account_elsewhere(self) -> DaskValue | None:
        """Who pays, where dask-jobqueue looks for that outside of the config."""
        return None

    def misread(self, entry: DaskValue) -> str | None:
        """Why a walltime does not mean what was typed, where Dask and the system misread it."""
        return None

    def walltime(self, text: str, entry: DaskValue, draft: Draft) -> None:
        """Put the walltime that the system understands by ``text``."""
        seconds = self.seconds(text)
        if seconds is None:
            draft.wrong(entry, f"is no time that {self.system} reads; write it as 'HH:MM:SS', in quotes")
            return
        try:
            draft.put("job.walltime", str(Duration.parse(f"{seconds:f}s")), entry)
        except ValueError as error:
            draft.wrong(entry, str(error))

    def option(self, name: str, value: str, entry: DaskValue, draft: Draft) -> None:
        """Put an option of the backend."""
        draft.put(f"{self.backend}.{name}", value, entry)

    @property
    def backend(self) -> str:
        """What profiles call it."""
        return self.system.lower()


_LONG = re.compile(r"(--[A-Za-z][A-Za-z0-9-]*)(?:(?:\s*=\s*|\s+)(.*))?")
_SHORT = re.compile(r"(-[A-Za-z])\s*(.*)")


def directives(line: str, entry: DaskValue) -> Iterator[Directive]:
    """The options of one line; nothing where it holds something else."""
    pieces = re.split(r"\s+(?=--?[A-Za-z])", line)
    if len(pieces) > 1 and re.search(r"[\"']", line):
        return  # what stands in quotes may look like an option
    for piece in pieces:
        match = _LONG.fullmatch(piece) or _SHORT.fullmatch(piece)
        if match is not None:
            flag, value = match.groups()
            yield Directive(flag, (value or "").strip(), entry)


def take_directives(lines: list[str], entry: DaskValue, dialect: Dialect, draft: Draft, booked: Booked) -> None:
    """Each line as the options that it sets; what has no counterpart stays a directive, word for word."""
    for line in lines:
        text = line.strip().removeprefix(dialect.mark).strip()
        found = list(directives(text, entry))
        rest = [directive for directive in found if not _taken(directive, dialect, draft, booked)]
        if not found or len(rest) == len(found):
            draft.add(f"{dialect.backend}.directives", text, entry)
        else:
            for directive in rest:
                draft.add(f"{dialect.backend}.directives", str(directive), entry)


def _taken(directive: Directive, dialect: Dialect, draft: Draft, booked: Booked) -> bool:
    if dialect.directive(directive, draft, booked):
        return True
    if directive.flag in dialect.options and directive.value:
        dialect.option(dialect.options[directive.flag], directive.value.strip("\"'"), directive.entry, draft)
    elif directive.flag in dialect.ours:
        draft.need_not(replace(directive.entry, value=str(directive)), dialect.ours[directive.flag])
    else:
        return False
    return True
