"""A gateway keeps the contract, on the real server: with its clusters in memory, and in a database, where it is killed and
started again in the middle of every cluster's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.testing import BackendConformance
from labs.gateway.lab import Gateway
from live.gateway.conftest import used
from live.gateway.stories import SMALL, write_profile
from live.outages import answers


@pytest.fixture(scope="module")
def durable(gateways: Callable[..., Gateway]) -> Gateway:
    """One whose clusters outlive it."""
    return gateways(database="sqlite")


class OnAGateway(BackendConformance):
    """The suite on a server of the lab's."""

    backend = "lab"
    timeout = 90.0
    gateway: Gateway

    def lose_worker(self, cluster: Cluster) -> None:
        self.gateway.kill_worker(str(cluster.scheduler_address).rpartition("/")[2])

    def use(self, gateway: Gateway, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = used(gateway, monkeypatch)
        kind = type(self)
        kind.overrides = {"worker": SMALL}
        kind.broken = {"gateway": {"options": {"profile": "broken-worker"}}}
        write_profile(home, gateway)


class TestInMemory(OnAGateway):
    @pytest.fixture(autouse=True)
    def _served(self, gateway: Gateway, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use(gateway, home, monkeypatch)


class TestRestartedInMidLife(OnAGateway):
    @pytest.fixture(autouse=True)
    def _served(self, durable: Gateway, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use(durable, home, monkeypatch)

    def test_closing_releases_everything(self) -> None:
        """The server is a child of ours as well, and they are counted: so it is not started anew here."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(self), "unwaited", OnAGateway.unwaited)
            super().test_closing_releases_everything()

    @contextmanager
    def unwaited(self, **overrides: Any) -> Iterator[Cluster]:
        with super().unwaited(**overrides) as cluster:
            # A server that is killed amid the starts of workers counts them as failed, and gives the cluster up at the third.
            cluster.wait(timeout=self.timeout, display=silent())
            self.gateway.kill()
            self.gateway.start()
            self.eventually("it answers again", lambda: answers(cluster))
            yield cluster
