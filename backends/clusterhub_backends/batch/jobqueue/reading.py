"""A section of dask-jobqueue's config as its entries: those that say anything, each with the place where it was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clusterhub.profile.dask_config import ANYWHERE, DaskConfig, DaskValue

ROOT = "jobqueue"
_NOTHING: tuple[Any, ...] = (None, "", (), [], {})


def plain(key: str) -> str:
    """The key as dask-jobqueue spells it; to Dask ``-`` and ``_`` are the same."""
    return key.replace("_", "-")


class Section:
    """The entries of ``jobqueue.NAME``. Who understands an entry takes it out; what is left at the end nobody knew.

    Raises ConfigError where the section is no table.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"{ROOT}.{name}"
        self.config = DaskConfig(ROOT)
        self.config.table(ROOT)
        values = {plain(value.path.removeprefix(f"{self.path}.")): value for value in self.config.values(self.path)}
        self.keys = frozenset(values)
        """Every key that somebody wrote there, also those that are null."""
        self._entries = {key: value for key, value in values.items() if value.value not in _NOTHING}
        self._first = next(iter(self._entries.values()), None)

    def __bool__(self) -> bool:
        return self._first is not None

    @property
    def source(self) -> str:
        """The file it stands in, or where else it was said; in a few words."""
        origin = self._first.origin if self._first is not None else ANYWHERE
        place, _, line = origin.rpartition(":")
        return place if line.isdigit() else origin

    def peek(self, key: str) -> DaskValue | None:
        """The entry, which stays."""
        return self._entries.get(key)

    def take(self, key: str) -> DaskValue | None:
        """The entry, or None where it says nothing."""
        return self._entries.pop(key, None)

    def rename(self, old: str, new: str) -> DaskValue | None:
        """Let the entry of an old name have its new one; where that is said as well, the old entry, which counts for nothing."""
        entry = self._entries.pop(old, None)
        if entry is None or self._entries.setdefault(new, entry) is entry:
            return None
        return entry

    def below(self, entry: DaskValue) -> Iterator[tuple[str, DaskValue]]:
        """The entries of a table in the section, each with its key as dask-jobqueue spells it."""
        table: Mapping[Any, Any] = entry.value
        for key, value in table.items():
            if value not in _NOTHING:
                yield plain(str(key)), self.config.at(f"{entry.path}.{key}", value)

    def left(self) -> list[tuple[str, DaskValue]]:
        """What nobody took."""
        return list(self._entries.items())
