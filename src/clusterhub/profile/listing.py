"""Every profile that there is, where it was written, and whether it can be used here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from clusterhub.backend import Backend
from clusterhub.errors import BackendUnavailable, ConfigError, Problem
from clusterhub.profile.catalog import Catalog
from clusterhub.profile.resolve import resolve_in
from clusterhub.profile.resolved import Resolved
from clusterhub.profile.sources import read_sources
from clusterhub.profile.tree import Node

READY = "ready"


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """One profile as ``clusterhub profiles`` lists it."""

    name: str
    backend: str
    """The name of its backend; empty where it says none."""
    description: str
    origin: str
    """Where its strongest part was written: ``~/.clusterhub.yaml:3``, ``package my-site:9``."""
    is_default: bool
    """Whether it is used where no profile is named."""
    here: str
    """``ready``, or why it cannot be used here."""


class Profiles(list[ProfileInfo]):
    """All profiles that could be read, and in ``problems`` what is wrong with the files they were read from."""

    def __init__(self, found: Iterable[ProfileInfo] = (), problems: Iterable[Problem] = ()) -> None:
        super().__init__(found)
        self.problems = tuple(problems)


def profiles() -> Profiles:
    """Every profile of every layer, in the order in which they are first said. Raises nothing for a broken layer.

    It imports no native library and asks no network: a profile is ready when it is valid, its backend is installed and
    sees nothing that speaks against it on this machine. What is wrong with whole files stands in ``problems``.
    """
    sources = read_sources()
    catalog = Catalog(sources)
    chosen = _chosen(catalog)
    usable: dict[str, str | None] = {}
    return Profiles((_info(catalog, name, chosen, usable) for name in catalog.profiles), sources.problems)


def _chosen(catalog: Catalog) -> str | None:
    try:
        return catalog.choose(None, "default").name
    except ConfigError:
        return None


def _info(catalog: Catalog, name: str, chosen: str | None, usable: dict[str, str | None]) -> ProfileInfo:
    parts = catalog.profiles[name]
    with contextlib.suppress(ConfigError):  # resolving tells of it
        parts = catalog.lineage(name).parts
    return ProfileInfo(
        name=name,
        backend=_said(parts, "backend"),
        description=_said(parts, "description"),
        origin=catalog.profiles[name][-1].key_place,
        is_default=name == chosen,
        here=_here(catalog, name, usable),
    )


def _said(parts: Iterable[Node], key: str) -> str:
    said = ""
    for part in parts:
        if (node := part.get(key)) is not None:
            said = " ".join(node.value.split()) if isinstance(node.value, str) else ""
    return said


def _here(catalog: Catalog, name: str, usable: dict[str, str | None]) -> str:
    """``ready``, or the first reason why not: its host, its backend, its problems."""
    try:
        resolved = _resolved(catalog, name)
    except BackendUnavailable as error:
        return _install_line(str(error))
    except ConfigError as error:
        if [problem.path for problem in error.problems] == ["hosts"]:
            return error.problems[0].message
        count = "1 problem" if len(error.problems) == 1 else f"{len(error.problems)} problems"
        return f"{count}: clusterhub show {name}"
    backend = resolved.backend
    if backend.name not in usable:
        usable[backend.name] = _told(backend, backend.unusable)
    return usable[backend.name] or _told(backend, partial(backend.unconfigured, resolved.options)) or READY


def _resolved(catalog: Catalog, name: str) -> Resolved:
    call = Node({}, "call")
    try:
        # Some backends measure the machine for their defaults, which takes longer than all the rest.
        return resolve_in(catalog, name, call, with_defaults=False)
    except ConfigError:
        return resolve_in(catalog, name, call)


def _told(backend: Backend[Any], reason: Callable[[], str | None]) -> str | None:
    try:
        return reason()
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the other profiles are listed
        return f"backend {backend.name} fails: {type(error).__name__}: {str(error)[:100]}"


def _install_line(text: str) -> str:
    """The registry's sentence, short enough for a column where it only names the line that installs."""
    _, found, line = text.partition(" is not installed; ")
    return f"not installed: {line}" if found else text
