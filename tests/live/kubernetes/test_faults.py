"""What goes wrong on Kubernetes, each told with its cause, within half a minute; and nothing is left of what failed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from distributed import Client, KilledWorker

import clusterhub
from clusterhub import BackendUnavailable, ClusterGone, ConfigError, WorkersFailed
from clusterhub.backend import UnitState
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from live.kubernetes.stories import (
    asked,
    connected,
    eventually,
    lab,
    left,
    pods,
    started,
    there,
    write_profile,
)
from live.outages import answers

SLOW = 90.0


@pytest.fixture(autouse=True)
def _nothing_left(admin: Path):
    yield
    eventually("nothing is left", lambda: not left(admin))


# Before anything is created


def test_a_context_that_there_is_not_is_told_with_those_that_there_are(user):
    with pytest.raises(BackendUnavailable, match="no-such-context"):
        connected(user, kubernetes={"context": "no-such-context"})


def test_a_namespace_that_is_another_s_is_told_with_the_right_that_is_lacking(user):
    with pytest.raises(BackendUnavailable, match=r"may not create daskclusters") as refused:
        connected(user, kubernetes={"namespace": "default"})
    assert "default" in str(refused.value)


def test_a_namespace_that_there_is_not_is_told_with_what_makes_it(admin):
    with pytest.raises((BackendUnavailable, ConfigError), match="no-such-namespace"):
        connected(admin, kubernetes={"namespace": "no-such-namespace"})


def test_an_api_server_that_is_not_there_is_told_at_once(user, tmp_path):
    text = user.read_text()
    server = next(line.split()[-1] for line in text.splitlines() if "server:" in line)
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(text.replace(server, "https://127.0.0.1:9"))
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        connected(elsewhere)


# While it starts


def test_an_image_that_there_is_not_is_named(user):
    with pytest.raises(WorkersFailed, match="no-such-image") as failed:
        connected(user, 1, kubernetes={"image": "registry.invalid/no-such-image:1"})
    assert "image" in str(failed.value)


def test_workers_that_fit_on_no_node_are_a_cause_and_not_a_wait(user):
    with connected(user, 1, worker={"cores": 1000, "memory": "512 MiB"}, kubernetes={"requests": {}}) as cluster:
        with pytest.raises(WorkersFailed, match="cores|cpu"):
            cluster.wait(timeout=SLOW, display=silent())
        (unit,) = cluster.units()
        assert unit.state is UnitState.PENDING
        assert "Insufficient cpu" in unit.source


def test_a_node_selector_that_no_node_has_is_a_cause(user):
    with (
        pytest.raises(WorkersFailed, match=r"label|selector|node"),
        connected(user, 1, kubernetes={"node_selector": {"pool": "none"}}) as cluster,
    ):
        cluster.wait(timeout=SLOW, display=silent())


def test_a_quota_that_is_used_up_is_told_in_its_words(user, admin):
    quota = {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "2"}}}
    with there(admin, "resourcequotas", quota), connected(user, 3) as cluster:
        with pytest.raises(WorkersFailed, match="quota"):
            cluster.wait(timeout=SLOW, display=silent())
        # The quota is final after a while, whether or not the one that it allows is up by then.
        eventually("the one that it allows has connected", lambda: cluster.report().connected == 1)


def test_a_scheduler_that_crashes_is_told_with_its_log(user):
    overlay = {"containers": [{"args": ["dask", "scheduler", "--no-such-option"]}]}
    with pytest.raises(WorkersFailed) as failed:
        connected(user, 1, kubernetes={"scheduler_pod": overlay})
    assert "no-such-option" in str(failed.value)


def test_workers_that_crash_are_told_with_their_log(user):
    overlay = {"containers": [{"args": ["dask", "worker", "--no-such-option"]}]}
    with (
        connected(user, 1, kubernetes={"worker_pod": overlay}) as cluster,
        pytest.raises(WorkersFailed, match="no-such-option"),
    ):
        cluster.wait(timeout=SLOW, display=silent())


def test_no_operator_is_told_and_nothing_else_is(user):
    lab("operator", "stop")
    try:
        with pytest.raises(BackendUnavailable, match="operator does not run"):
            connected(user, 1)
    finally:
        lab("operator", "start")


def test_a_start_that_is_killed_is_taken_over_by_the_next_of_its_name(user, admin):
    """What is left has our labels, so that anybody finds it; and the name is free again."""
    program = started(user, name="killed", wait=False)
    eventually("it has begun", lambda: left(admin))
    program.send_signal(signal.SIGKILL)
    program.wait()
    with connected(user, 1, name="killed") as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.report().connected == 1


# While it lives


def test_a_pod_that_is_deleted_is_replaced(user, admin):
    with connected(user, 2) as cluster, cluster.get_client(set_as_default=False) as client:
        cluster.wait(timeout=SLOW, display=silent())
        name = cluster.units()[0].name
        asked(admin, lambda api: api.delete("pods", name))
        eventually("another came", lambda: name not in names(cluster) and cluster.report().connected == 2)
        assert client.submit(sum, [1, 2]).result(timeout=SLOW) == 3


def test_a_task_that_outgrows_its_worker_is_told_and_the_worker_comes_back(user):
    def outgrow() -> int:
        return sum(bytearray(2**31)[::4096])

    with connected(user, 1) as cluster, cluster.get_client(set_as_default=False) as client:
        cluster.wait(timeout=SLOW, display=silent())
        with pytest.raises(KilledWorker, match="outgrow"):
            client.submit(outgrow).result(timeout=SLOW)
        eventually("it came back", lambda: cluster.report().connected == 1)
        assert client.submit(sum, [1, 2]).result(timeout=SLOW) == 3


def test_a_scheduler_whose_pod_is_deleted_ends_the_cluster_and_says_so(user, admin):
    with connected(user, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        (pod,) = pods(admin, "scheduler")
        asked(admin, lambda api: api.delete("pods", pod["metadata"]["name"]))
        with pytest.raises(ClusterGone, match="scheduler"):
            until_gone(cluster, 40)


def test_a_cluster_that_somebody_deletes_is_told_as_ended(user, admin):
    with connected(user, 1) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        name = cluster.name
        asked(admin, lambda api: api.delete("daskclusters", name))
        with pytest.raises(ClusterGone, match="was ended"):
            until_gone(cluster, 40)


def test_an_idle_cluster_is_ended_by_the_operator_and_says_why(user, admin):
    with connected(user, 1, lifecycle={"idle_timeout": "8s"}) as cluster, pytest.raises(ClusterGone, match="idle"):
        # Its worker may not be there yet: on a busy node that takes longer. Where the operator's timer still runs when its own
        # deletion is seen, kopf looks again a minute later (cancellation_polling), and only then lets go.
        until_gone(cluster, 100)


@pytest.mark.timeout(600)
def test_running_work_survives_an_outage_of_the_api_server(user):
    def slow(index: int) -> int:
        import time

        time.sleep(1)
        return index

    with connected(user, 2) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        with cluster.get_client(set_as_default=False) as client:
            running = client.map(slow, range(60), pure=False)
            client.publish_dataset(running=running)
            lab("api", "stop")
            try:
                eventually("it is noticed", lambda: not answers(cluster))
                time.sleep(60)  # longer than a client waits for a scheduler
            finally:
                lab("api", "start")
        eventually("it answers again", lambda: answers(cluster))
        with cluster.get_client(set_as_default=False) as client:
            assert client.gather(client.get_dataset("running")) == list(range(60))
        cluster.scale(3)
        cluster.wait(
            timeout=3 * SLOW, display=silent()
        )  # the operator and the controllers take a minute or more to resume
        assert cluster.report().connected == 3


def test_an_unnamed_cluster_ends_soon_after_its_maker_was_killed(user, admin):
    program = started(user)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert left(admin)
    eventually("it has ended", lambda: not left(admin))


def test_a_kept_cluster_is_found_by_its_name_from_another_process(user, admin, home):
    write_profile(home, user)
    program = started(
        user, name="swell", keep=True, end="cluster.get_client().publish_dataset(answer=42); cluster.close()"
    )
    program.wait(SLOW)
    (info,) = clusterhub.clusters()
    assert (info.name, info.state, info.kept, info.connected) == ("swell", "running", True, 1)
    with Client("hub://swell", set_as_default=False) as client:
        assert client.get_dataset("answer") == 42
    clusterhub.attach("swell").shutdown()


# Secrets


def test_strangers_see_no_secret_and_are_refused_by_the_scheduler(user, admin):
    variables = {"API_TOKEN": "swordfish", "PLAIN": "seen"}
    with connected(user, 1, environment={"variables": variables}) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        told = str(pods(admin) + pods(admin, "scheduler"))
        assert "swordfish" not in told
        assert "PRIVATE KEY" not in told
        with cluster.get_client(set_as_default=False) as client:
            assert client.run(os.getenv, "API_TOKEN") == dict.fromkeys(client.scheduler_info()["workers"], "swordfish")
        for address in (cluster.scheduler_address, cluster.scheduler_address.replace("tls:", "tcp:")):
            with pytest.raises((OSError, TimeoutError, TypeError)):
                Client(address, timeout=5, set_as_default=False)


# Many


@pytest.mark.timeout(600)
def test_thirty_clusters_in_a_row_all_come_up_and_leave_nothing(user, admin):
    for _ in range(30):
        with connected(user, 1) as cluster:
            cluster.wait(timeout=SLOW, display=silent())
            asked_for = asked(admin, lambda api: api.list("daskclusters"))
            assert [each["metadata"]["name"] for each in asked_for if not gone(each)] == [cluster.name]


# Parts


def gone(thing: dict[str, object]) -> bool:
    metadata = thing["metadata"]
    assert isinstance(metadata, dict)
    return "deletionTimestamp" in metadata


def names(cluster: Cluster) -> list[str]:
    return [unit.name for unit in cluster.units()]


def until_gone(cluster: Cluster, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        answers(cluster)
        time.sleep(0.2)
    raise AssertionError(f"not gone after {patience:g} s")
