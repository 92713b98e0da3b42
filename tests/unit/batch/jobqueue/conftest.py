"""Sections of a dask-jobqueue config, and what clusterhub makes of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from clusterhub.backend import Conversion, Said
from clusterhub.errors import ConfigError, Problem
from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.slurm import SlurmBackend

BACKENDS = {"pbs": PbsBackend, "slurm": SlurmBackend}


@dataclass(frozen=True)
class Taken:
    """A section as it was taken."""

    conversion: Conversion

    @property
    def values(self) -> dict[str, Any]:
        """Every value by its dotted key."""
        return {path: said.value for path, said in self.said.items()}

    @property
    def said(self) -> dict[str, Said]:
        found: dict[str, Said] = {}

        def walk(table: Any, path: str) -> None:
            for key, value in table.items():
                if isinstance(value, Said):
                    found[f"{path}{key}"] = value
                else:
                    walk(value, f"{path}{key}.")

        walk(self.conversion.profile, "")
        return found

    @property
    def notes(self) -> dict[str, str]:
        return dict(self.conversion.notes)

    @property
    def lost(self) -> dict[str, str]:
        return told(self.conversion.lost)

    @property
    def unused(self) -> dict[str, str]:
        return told(self.conversion.unused)


def told(problems: tuple[Problem, ...]) -> dict[str, str]:
    """Messages by the last part of their keys and the value."""
    return {f"{problem.path.split('.', 2)[2]} = {problem.written}": problem.message for problem in problems}


Take = Callable[..., Taken]


@pytest.fixture
def take(dask_files: Any, monkeypatch: pytest.MonkeyPatch) -> Take:
    """``take("pbs", "cores: 24")``: the section of these lines, as the backend of that name takes it."""
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)

    def taken(backend: str, text: str, section: str | None = None) -> Taken:
        name = section or backend
        dask_files.write(f"jobqueue:\n  {name}:\n{textwrap.indent(textwrap.dedent(text).strip(), '    ')}\n")
        return Taken(BACKENDS[backend]().from_jobqueue(name))

    return taken


@pytest.fixture
def refuse(take: Take) -> Callable[..., list[Problem]]:
    """The problems of a section that cannot be meant, all of which name a key of it."""

    def refused(backend: str, text: str, section: str | None = None) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            take(backend, text, section)
        problems = list(caught.value.problems)
        assert all(problem.path.startswith(f"jobqueue.{section or backend}.") for problem in problems), problems
        return problems

    return refused
