"""What goes wrong with a gateway, each told in one clear message, in seconds; and nothing is left of what failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

import clusterhub
from clusterhub import BackendUnavailable, ClusterGone, SubmitRejected, Unsupported, WorkersFailed
from clusterhub.backend import UnitState
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from labs.gateway.lab import Gateway
from live.gateway.stories import connected, eventually, options_of

SLOW = 60.0


# Before anything is created


def test_a_wrong_password_is_told_with_where_to_look_and_shown_nowhere(lab, monkeypatch):
    monkeypatch.setenv("GATEWAY_PASSWORD", "swordfish")
    with pytest.raises(BackendUnavailable, match="does not let 'ann' in") as refused:
        connected(lab)
    assert "gateway.auth" in str(refused.value)
    assert "swordfish" not in str(refused.value)


def test_a_password_that_is_nowhere_is_asked_for_by_the_name_of_its_variable(lab, monkeypatch):
    monkeypatch.delenv("GATEWAY_PASSWORD")
    with pytest.raises(BackendUnavailable, match="GATEWAY_PASSWORD, which is not set"):
        connected(lab)


def test_a_gateway_that_is_not_there_is_told_at_once(lab):
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
        connected(lab, gateway={"address": "http://127.0.0.1:9"})


def test_every_option_that_it_does_not_take_is_told_at_once_with_what_it_takes(lab):
    with pytest.raises(Unsupported) as refused:
        connected(
            lab, worker={"cores": 64, "memory": "900 GiB"}, gateway={"options": {"profil": "ok", "idle_timeout": -1}}
        )
    assert set(refused.value.refusals) == {
        "worker.cores", "worker.memory", "gateway.options.profil", "gateway.options.idle_timeout",
    }  # fmt: skip
    assert "from 1 to 4" in refused.value.refusals["worker.cores"]
    assert "did you mean profile?" in refused.value.refusals["gateway.options.profil"]
    assert lab.clusters() == []


def test_what_its_own_rules_refuse_is_told_in_its_words(lab):
    with pytest.raises(SubmitRejected, match="ann") as refused:
        connected(lab, worker={"cores": 1, "memory": "8 GiB"})
    assert refused.value.source
    assert lab.clusters() == []


def test_options_that_are_named_otherwise_are_found_by_the_profiles_map(gateways, monkeypatch):
    lab = used_with(gateways(options="units"), monkeypatch)
    named = {"map": {"worker": {"memory": "ram"}}}
    with connected(lab, 1, worker={"cores": 2, "memory": "512 MiB"}, gateway=named) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        (worker,) = cluster.scheduler_info["workers"].values()
        assert (worker["nthreads"], worker["memory_limit"]) == (2, 512 * 2**20)


def test_a_gateway_with_no_options_makes_workers_of_its_own_size_and_refuses_another(gateways, monkeypatch):
    lab = used_with(gateways(options="bare"), monkeypatch)
    with pytest.raises(Unsupported, match="no options at all"):
        connected(lab, worker={"cores": 2})
    with connected(lab, 1, worker=None) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().connected == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_trusted_by_the_sites_own_authority_and_by_nothing_else(gateways, monkeypatch, trusted):
    lab = used_with(gateways(tls=True), monkeypatch)
    if not trusted:
        with pytest.raises(BackendUnavailable, match=r"cannot be trusted.*gateway\.ca_file"):
            connected(lab)
        return
    with connected(lab, 1, gateway={"ca_file": str(lab.certificate)}) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().connected == 1


def test_http_to_a_port_that_speaks_https_is_told_so(gateways, monkeypatch):
    lab = used_with(gateways(tls=True), monkeypatch)
    with pytest.raises(BackendUnavailable, match="https"):
        connected(lab, gateway={"address": lab.address.replace("https", "http")})


# While it starts


@pytest.mark.parametrize("profile", ["broken-worker", "missing-worker"])
def test_workers_that_die_at_once_end_the_wait_with_what_is_known(lab, profile):
    # A command that does not exist fails so soon that the gateway has given it up before we have met the scheduler.
    with (
        pytest.raises(WorkersFailed, match="not one worker has connected") as failed,
        connected(lab, 2, gateway={"options": {"profile": profile}}) as cluster,
    ):
        cluster.wait(timeout=SLOW, display=silent())
    assert "log" in failed.value.failure.next_step
    assert lab.clusters() == []


def test_a_scheduler_that_does_not_start_is_a_failed_start_of_which_nothing_is_left(lab):
    with pytest.raises(WorkersFailed, match="could not start its scheduler"):
        connected(lab, gateway={"options": {"profile": "broken-scheduler"}})
    assert lab.clusters() == []


def test_two_hundred_clusters_that_fail_in_a_row_neither_hang_nor_leave_anything(lab):
    """dask_gateway's own client hangs for ever after a few: its ``__del__`` waits for the loop that runs it."""

    async def story() -> None:
        for _ in range(180):
            with pytest.raises(SubmitRejected):
                await clusterhub.aio.connect("gateway", **options_of(lab, worker={"cores": 1, "memory": "8 GiB"}))
        before = len(asyncio.all_tasks())
        broken = options_of(lab, gateway={"options": {"profile": "broken-scheduler"}})
        for _ in range(20):
            with pytest.raises(WorkersFailed):
                await clusterhub.aio.connect("gateway", **broken)
        assert len(asyncio.all_tasks()) <= before

    asyncio.run(story())
    assert lab.clusters() == []
    assert not [one for one in lab.processes() if one.cluster]


# While it lives


def test_more_workers_than_the_gateway_allows_is_a_state_and_the_end_of_a_wait(gateways, monkeypatch):
    lab = used_with(gateways(max_workers=2), monkeypatch)
    with connected(lab, 4) as cluster:
        with pytest.raises(WorkersFailed, match="allows 2 workers in a cluster, and 4 are asked for"):
            cluster.wait(timeout=SLOW, display=silent())
        report = cluster.report()
        assert (report.connected, report.target.minimum) == (2, 4)
        beyond = [unit.reason for unit in report.units if unit.state is UnitState.PENDING]
        assert beyond == ["over the gateway's limit of 2 workers a cluster"] * 2
        cluster.adapt(1, 7)
        assert any("allows 2 workers" in remark for remark in cluster.report().remarks)
        cluster.scale(2)
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().failure is None


def test_a_dead_scheduler_is_noticed_in_seconds_and_leaves_nothing(lab):
    with connected(lab, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        (name,) = lab.clusters()
        lab.kill_scheduler(name)
        with pytest.raises(ClusterGone) as gone:
            until_gone(cluster, 25)
        assert gone.value.final
        assert "scheduler" in str(gone.value)
    assert lab.clusters() == []


def test_a_wait_ends_when_the_scheduler_dies(lab):
    with connected(lab, 1, gateway={"options": {"profile": "slow-worker"}}) as cluster:
        (name,) = lab.clusters()
        lab.kill_scheduler(name)
        with pytest.raises(ClusterGone, match="is gone"):
            cluster.wait(timeout=SLOW, display=silent())


def test_a_cluster_that_somebody_else_ends_is_told_as_ended(lab):
    with connected(lab, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        (name,) = lab.clusters()
        asyncio.run(natively(lab, lambda gateway: gateway.stop_cluster(name)))
        with pytest.raises(ClusterGone, match="it was ended: by somebody else"):
            until_gone(cluster, 40)


def test_an_idle_cluster_ends_and_says_that_it_was_idle(lab):
    with connected(lab, 1, lifecycle={"idle_timeout": "30s"}) as cluster:
        # A cluster without workers may be idle as well, but not with work: however long its worker takes, the time begins then.
        with cluster.get_client(set_as_default=False) as client:
            assert client.submit(abs, -1).result(timeout=SLOW) == 1
        with pytest.raises(ClusterGone, match="idle for 30 s"):
            until_gone(cluster, 150)
        eventually("the gateway has ended it", lambda: lab.clusters() == [])


def test_the_last_word_wins_also_where_dask_gateway_itself_said_it(lab):
    with connected(lab, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        (name,) = lab.clusters()
        asyncio.run(natively(lab, lambda gateway: gateway.scale_cluster(name, 2)))
        report = cluster.report()
        assert (report.target.minimum, report.target.maximum) == (2, 2)
        asyncio.run(natively(lab, lambda gateway: gateway.adapt_cluster(name, minimum=0, maximum=3)))
        assert cluster.report().target.maximum == 3
        cluster.scale(1)
        assert cluster.report().target.maximum == 1


def test_what_cannot_leave_yet_is_told(lab):
    with connected(lab, 1) as cluster, cluster.get_client(set_as_default=False) as client:
        cluster.wait(timeout=SLOW, display=silent())
        held = client.submit(bytes, 1000)
        held.result(timeout=SLOW)
        cluster.scale(0)
        eventually("it is told", lambda: any("holds results" in unit.reason for unit in cluster.report().units))
        assert len(held.result(timeout=SLOW)) == 1000
        del held
        eventually("it left", lambda: cluster.report().connected == 0)


def test_a_gateway_that_hangs_keeps_nobody_from_his_cluster(lab):
    with connected(lab, 1) as cluster, cluster.get_client(set_as_default=False) as client:
        cluster.wait(timeout=SLOW, display=silent())
        with lab.hanging():
            assert cluster.report().connected == 1
            assert client.submit(abs, -1).result(timeout=SLOW) == 1
            assert cluster.logs()


# Parts


def used_with(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    for name, value in gateway.environment(trusted=False).items():
        monkeypatch.setenv(name, value)
    return gateway


def until_gone(cluster: Cluster, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            cluster.report()
        except ClusterGone as gone:
            if gone.final:
                raise
        time.sleep(0.1)
    raise AssertionError(f"not gone after {patience:g} s")


async def natively(lab: Gateway, do: Callable[[Any], Any]) -> None:
    from dask_gateway import BasicAuth
    from dask_gateway import Gateway as Native

    async with Native(lab.address, auth=BasicAuth("ann", lab.password), asynchronous=True) as native:
        await do(native)
