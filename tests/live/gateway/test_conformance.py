"""A gateway keeps the contract, on the real server, whether that keeps its clusters in memory or in a database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance
from labs.gateway.lab import Gateway

SMALL = {"worker": {"cores": 1, "memory": "512 MiB"}}


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def served(request: pytest.FixtureRequest, gateways: Callable[..., Gateway]) -> Gateway:
    return gateways(database=request.param)


@pytest.fixture
def system(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    for name, value in served.environment().items():
        monkeypatch.setenv(name, value)
    return served


class TestGateway(BackendConformance):
    backend = "gateway"
    overrides = SMALL
    broken = {"gateway": {"options": {"profile": "broken-worker"}}}
    timeout = 90.0
    gateway: Gateway

    @pytest.fixture(autouse=True)
    def _on(self, system: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        type(self).overrides = {**SMALL, "gateway": system.table()}
        type(self).broken = {"gateway": {**system.table(), "options": {"profile": "broken-worker"}}}
        self.gateway = system

    def lose_worker(self, cluster: Cluster) -> None:
        self.gateway.kill_worker(self.gateway.clusters()[0])
