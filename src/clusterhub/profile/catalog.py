"""All profiles and backends that can be named here, and which of them is meant when a name is given or none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clusterhub import registry
from clusterhub.backend import Backend
from clusterhub.errors import ConfigError, Problem
from clusterhub.profile import here
from clusterhub.profile.sources import Sources
from clusterhub.profile.tree import Node

FROM_DASK = "dask"
"""What ``extends`` names to build on the dask config that people already have."""
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """A name, and who chose it."""

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a profile is made of: its ancestors' parts and its own, weakest first."""

    parts: tuple[Node, ...]
    from_dask: bool = False
    """Whether the dask config of its backend lies below all parts."""


class Catalog:
    """The profiles of all layers by name, and the backends that are installed; loads each backend once."""

    def __init__(self, sources: Sources) -> None:
        self.profiles: dict[str, tuple[Node, ...]] = {}
        """The parts of each profile, weakest layer first."""
        self.default: Node | None = None
        self._taken_back: dict[str, str] = {}
        self._loaded: dict[str, Backend[Any]] = {}
        for layer in sources.layers:
            self._add(layer)

    def _add(self, layer: Node) -> None:
        if (default := layer.get("default")) is not None:
            self.default = default if default.value is not None else None
        section = layer.get("profiles")
        for name, part in ((section.table if section else None) or {}).items():
            if part.value is None:
                self.profiles.pop(name, None)
                self._taken_back[name] = part.key_place
            else:
                self.profiles[name] = (*self.profiles.get(name, ()), part)

    @cached_property
    def candidates(self) -> Mapping[str, registry.Candidate]:
        """The backends that installed distributions offer."""
        return registry.candidates()

    @cached_property
    def backend_names(self) -> frozenset[str]:
        """Every name that a backend's table may have: installed ones, and those of this distribution's extras."""
        return frozenset(self.candidates) | registry.EXTRAS

    def backend(self, name: str) -> Backend[Any]:
        """The backend of that name. Raises BackendUnavailable as the registry does."""
        if name not in self._loaded:
            self._loaded[name] = registry.backend(name, self.candidates)
        return self._loaded[name]

    def choose(self, profile: str | None, origin: str) -> Choice:
        """The profile or backend that is meant, by the rules that the docs give. Raises ConfigError where none is."""
        if profile is not None:
            if not isinstance(profile, str):
                raise ConfigError.of(
                    "must be the name of a profile or of a backend, or a ClusterSpec", origin=origin, path="profile"
                )
            return self._known(Choice(profile, origin))
        if named := os.environ.get("CLUSTERHUB_PROFILE"):
            return self._known(Choice(named, "$CLUSTERHUB_PROFILE"))
        if (configured := self._configured()) is not None:
            return configured
        system = here.batch_system()
        if system is not None and not here.in_allocation():
            raise ConfigError.of(self._not_on_a_login_node(system))
        return self._known(Choice("local", "default"))

    def _configured(self) -> Choice | None:
        """What ``default`` says; of a list the first that can be used on this host, or None where none can."""
        if self.default is None:
            return None
        if not isinstance(self.default.value, tuple):
            return self._known(Choice(self.default.value, self.default.origin))
        # All of them, so that a slip in one name does not quietly choose another profile.
        choices = [self._known(Choice(item.value, item.origin)) for item in self.default.value]
        return next((choice for choice in choices if here.matches_here(self.hosts(choice.name))), None)

    def hosts(self, name: str) -> tuple[str, ...]:
        """The host patterns of a profile, as far as they can be told without validating it."""
        if name not in self.profiles:
            return ()
        found: tuple[str, ...] = ()
        for part in self.lineage(name).parts:
            if (node := part.get("hosts")) is not None:
                items = node.plain()
                items = [items] if isinstance(items, str) else items
                found = tuple(item for item in items if isinstance(item, str)) if isinstance(items, list) else ()
        return found

    def _not_on_a_login_node(self, system: str) -> str:
        article = "an" if system in ("LSF", "OAR", "SGE", "HTCondor") else "a"
        remote = [name for name in self.profiles if self.says_backend(name) not in (None, "local")]
        usable = [name for name in remote if here.matches_here(self.hosts(name))]
        choice = listed(usable) if usable else "there is none yet, clusterhub init writes a file to start from"
        return (
            f"no profile chosen, and this looks like {article} {system} login node: {choice};"
            " say connect('local') if you mean it"
        )

    def says_backend(self, name: str) -> object:
        said: object = None
        for part in self.lineage(name).parts:
            if (node := part.get("backend")) is not None:
                said = node.value
        return said

    def _known(self, choice: Choice) -> Choice:
        """The choice, or ConfigError where there is no such profile or backend."""
        if choice.name in self.profiles or choice.name in self.backend_names:
            return choice
        raise ConfigError.of(self.unknown("profile", choice.name, backends=True), origin=choice.origin)

    def unknown(self, noun: str, name: str, *, backends: bool) -> str:
        """What to tell of a name that no profile has: what was meant, perhaps, and what there is."""
        if name in self._taken_back:
            return f"there is no {noun} {name!r}: it is taken back at {self._taken_back[name]}"
        names = [*self.profiles, *(self.candidates if backends else ())]
        close = difflib.get_close_matches(name[:100], names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        known = f"profiles: {listed(self.profiles)}" + (f"; backends: {listed(self.candidates)}" if backends else "")
        return f"unknown {noun} {name[:100]!r}{hint} ({known})"

    def unknown_backend(self, name: str) -> str:
        """What to tell of a name that no backend has."""
        close = difflib.get_close_matches(name[:100], sorted(self.backend_names), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"unknown backend{hint} (installed: {listed(self.candidates)})"

    def lineage(self, name: str) -> Lineage:
        """The parts of a profile and of everything it extends. Raises ConfigError for rings and unknown parents."""
        chain: list[str] = []
        parts: tuple[Node, ...] = ()
        current = name
        while True:
            chain.append(current)
            own = self.profiles[current]
            parts = (*own, *parts)
            parent = _parent(own)
            if parent is None:
                return Lineage(parts)
            if parent.value == FROM_DASK:
                return Lineage(parts, from_dask=True)
            current = self._parent_name(parent, chain)

    def _parent_name(self, parent: Node, chain: list[str]) -> str:
        child, wanted = chain[-1], parent.value
        path = f"profiles.{child}.extends"
        if not isinstance(wanted, str) or not wanted:
            raise ConfigError(Problem(parent.origin, path, "must be the name of one profile, or dask"))
        if wanted == child:
            message = "a profile of the same name already patches the weaker one; leave extends out"
        elif wanted in chain:
            ring = " → ".join([*chain[chain.index(wanted) :], wanted])
            message = f"these profiles extend one another in a ring: {ring}"
        elif wanted not in self.profiles:
            message = self.unknown("profile", wanted, backends=False)
            if wanted in self.backend_names:
                message = f"{wanted} is a backend, not a profile; write backend: {wanted}"
        else:
            return wanted
        raise ConfigError(Problem(parent.origin, path, message, wanted[:60]))


def _parent(parts: Iterable[Node]) -> Node | None:
    """What the parts of one profile extend; the strongest that says anything counts, and null takes it back."""
    said: Node | None = None
    for part in parts:
        if (node := part.get("extends")) is not None:
            said = node if node.value is not None else None
    return said


def listed(names: Iterable[str]) -> str:
    """The names in one line, not more than can be read."""
    shown = [name[:60] for name in names]
    more = f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else ""
    return (", ".join(shown[:_MOST_NAMES]) + more) or "none"
