"""The profiles whose clusters certain backends bring about, resolved: to ask the systems that they name."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from clusterhub.backend import Backend
from clusterhub.errors import ClusterhubError, ConfigError
from clusterhub.profile.catalog import Catalog
from clusterhub.profile.resolve import resolve_in
from clusterhub.profile.resolved import Resolved
from clusterhub.profile.sources import read_sources
from clusterhub.profile.tree import Node


@dataclass(frozen=True)
class OfKind:
    """A profile, or a backend by its bare name, and what it comes to here."""

    name: str
    resolved: Resolved | ClusterhubError
    """Or why it comes to nothing."""
    bare: bool
    """Whether it is the backend's name alone, which nobody need have configured."""


def of_backends(names: Collection[str]) -> Iterator[OfKind]:
    """Every profile that can be used on this host and has one of these backends; then each of them by its bare name.

    Raises nothing for a broken layer: what can be read of the config counts, and ``profiles()`` tells the rest.
    """
    catalog = Catalog(read_sources())
    for name in catalog.profiles:
        if backend_said(catalog, name) in names and (found := _resolved(catalog, name, bare=False)) is not None:
            yield found
    for name in names:
        if name not in catalog.profiles and (found := _resolved(catalog, name, bare=True)) is not None:
            yield found


def backend_said(catalog: Catalog, name: str) -> str | None:
    """The backend of a profile, as far as that can be told without validating it."""
    with contextlib.suppress(ConfigError):  # it extends itself, or what is not there: resolving tells of it
        said = catalog.says_backend(name)
        return said if isinstance(said, str) else None
    return None


def backend_named(profile: object, said: object) -> Backend[Any] | None:
    """The backend that a call means by ``profile`` and by ``backend=said``, where that can be told at once; else None.

    Reads files and loads that backend alone; raises nothing.
    """
    catalog = Catalog(read_sources())
    name = getattr(profile, "backend", None) or said
    with contextlib.suppress(ClusterhubError):
        if name is None:
            chosen = catalog.choose(profile if isinstance(profile, str) else None, "call").name
            name = backend_said(catalog, chosen) if chosen in catalog.profiles else chosen
        if isinstance(name, str):
            return catalog.backend(name)
    return None


def _resolved(catalog: Catalog, name: str, *, bare: bool) -> OfKind | None:
    """None where it is made for other hosts."""
    try:
        return OfKind(name, resolve_in(catalog, name, Node({}, "call")), bare)
    except ConfigError as error:
        if [problem.path for problem in error.problems] == ["hosts"]:
            return None
        return OfKind(name, error, bare)
    except ClusterhubError as error:
        return OfKind(name, error, bare)
