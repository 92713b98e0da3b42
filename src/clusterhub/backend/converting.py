"""The config of other tools, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from clusterhub.errors import Problem


@dataclass(frozen=True, slots=True)
class Said:
    """A value, and the place where it was said: ``~/.config/dask/jobqueue.yaml:9``."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the config of another tool comes to in our words, and what of it does not come along."""

    source: str
    """Where it stands: ``~/.config/dask/jobqueue.yaml``."""
    profile: Mapping[str, Any]
    """The profile; any value in it may be a :class:`Said`. Empty where the other config says nothing."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By dotted key of the profile: how its value follows from what was said, where it is not the same."""
    lost: tuple[Problem, ...] = ()
    """What was asked for and cannot be had here, each with the other tool's key and a reason."""
    unused: tuple[Problem, ...] = ()
    """What has no effect here, or happens by itself, each with the other tool's key and a reason."""


@runtime_checkable
class TakesJobqueue(Protocol):
    """A backend for a system that dask-jobqueue serves as well: it reads the sections of ``jobqueue`` in the Dask config."""

    def claims(self, section: str) -> bool | None:
        """Whether the section is for this system; None where it does not tell."""

    def from_jobqueue(self, section: str) -> Conversion:
        """The section in our words. Raises ConfigError with every value that cannot be meant, each with its key."""
