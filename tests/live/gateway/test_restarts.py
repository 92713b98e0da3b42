"""A gateway that is killed and started again, and users whose processes are: what lives on, and what is said of it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest
from distributed import Client

import clusterhub
from clusterhub import ClusterGone
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.profile import resolve
from labs.gateway.lab import Gateway
from live.gateway.conftest import used
from live.gateway.stories import connected, eventually, options_of, write_profile
from live.outages import answers

SLOW = 60.0


@pytest.fixture(scope="module")
def kept(gateways: Callable[..., Gateway]) -> Gateway:
    """One whose clusters outlive it, in a database."""
    return gateways(database="sqlite")


@pytest.fixture
def lab(kept: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return used(kept, monkeypatch)


# The gateway


def test_a_gateway_killed_in_mid_computation_and_started_again_loses_no_work_and_says_what_is_lost(lab):
    def slow(index: int) -> int:
        import time

        time.sleep(0.5)
        return index

    with connected(lab, 2) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        with cluster.get_client(set_as_default=False) as client:
            running = client.map(slow, range(20), pure=False)
            client.publish_dataset(running=running)
            lab.kill()
            eventually("it is noticed", lambda: not answers(cluster))
            with pytest.raises(ClusterGone, match="cannot be reached") as away:
                cluster.scale(3)
            assert "go on meanwhile" in str(away.value)
            lab.start()
            eventually("it answers again", lambda: answers(cluster))
        assert any("futures of clients" in remark for remark in cluster.report().remarks)
        with cluster.get_client(set_as_default=False) as client:
            assert client.gather(client.get_dataset("running")) == list(range(20))
            assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.workers)) == 2
        cluster.scale(3)
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().connected == 3
    eventually("nothing of it is left", lambda: lab.clusters() == [])


def test_a_wait_goes_on_over_a_restart_of_the_gateway(lab):
    with connected(lab, 1, gateway={"options": {"profile": "slow-worker"}}) as cluster:
        lab.kill()
        lab.start()
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().connected == 1


def test_a_cluster_closed_while_the_gateway_is_away_ends_once_it_is_back(lab):
    cluster = connected(lab, 1)
    cluster.wait(timeout=SLOW, display=silent())
    lab.kill()
    cluster.close()
    lab.start()
    eventually("its caretaker has ended it", lambda: lab.clusters() == [])


def test_a_gateway_that_forgets_its_clusters_is_told_and_leaves_no_orphan(gateways, monkeypatch):
    lab = used(gateways(), monkeypatch)
    with connected(lab, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        lab.kill()
        lab.start()
        with pytest.raises(ClusterGone, match=r"has no cluster .* any more"):
            eventually("it is gone", lambda: not answers(cluster) and False)
    eventually("no orphan is left", lambda: not [one for one in lab.processes() if one.cluster])


# Its users


def script(lab: Gateway, body: str, **said: object) -> subprocess.Popen[str]:
    """A user's program that connects, and goes on as told."""
    options = options_of(lab, 1, **said)  # type: ignore[arg-type]
    text = f"""
        import clusterhub
        cluster = clusterhub.connect("gateway", **{options!r})
        cluster.wait(timeout=60)
        print(cluster.name, flush=True)
        {body}
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, text=True)


def begun(lab: Gateway, **said: object) -> str:
    """The name of a cluster whose maker was killed once it had its worker."""
    program = script(lab, "import time; time.sleep(600)", **said)
    assert program.stdout is not None
    name = program.stdout.readline().strip()
    program.send_signal(signal.SIGKILL)
    program.wait()
    program.stdout.close()
    assert name
    return name


def test_an_unnamed_cluster_ends_soon_after_its_maker_was_killed(lab):
    begun(lab)
    assert len(lab.clusters()) == 1
    eventually("it has ended", lambda: lab.clusters() == [])


def test_a_program_that_ends_without_closing_leaves_nothing(lab):
    program = script(lab, "")
    assert program.communicate(timeout=SLOW)[0]
    assert program.returncode == 0
    eventually("it has ended", lambda: lab.clusters() == [])


def test_a_named_cluster_is_found_again_after_its_maker_was_killed(lab, home):
    begun(lab, name="eddies")
    time.sleep(35)  # longer than an unnamed one would last
    write_profile(home, lab)
    with clusterhub.attach("eddies") as found:
        assert found.report().connected == 1
    with connected_by_name(lab, "eddies", 2) as again:
        again.wait(timeout=SLOW, display=silent())
        assert again.report().connected == 2
    eventually("who connected to it last has ended it", lambda: lab.clusters() == [])


def test_a_named_cluster_ends_when_nobody_came_back_within_its_linger(lab):
    begun(lab, name="tides", lifecycle={"linger": "5s"})
    eventually("it has ended", lambda: lab.clusters() == [])


def test_a_kept_cluster_stays_with_its_results_until_it_is_told_to_end(lab, home):
    write_profile(home, lab)
    program = script(lab, "cluster.get_client().publish_dataset(answer=42); cluster.close()", name="swell", keep=True)
    assert program.communicate(timeout=SLOW)[0]
    (info,) = [info for info in clusterhub.clusters() if info.name == "swell"]
    assert (info.state, info.kept, info.connected, info.asked) == ("running", True, 1, 1)
    with Client("hub://swell", set_as_default=False) as client:
        assert client.get_dataset("answer") == 42
    found = clusterhub.attach("swell")
    found.shutdown()
    eventually("it has ended", lambda: lab.clusters() == [])


def test_a_cluster_made_with_dask_gateway_itself_can_be_attached_to_and_is_left_alone(lab, home):
    write_profile(home, lab)
    text = f"""
        from dask_gateway import BasicAuth, Gateway
        gateway = Gateway({lab.address!r}, auth=BasicAuth("ann", {lab.password!r}))
        cluster = gateway.new_cluster(shutdown_on_close=False, worker_memory=0.5)
        cluster.scale(1)
        print(cluster.name)
    """
    made = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=SLOW)
    name = made.stdout.strip()
    assert name in lab.clusters(), made.stderr
    (info,) = clusterhub.clusters()
    assert (info.name, info.state) == (name, "running")
    assert "without clusterhub" in info.reason
    with clusterhub.attach(name) as found:
        found.wait(1, timeout=SLOW, display=silent())
        found.scale(2)
        found.wait(timeout=SLOW, display=silent())
    time.sleep(35)  # longer than one of ours would last with nobody there
    assert lab.clusters() == [name]
    clusterhub.attach(name).shutdown()
    eventually("it has ended", lambda: lab.clusters() == [])


def test_the_cluster_of_another_user_is_nobody_elses(lab, home):
    write_profile(home, lab, user="bob")
    with connected(lab, 1):
        (name,) = lab.clusters()
        with pytest.raises(clusterhub.ConfigError, match="no cluster of that name"):
            clusterhub.attach(name)
        assert list(clusterhub.clusters()) == []
        resolved = resolve("lab", {})
        ref = clusterhub.Ref(backend="gateway", name=name, data={"address": lab.address, "cluster": name})
        with pytest.raises(clusterhub.ClusterhubError, match="another user"):
            asyncio.run(resolved.backend.attach(ref, resolved.options))  # type: ignore[attr-defined]


def connected_by_name(lab: Gateway, name: str, workers: int) -> Cluster:
    return connected(lab, workers, name=name)
