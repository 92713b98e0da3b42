"""A dask-gateway server on loopback, for every module one, and more for those that need their own (tests/labs/gateway)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labs.gateway import missing
from labs.gateway.lab import Gateway

NAMED = "gateway" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """dask_gateway's connector leaves its socket to the garbage collector where a TLS handshake is cut short."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(autouse=True)
def _all_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists clusters waits for each to tell what it is, as long as a busy machine may take; else two seconds."""
    monkeypatch.setattr("clusterhub_backends.gateway.backend.SIGHT_PATIENCE", 30.0)
    monkeypatch.setattr("clusterhub.keeper.discovery.PATIENCE", 60.0)


@pytest.fixture(scope="session")
def possible() -> None:
    if reason := missing():
        assert not NAMED, f"CLUSTERHUB_LIVE names gateway, and {reason}"
        pytest.skip(f"{reason}: that dask-gateway works was NOT tested (tests/labs/gateway/README.md)")


@pytest.fixture(scope="module")
def gateways(possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gateway]]:
    """Starts servers with settings of their own, which last as long as the module's tests."""
    with ExitStack() as stack:

        def started(folder: Path | None = None, **said: Any) -> Gateway:
            gateway = Gateway(folder or tmp_path_factory.mktemp("gateway"), **said)
            stack.callback(gateway.stop)
            gateway.start()
            return gateway

        yield started


@pytest.fixture(scope="module")
def gateway(gateways: Callable[..., Gateway]) -> Gateway:
    """One that keeps its clusters in memory, with the options of most sites."""
    return gateways()


@pytest.fixture
def lab(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The module's server, with this process as its client."""
    return used(gateway, monkeypatch)


def used(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """This process finds the password of that server."""
    for name, value in gateway.environment().items():
        monkeypatch.setenv(name, value)
    return gateway
