"""Clusters in the simulated system, none of which outlives its test; and a config that names systems."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_queue import ask
from simulated_queue.system import LIVING, ended, started

import clusterhub
from clusterhub.cluster import Cluster
from clusterhub.keeper import discovery

SHAPE: dict[str, Any] = {"worker": {"cores": 1, "memory": "512 MiB"}}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    for cluster in list(LIVING.values()):
        ask(ended(cluster)).result(30)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No system is given up because this machine is busy."""
    monkeypatch.setattr(discovery, "PATIENCE", 60.0)


@pytest.fixture
def config(home: Path) -> Callable[[str], None]:
    """Writes the user's profiles."""

    def write(text: str) -> None:
        (home / ".clusterhub.yaml").write_text("profiles:\n" + textwrap.indent(textwrap.dedent(text), "  "))

    return write


@pytest.fixture
def sites(config: Callable[[str], None]) -> None:
    """Two profiles that name two systems."""
    config(
        """\
        near: {backend: simulated, simulated: {site: near}, worker: {cores: 1, memory: 512 MiB}}
        far: {backend: simulated, simulated: {site: far}, worker: {cores: 1, memory: 512 MiB}}
        """
    )


def connect(profile: str = "simulated", **said: Any) -> Cluster:
    """A cluster without workers, unless they are asked for."""
    shape = SHAPE if profile == "simulated" else {}
    return clusterhub.connect(profile, **{"workers": 0, **shape, **said})


def made_without_clusterhub(name: str = "", **options: Any) -> str:
    """A cluster that somebody made with the system's own client; what the system calls it."""
    from simulated_queue import SimulatedBackend, SimulatedOptions

    from clusterhub.spec import ClusterSpec

    plan = SimulatedBackend().plan(name, ClusterSpec(backend="simulated", workers=0), SimulatedOptions(**options))
    cluster = ask(started(plan)).result(30)
    if not name:
        cluster.plan = plan.model_copy(update={"name": cluster.id})
    return cluster.id


def living() -> list[str]:
    """The names of all that live in the system."""
    return sorted(cluster.plan.name for cluster in LIVING.values())
