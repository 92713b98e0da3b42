"""A cluster that was attached to is as good as one's own, for people, programs and Dask."""

from __future__ import annotations

import pytest
from distributed import Client
from distributed.core import Status

import clusterhub
from clusterhub._dask.hub_comm import HubConnector
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.errors import ClusterGone
from clusterhub.keeper import end
from clusterhub.keeper.serving import HANDLER
from kept.conftest import SMALL, eventually


@pytest.fixture
def eddies(store):
    made = clusterhub.connect("local", name="eddies", keep=True, workers=1, **SMALL)
    made.wait(timeout=60)
    made.close()
    yield "eddies"
    if "eddies" in store.names():
        end("eddies")


def test_results_outlive_a_client_that_was_killed_also_those_still_being_computed(program, store):
    client = program("""
        cluster = clusterhub.connect("local", name="eddies", keep=True, workers=2, **SMALL)
        cluster.wait(timeout=60)
        client = cluster.get_client()
        def slow():
            import time
            time.sleep(5)
            return "slow"
        done, running = client.submit(lambda: "done"), client.submit(slow)
        done.result()
        client.publish_dataset(done=done, running=running)
        say("computing")
        time.sleep(600)
    """)
    client.says()
    client.kill()
    with clusterhub.attach("eddies") as cluster, cluster.get_client() as mine:
        assert mine.get_dataset("done").result(timeout=30) == "done"
        assert mine.get_dataset("running").result(timeout=30) == "slow"
    end("eddies")


def test_the_facade_of_an_attached_cluster_does_all_that_ones_own_does(eddies):
    with clusterhub.attach(eddies) as cluster:
        assert cluster.status is Status.running
        assert (cluster.name, cluster.minimum, cluster.maximum, cluster.kept) == ("eddies", 1, 1, True)
        assert {"scheduler", "keeper", "0"} <= set(cluster.logs())
        assert "ready" in cluster.logs("keeper")["keeper"]
        with pytest.raises(KeyError, match="no unit 'nonsense'"):
            cluster.logs("nonsense")
        cluster.scale(2)
        cluster.wait(timeout=60)
        assert cluster.report().connected == 2
        cluster.adapt(0, 2)
        assert "eddies on local" in repr(cluster)
        assert "eddies" in cluster._repr_html_()
        with Client(cluster, set_as_default=False) as client:
            assert client.submit(abs, -1).result(timeout=60) == 1
            assert set(cluster.scheduler_info["workers"]) == set(client.scheduler_info(n_workers=-1)["workers"])
    assert cluster.status is Status.closed
    with pytest.raises(ClusterGone):
        cluster.scale(1)


def test_one_facade_sees_what_another_said(eddies):
    with clusterhub.attach(eddies) as one, clusterhub.attach(eddies) as other:
        one.scale(2)
        assert other.report().target.minimum == 2
        assert other.maximum == 2


def test_code_that_only_knows_dask_finds_it_by_name(eddies):
    with Client(f"hub://{eddies}", set_as_default=False) as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
        assert len(client.gather(client.map(abs, range(10)))) == 10
        client.publish_dataset(three=client.submit(sum, [1, 2]))
        assert client.list_datasets() == ("three",)


def test_an_unknown_name_is_asked_for_once_and_fails_with_a_hint(eddies, monkeypatch):
    connect, asked = HubConnector.connect, []

    async def counted(self, address, *args, **kwargs):
        asked.append(address)
        return await connect(self, address, *args, **kwargs)

    monkeypatch.setattr(HubConnector, "connect", counted)
    with pytest.raises(OSError, match="did you mean 'eddies'"):
        Client("hub://eddie", set_as_default=False)
    assert asked == ["eddie"]


def test_attaching_waits_for_one_that_is_starting(program, store):
    client = program("""
        say("begin")
        clusterhub.connect("local", name="eddies", workers=1, **SMALL)
        say("made")
        time.sleep(600)
    """)
    client.says()
    eventually(lambda: "eddies" in store.names())
    with clusterhub.attach("eddies") as cluster:
        assert cluster.report().name == "eddies"


async def test_a_caller_of_another_contract_or_user_is_told(eddies, store):
    async with clusterhub.aio.attach(eddies) as cluster:
        link = SchedulerLink(cluster.scheduler_address, cluster.security)
        try:
            for call, words in (
                ({"do": "hello", "contract": 999, "user": 0}, "contract"),
                ({"do": "hello", "contract": 1, "user": 123456}, "belongs to user"),
                ({"do": "explode", "contract": 1, "user": __import__("os").geteuid()}, "does not know how to"),
                ({}, "contract"),
            ):
                answer = await link.ask(HANDLER, call=call)
                assert words in answer["error"]["args"][0]
        finally:
            await link.close()
