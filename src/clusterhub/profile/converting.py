"""From the dask-jobqueue config that a user has to a first config: its sections as profiles, each with what became of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterhub import registry
from clusterhub.backend import Conversion, Said, TakesJobqueue
from clusterhub.errors import BackendUnavailable, ConfigError, Problem
from clusterhub.profile import here
from clusterhub.profile.catalog import listed
from clusterhub.profile.dask_config import DaskConfig
from clusterhub.profile.secrets import redact_text
from clusterhub.profile.sources import shown_path
from clusterhub.profile.written import block, one_line
from clusterhub.spec import ClusterSpec

ROOT = "jobqueue"
_MARK = "\0"
_WIDEST = 48
"""Columns to which comments are aligned; a longer line pushes its own away."""
_ONLY_A_TIME = frozenset({"job"})
"""What a section comes to of which nobody has filled in anything."""


@dataclass(frozen=True, slots=True)
class Converted:
    """One section as a profile of the same name."""

    name: str
    backend: str
    because: str
    """What told the backend, where the section itself does not; else empty."""
    conversion: Conversion

    def values(self) -> list[tuple[str, str, str]]:
        """Every value of the profile: its dotted key, its text without what may be a secret, and how it follows."""
        return [(".".join(path), one_line(value, cut=True), note) for path, value, note in self._entries()]

    def as_yaml(self) -> str:
        """The profile as it is written below ``profiles:``, with the arithmetic and what is lost as comments."""
        entries = [
            (("backend",), self.backend, self.because),
            (("workers",), {"minimum": 0, "maximum": 10}, "a range: the cluster adapts to its load"),
            *self._entries(),
        ]
        # Marked, so that the comments can be told from the values once they are lines.
        marked = [((self.name, *path), value, note and f"{_MARK}{_flat(note)}") for path, value, note in entries]
        lines = [line.partition(f"  # {_MARK}") for line in block(marked, indent=1)]
        space = max(len(line) for line, mark, _ in lines if mark and len(line) <= _WIDEST)
        told = [f"{line:<{space}}  # {note}" if mark else line for line, mark, note in lines]
        lost = [f"    # left out: {_flat(str(problem))}" for problem in self.conversion.lost]
        head = f"  # {_flat(f'from {ROOT}.{self.name}, {self.conversion.source}, which counts no more for it')}"
        return "\n".join([head, *told, *lost]) + "\n"

    def _entries(self) -> list[tuple[tuple[str, ...], Any, str]]:
        """Each value with its path and note, in the order of the vocabulary, the backend's options last."""
        order = [*ClusterSpec.model_fields, self.backend]
        leaves = sorted(_leaves(self.conversion.profile, ()), key=lambda leaf: order.index(leaf[0][0]))
        return [(path, value, self.conversion.notes.get(".".join(path), "")) for path, value in leaves]


@dataclass(frozen=True, slots=True)
class Converting:
    """What came of the sections: the profiles, and by name those that none could be made of, each with why."""

    profiles: tuple[Converted, ...]
    skipped: Mapping[str, str]


def convert_jobqueue(section: str | None = None, backend: str | None = None) -> Converting:
    """The section of that name as a profile; without a name every section that says anything.

    ``backend`` settles for which batch system a section is that does not tell. Raises ConfigError where there is nothing to
    convert, where it cannot be told for what it is, and with every value that cannot be meant. Writes nothing.
    """
    table = DaskConfig(ROOT).table(ROOT)
    able = _able_backends()
    if backend is not None and backend not in able:
        raise ConfigError.of(f"takes {_or(able)}, not {backend[:60]}", origin="--backend")
    if section is not None:
        return Converting((_one(_known(section, table), able, backend),), {})
    return _all(table, able, backend)


def _one(name: str, able: Mapping[str, TakesJobqueue], backend: str | None) -> Converted:
    converted = _converted(name, able, backend, forced=True)
    if _says_nothing(converted):
        raise ConfigError.of("says nothing that a profile could be made of", origin=f"{ROOT}.{name}")
    return converted


def _all(table: Mapping[Any, Any], able: Mapping[str, TakesJobqueue], backend: str | None) -> Converting:
    profiles: list[Converted] = []
    skipped: dict[str, str] = {}
    problems: list[Problem] = []
    for name in sorted(name for name in table if isinstance(name, str)):
        try:
            converted = _converted(name, able, backend, forced=False)
        except _Unclear as unclear:
            if _is_filled_in(table[name]):
                skipped[name] = unclear.problems[0].message
        except ConfigError as error:
            problems += error.problems
        else:
            profiles += [] if _says_nothing(converted) else [converted]
    if problems:
        raise ConfigError(problems, subject=f"the dask-jobqueue config ({ROOT})")
    if not profiles:
        raise ConfigError.of(_nothing_found(skipped))
    return Converting(tuple(profiles), skipped)


class _Unclear(ConfigError):
    """A section of which no profile can be made."""


def _able_backends() -> dict[str, TakesJobqueue]:
    able: dict[str, TakesJobqueue] = {}
    for name, candidate in registry.candidates().items():
        try:
            backend = candidate.load()
        except BackendUnavailable:
            continue
        if isinstance(backend, TakesJobqueue):
            able[name] = backend
    return able


def _backend_of(name: str, able: Mapping[str, TakesJobqueue], wanted: str | None, *, forced: bool) -> tuple[str, str]:
    """The backend that the section is for, and what told it where the section does not."""
    if wanted is not None and forced:
        return wanted, ""
    claims = {backend: taker.claims(name) for backend, taker in able.items()}
    if (claiming := [backend for backend, claim in claims.items() if claim]) != []:
        return claiming[0], ""
    undecided = [backend for backend, claim in claims.items() if claim is None]
    if not undecided:
        raise _Unclear.of(
            f"it is for a batch system that needs another backend than {_or(able)}", origin=f"{ROOT}.{name}"
        )
    if wanted is not None:
        return wanted, ""
    if (found := here.backend()) in undecided:
        return found, f"{here.batch_system()} commands were found here"
    hint = f"say --backend {' or --backend '.join(undecided)}"
    raise _Unclear.of(f"it does not tell which batch system it is for; {hint}", origin=f"{ROOT}.{name}")


def _converted(name: str, able: Mapping[str, TakesJobqueue], wanted: str | None, *, forced: bool) -> Converted:
    backend, because = _backend_of(name, able, wanted, forced=forced)
    return Converted(name, backend, because, able[backend].from_jobqueue(name))


def _says_nothing(converted: Converted) -> bool:
    return converted.conversion.profile.keys() <= _ONLY_A_TIME


def _is_filled_in(section: Any) -> bool:
    """Whether somebody has written into it; whole files of nulls lie about in many homes."""
    return isinstance(section, Mapping) and any(section.get(key) is not None for key in ("cores", "memory", "queue"))


def _known(section: str, table: Mapping[Any, Any]) -> str:
    names = [name for name in table if isinstance(name, str)]
    name = section.removeprefix(f"{ROOT}.")
    for known in names:
        if known.replace("_", "-") == name.replace("_", "-"):  # to Dask they are the same
            return known
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError.of(
        f"there is no section {ROOT}.{name[:60]} in your dask config{hint} (sections: {listed(names)})"
    )


def _nothing_found(skipped: Mapping[str, str]) -> str:
    if skipped:
        return "; ".join(f"{ROOT}.{name}: {reason}" for name, reason in skipped.items())
    folders = ", ".join(shown_path(Path(folder)) for folder in reversed(DaskConfig(ROOT).folders))
    return (
        f"there is no dask-jobqueue config to convert: no section below {ROOT} says anything, in {folders}"
        " or in variables DASK_JOBQUEUE__...; clusterhub init writes a file to start from"
    )


def _or(names: Mapping[str, Any]) -> str:
    return " or ".join(names) or "none that is installed"


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, below in value.items():
        said = below.value if isinstance(below, Said) else below
        if isinstance(said, Mapping):
            yield from _leaves(said, (*path, key))
        else:
            yield (*path, key), said


def _flat(text: str) -> str:
    """One line, without what may be a secret: it goes into a comment."""
    return " ".join(redact_text(text).split())
