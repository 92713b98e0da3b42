"""Finds backends by the entry point group ``clusterhub.backends`` and loads them late.

A plugin that is broken, doubled or from another time never hides another one: it is listed with what is wrong with it,
and raises BackendUnavailable when it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel

from clusterhub.backend import CONTRACT, Backend, Feature
from clusterhub.errors import BackendUnavailable

GROUP = "clusterhub.backends"

# The backends of this distribution's extras, so that a name which is known but not there gets the line that installs it.
EXTRAS = frozenset({"pbs", "slurm", "kubernetes", "gateway"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """What entry points say of one name, before anything is imported."""

    name: str
    entries: tuple[EntryPoint, ...]

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions that claim the name, as ``clusterhub 0.1.0``."""
        return tuple(_distribution(entry) for entry in self.entries)

    def load(self) -> Backend[Any]:
        """The backend itself. Raises BackendUnavailable with what is wrong and who can mend it."""
        if len(self.entries) > 1:
            claims = " and ".join(self.distributions)
            raise BackendUnavailable(
                f"two distributions claim the backend name {self.name!r}: {claims}; uninstall one of them"
            )
        entry = self.entries[0]
        try:
            cls = entry.load()
        except (Exception, SystemExit) as error:
            raise BackendUnavailable(
                f"backend {self.name!r} of {self.distributions[0]} cannot be loaded from {entry.value}:"
                f" {type(error).__name__}: {error}"
            ) from error
        if reason := _misfit(cls, self.name):
            raise BackendUnavailable(f"backend {self.name!r} of {self.distributions[0]} {reason}")
        try:
            backend: Backend[Any] = cls()
        except Exception as error:
            raise BackendUnavailable(
                f"backend {self.name!r} of {self.distributions[0]} cannot be made: {type(error).__name__}: {error}"
            ) from error
        return backend


def _misfit(cls: object, name: str) -> str | None:
    """Why ``cls`` cannot be the backend ``name``, or None if it can."""
    if not (isinstance(cls, type) and issubclass(cls, Backend)):
        return f"is {cls!r}, which is no subclass of clusterhub.Backend"
    contract = getattr(cls, "contract", None)
    if contract is None:
        return f"does not say which contract it was written for; this clusterhub has contract {CONTRACT}"
    if isinstance(contract, bool) or not isinstance(contract, int):
        return f"says contract = {contract!r}, which is no number; this clusterhub has contract {CONTRACT}"
    if contract != CONTRACT:
        newer = "clusterhub" if contract > CONTRACT else "the plugin"
        return f"was written for contract {contract}, this clusterhub has contract {CONTRACT}; upgrade {newer}"
    return _incomplete(cls, name)


def _incomplete(cls: type[Backend[Any]], name: str) -> str | None:
    """What a backend of this contract lacks or says wrongly, or None."""
    missing = [part for part in ("name", "features", "options_type") if not hasattr(cls, part)]
    if missing:
        return f"lacks {', '.join(missing)}"
    if not (isinstance(cls.options_type, type) and issubclass(cls.options_type, BaseModel)):
        return f"has {cls.options_type!r} as options_type, which is no pydantic model"
    if not all(isinstance(feature, Feature) for feature in cls.features):
        return "lists features that are not of clusterhub.Feature"
    if cls.name != name:
        return f"calls itself {cls.name!r}, and its entry point calls it {name!r}"
    if cls.__abstractmethods__:
        return f"does not define {', '.join(sorted(cls.__abstractmethods__))}"
    return None


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def candidates() -> dict[str, Candidate]:
    """Every backend name that an installed distribution claims, in alphabetical order; imports none of them."""
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        # An editable install can leave the same distribution on the path twice: that is one claim, not two.
        claim = (entry.dist.name if entry.dist is not None else "", entry.value)
        found.setdefault(entry.name, {}).setdefault(claim, entry)
    return {name: Candidate(name, tuple(found[name].values())) for name in sorted(found)}


def backend(name: str, among: Mapping[str, Candidate] | None = None) -> Backend[Any]:
    """The backend of that name, ``among`` those found before or, by default, all that are installed now.

    Raises BackendUnavailable for one that is unknown, doubled, broken or too old or new.
    """
    known = candidates() if among is None else among
    if name in known:
        return known[name].load()
    raise BackendUnavailable(_unknown(name, known))


def _unknown(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if name in EXTRAS:
        return f'backend {name!r} is not installed; pip install "clusterhub[{name}]"'
    close = difflib.get_close_matches(name, [*names, *EXTRAS], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown backend {name!r}{hint} (installed: {', '.join(names)}; see `clusterhub backends`)"
