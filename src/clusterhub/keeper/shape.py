"""Whether a living cluster is what somebody asks for under its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clusterhub.backend import Plan
from clusterhub.errors import ConfigError, Problem
from clusterhub.keeper.wire import without_secrets

NO_SHAPE = ("backend", "description", "hosts", "workers", "lifecycle", "limits", "required", "support")
"""Keys of a spec that say nothing of what the workers are like; the number of workers is a target, and may change."""


class Living(Protocol):
    """What is known of a living cluster: its record, where it has one."""

    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def plan(self) -> Mapping[str, Any]:
        """What it was to be, as JSON data without secrets."""


@dataclass(frozen=True)
class Unrecorded:
    """The same of one that is not written down here."""

    name: str
    profile: str
    backend: str
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, plan: Plan[Any]) -> Unrecorded:
        """The cluster that was started from ``plan``."""
        return cls(plan.name, plan.profile, plan.backend, without_secrets(plan))


def refuse_another_shape(plan: Plan[Any], living: Living) -> None:
    """Raise ConfigError, with every difference, where the ``living`` cluster is not what ``plan`` would be."""
    name = living.name
    way_out = f"clusterhub.attach({name!r}) takes it as it is; another name= makes another"
    if plan.backend != living.backend or plan.profile != living.profile:
        where = f"runs on {living.profile}" if living.profile else f"was made on {living.backend} without clusterhub"
        raise ConfigError(Problem("call", "profile", f"{name} {where}; {way_out}", plan.profile or plan.backend))
    ours = without_secrets(plan)
    asked, has = dict(_shape(ours)), dict(_shape(living.plan)) | _left(living.plan)
    problems = [
        _difference(path, asked.get(path), has.get(path), f"; {way_out}", name)
        for path in sorted((asked.keys() | has.keys()) - _left(ours).keys())  # who leaves a value open asks for none
        if asked.get(path) != has.get(path)
    ]
    if problems:
        raise ConfigError(problems, subject=f"cluster {name}" if len(problems) > 1 else "")


def _difference(path: str, asked: Any, living: Any, way_out: str, name: str) -> Problem:
    if path.startswith("environment.variables."):  # their values may be secrets
        return Problem("call", path, f"is another in {name}{way_out}")
    has = "has none" if living is None else str(living) if isinstance(living, _Left) else f"has {living}"
    return Problem("call", path, f"{name} {has}{way_out}", "none" if asked is None else str(asked))


def _shape(plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in plan["spec"].items():
        if key not in NO_SHAPE:
            yield from _flat(value, key)
    yield from _flat(plan["options"], str(plan["backend"]))


class _Left(str):
    """What stands for a value that was left to the system."""


def _left(plan: Mapping[str, Any]) -> dict[str, _Left]:
    leaves = [leaf["path"] for leaf in plan.get("values", ()) if leaf.get("left")]
    return {path: _Left(f"left it to {plan['backend']}") for path in leaves}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}")
    else:
        yield path, value
