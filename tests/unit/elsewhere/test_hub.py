"""`Client("hub://eddies")` where eddies lives elsewhere: its system is asked, and not more often than needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from distributed import Client
from distributed.comm import connect as dial
from distributed.comm.core import FatalCommClosedError
from simulated_queue import SimulatedBackend, cluster_of

import clusterhub
from clusterhub.api import hub
from clusterhub.errors import ClusterGone, ConfigError

from .conftest import connect


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sites that were asked what lives there."""
    sites: list[str] = []
    discover = SimulatedBackend.discover

    async def counted(self, options):
        sites.append(options.site)
        return await discover(self, options)

    monkeypatch.setattr(SimulatedBackend, "discover", counted)
    return sites


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask makes one object for all connections of a process."""
    from distributed.comm.registry import backends

    monkeypatch.setitem(backends, "hub", hub.LivingHub())


def test_a_client_finds_it_by_name_and_asks_once(sites, asked):
    with connect("near", name="eddies", workers=1) as cluster:
        cluster.wait(1, timeout=60)
        del asked[:]
        for _ in range(3):
            with Client("hub://eddies", set_as_default=False) as client:
                assert client.submit(sum, [1, 2]).result(timeout=60) == 3
                assert (
                    client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address) == cluster.scheduler_address
                )
        assert sorted(asked) == ["far", "here", "near"]
        with Client(f"hub://{cluster_of(cluster).id}", set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3


def test_of_many_connections_at_once_one_asks(asked):
    with connect(name="eddies") as cluster, ThreadPoolExecutor(10) as threads:
        del asked[:]
        resolver = hub.LivingHub()
        found = list(threads.map(lambda _: resolver.resolve("eddies"), range(10)))
        assert found == [(cluster.scheduler_address, {})] * 10
        assert asked == ["here"]


def test_one_that_has_ended_and_was_replaced_by_another_of_its_name_is_found_again(asked, monkeypatch):
    resolver = hub.LivingHub()
    with connect(name="eddies") as first:
        old = resolver.resolve("eddies")[0]
        assert old == first.scheduler_address
    with connect(name="eddies") as second:
        assert resolver.resolve("eddies")[0] == old, "what was told is remembered for a short time"
        monkeypatch.setattr(hub, "REMEMBERED", 0.0)
        del asked[:]
        assert [resolver.resolve("eddies")[0] for _ in range(3)] == [second.scheduler_address] * 3
        assert asked == ["here"], "a cluster that lives tells so itself"


async def test_it_can_be_asked_on_a_running_loop():
    async with clusterhub.aio.connect("simulated", name="eddies", workers=0) as cluster:
        host, port = hub.LivingHub().get_address_host_port("eddies")
        assert cluster.scheduler_address == f"tcp://{host}:{port}"


def test_the_keys_that_its_system_gives_come_along(monkeypatch):
    from simulated_queue.deployment import SimulatedDeployment

    class Security:
        def get_connection_args(self, role):
            return {"extra_conn_args": {"headers": role}}

    monkeypatch.setattr(SimulatedDeployment, "security", Security())
    with connect(name="eddies") as cluster:
        assert hub.LivingHub().resolve("eddies") == (
            cluster.scheduler_address,
            {"extra_conn_args": {"headers": "client"}},
        )


def test_looking_one_up_holds_nothing():
    first = connect(name="eddies")
    hub.LivingHub().resolve("eddies")
    assert len(cluster_of(first).holders) == 1
    first.close()


def test_one_that_starts_is_a_moments_trouble_and_one_that_ends_is_not(monkeypatch):
    discover, state = SimulatedBackend.discover, ["starting"]

    async def passing(self, options):
        return [replace(sighting, state=state[0]) for sighting in await discover(self, options)]

    with connect(name="eddies"):
        monkeypatch.setattr(SimulatedBackend, "discover", passing)
        with pytest.raises(ConnectionError, match="eddies is starting"):
            hub.LivingHub().resolve("eddies")
        state[0] = "ending"
        with pytest.raises(ClusterGone, match="is ending"):
            hub.LivingHub().resolve("eddies")


async def test_a_name_that_nobody_knows_is_not_tried_again(sites, asked):
    with pytest.raises(FatalCommClosedError, match="there is no cluster of that name"):
        await dial("hub://nobody")
    assert sorted(asked) == ["far", "here", "near"]


def test_several_of_one_name_are_refused(sites):
    with (
        connect("near", name="eddies"),
        connect("far", name="eddies"),
        pytest.raises(ConfigError, match="2 clusters are called so"),
    ):
        hub.LivingHub().resolve("eddies")
