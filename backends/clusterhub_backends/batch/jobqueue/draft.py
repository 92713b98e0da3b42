"""What becomes of a section: values in our words, problems, what is lost, and what needs no counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusterhub import Problem
from clusterhub.backend import Said
from clusterhub.profile.dask_config import DaskValue
from clusterhub.profile.secrets import redact_text


class Draft:
    """The profile that a section comes to, while it is being made. Every value knows the entry it comes from."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.lost: list[Problem] = []
        self.unused: list[Problem] = []
        self.entries: dict[str, DaskValue] = {}
        """By dotted key of the profile: the entry that decided it."""
        self._values: dict[str, Any] = {}

    def put(self, path: str, value: Any, entry: DaskValue, note: str = "") -> None:
        """The value at a dotted key of the profile; the last word counts. ``note`` says how it follows from the entry."""
        self._values[path] = value
        self.entries[path] = entry
        self.notes.pop(path, None)
        if note:
            self.notes[path] = note

    def add(self, path: str, item: str, entry: DaskValue) -> None:
        """One more item of the list at a dotted key."""
        self._values.setdefault(path, []).append(item)
        self.entries.setdefault(path, entry)

    def get(self, path: str) -> Any:
        """The value at the dotted key so far, or None."""
        return self._values.get(path)

    def wrong(self, entry: DaskValue, message: str) -> None:
        """The entry cannot be meant."""
        self.problems.append(entry.problem(redact_text(message)))

    def lose(self, entry: DaskValue, reason: str) -> None:
        """The entry asks for what cannot be had here."""
        self.lost.append(entry.problem(redact_text(reason)))

    def need_not(self, entry: DaskValue, reason: str) -> None:
        """The entry has no effect here, or what it asks for happens by itself."""
        self.unused.append(entry.problem(redact_text(reason)))

    def text(self, entry: DaskValue) -> str | None:
        """The entry as one line of text; a number is one, as it was written. None, and a problem, where it is none."""
        value = entry.value
        if isinstance(value, bool):
            # YAML 1.1 reads the words on, off, yes and no so.
            self.wrong(entry, "must be a text; put it in quotes")
        elif not isinstance(value, str | int | float):
            self.wrong(entry, "must be a text")
        elif "\n" in (text := str(value).strip()) or not text:
            self.wrong(entry, "must be one line")
        else:
            return text
        return None

    def number(self, entry: DaskValue) -> int | None:
        """The entry as a whole number of at least 1. None, and a problem, where it is none."""
        value = entry.value
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        if whole and 1 <= value <= 10**6:
            return int(value)
        self.wrong(entry, "must be a whole number of at least 1, and no more than any machine has")
        return None

    def lines(self, entry: DaskValue) -> list[str]:
        """The entry, a list of texts or a single one, as its lines. Empty ones say nothing."""
        items = entry.value if isinstance(entry.value, list | tuple) else [entry.value]
        if any(isinstance(item, bool | Mapping | list | tuple) for item in items):
            self.wrong(entry, "must be a list of texts")
            return []
        return [line.rstrip() for item in items if item is not None for line in str(item).splitlines() if line.strip()]

    def profile(self) -> dict[str, Any]:
        """The profile as nested tables, each value with its origin."""
        profile: dict[str, Any] = {}
        for path, value in self._values.items():
            *tables, key = path.split(".")
            table = profile
            for name in tables:
                table = table.setdefault(name, {})
            table[key] = Said(value, self.entries[path].origin)
        return profile
