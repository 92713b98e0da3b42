"""What users hold: orders, and reports that tell the truth about a queue."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from distributed.core import Status
from simulated_queue import ask, cluster_of

import clusterhub
from clusterhub.backend import UnitState
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ClusterhubError, ConfigError, WorkersFailed

SHAPE: dict[str, Any] = {"worker": {"cores": 1, "memory": "512 MiB"}}


def simulated(**said: Any) -> Cluster:
    """A cluster of two workers in the simulated queue, one in each job."""
    return clusterhub.connect("simulated", **{"workers": 2, **SHAPE, **said})


def eventually(met: Callable[[], Any], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


# The simulated queue: what a report tells


def states(cluster: Cluster) -> set[UnitState]:
    return {unit.state for unit in cluster.units()}


def test_a_pending_job_has_a_reason_the_systems_words_and_an_expected_start():
    with simulated(simulated={"fault": "holds"}) as cluster:
        eventually(lambda: states(cluster) == {UnitState.PENDING})
        unit = cluster.units()[0]
        assert (unit.reason, "Insufficient" in unit.source, unit.starts is not None) == (
            "needs a free place; all are taken",
            True,
            True,
        )
        assert "2 jobs pending (needs a free place; all are taken; first expected" in cluster.report().headline


def test_jobs_beyond_the_free_places_wait():
    with simulated(workers=3, simulated={"slots": 1}) as cluster:
        cluster.wait(1, timeout=60, display=silent())
        counts = cluster.report().counts
        assert (counts[UnitState.CONNECTED], counts[UnitState.PENDING]) == (1, 2)


def test_a_job_whose_workers_never_come_is_missing():
    with simulated(simulated={"fault": "never-connects", "startup_timeout": 0.2}) as cluster:
        eventually(lambda: states(cluster) == {UnitState.MISSING})
        assert cluster.units()[0].reason == "runs, but its workers never came"


def test_jobs_that_fail_alike_end_the_wait_with_their_cause():
    with simulated(simulated={"fault": "bad-python"}) as cluster:
        with pytest.raises(WorkersFailed) as failed:
            cluster.wait(timeout=60, display=silent())
        assert UnitState.FAILED in states(cluster)
    failure = failed.value.failure
    assert (failure.summary, failure.exit_code) == ("their python does not exist", 127)
    assert failure.count >= 3


def test_a_failures_cause_names_the_place_in_the_config(home):
    (home / ".clusterhub.yaml").write_text(
        "profiles:\n  sim:\n    backend: simulated\n    workers: 2\n    simulated: {fault: bad-python}\n"
        "    support: help@example.org\n"
    )
    with clusterhub.connect("sim", **SHAPE) as cluster:
        with pytest.raises(WorkersFailed, match="help     help@example.org") as failed:
            cluster.wait(timeout=60, display=silent())
        assert "because  default  environment.python" in str(failed.value)
        assert "workers of sim cannot start" in str(failed.value)


def test_a_node_that_fails_loses_its_workers_and_they_are_replaced():
    with simulated() as cluster:
        cluster.wait(timeout=60, display=silent())
        queue = cluster_of(cluster).queue
        first = queue.listing()[0].id
        with cluster.get_client(set_as_default=False):
            ask(queue.kill(first)).result(20)
        eventually(lambda: cluster.report().connected == 2)
        assert first not in {unit.name for unit in cluster.units()}


def test_a_lost_job_that_cannot_be_replaced_yet_is_told_with_its_reason():
    with simulated() as cluster:
        cluster.wait(timeout=60, display=silent())
        queue = cluster_of(cluster).queue
        queue.fault = "rejects"
        first = queue.listing()[0].id
        eventually(lambda: first in cluster_of(cluster)._came)
        ask(queue.kill(first)).result(20)
        (lost,) = [unit for unit in cluster.units() if unit.name == first]
        assert (lost.state, lost.reason, lost.source) == (UnitState.LOST, "its node failed", "node failure")


def test_a_refused_submission_ends_the_wait_in_the_queues_words():
    with (
        pytest.raises(WorkersFailed, match="qsub: Unauthorized Request: no such account"),
        simulated(simulated={"fault": "rejects"}) as cluster,
    ):
        cluster.wait(timeout=60, display=silent())


def test_a_refused_submission_is_tried_again_when_the_target_is_said_again():
    with simulated(simulated={"fault": "rejects"}) as cluster:
        with pytest.raises(WorkersFailed):
            cluster.wait(timeout=60, display=silent())
        cluster_of(cluster).queue.fault = "none"
        cluster.scale(1)
        cluster.wait(timeout=60, display=silent())
        assert cluster.report().failure is None


def test_a_full_queue_is_a_state_and_not_an_error():
    with simulated(workers=4, simulated={"limit": 2}) as cluster:
        cluster.wait(2, timeout=60, display=silent())
        waiting_units = [unit for unit in cluster.units() if unit.state is UnitState.SUBMITTING]
        assert len(waiting_units) == 2
        assert waiting_units[0].reason == "queue full: 2 of your 2 jobs are in use; the rest waits for a place"
        assert cluster.report().failure is None


def test_places_in_a_full_queue_are_filled_as_they_free():
    with simulated(workers=4, simulated={"limit": 2}) as cluster:
        cluster.wait(2, timeout=60, display=silent())
        cluster_of(cluster).queue.limit = 4
        cluster.wait(timeout=60, display=silent())
        assert cluster.report().connected == 4


def test_many_jobs_are_one_submission():
    with simulated(workers=8, job={"workers_per_job": 2}) as cluster:
        cluster.wait(timeout=60, display=silent())
        queue = cluster_of(cluster).queue
        assert (queue.submissions, len(queue.jobs)) == (1, 4)


def test_a_target_that_is_no_multiple_of_a_job_is_met_by_whole_jobs():
    with simulated(workers=3, job={"workers_per_job": 2}) as cluster:
        cluster.wait(timeout=60, display=silent())
        eventually(lambda: cluster.report().connected == 4)
        assert cluster.report().counts[UnitState.CONNECTED] == 2


# Cluster


def test_adapt_without_await_takes_effect():
    """As dask-labextension calls it."""
    with simulated() as cluster:
        cluster.wait(timeout=60, display=silent())
        cluster.adapt(minimum=0, maximum=2)
        assert (cluster.minimum, cluster.maximum) == (0, 2)
        eventually(lambda: cluster.report().connected == 0)


def test_the_last_of_many_orders_wins():
    with simulated() as cluster:
        for n in (1, 4, 0, 3):
            cluster.scale(n)
        cluster.wait(3, timeout=60, display=silent())
        eventually(lambda: cluster.report().connected == 3)


def test_a_cluster_works_from_another_thread():
    from concurrent.futures import ThreadPoolExecutor

    with simulated() as cluster, ThreadPoolExecutor(4) as threads:
        cluster.wait(timeout=60, display=silent())
        reports = list(threads.map(lambda _: cluster.report(), range(8)))
        assert {report.connected for report in reports} == {2}


def test_waiting_on_the_clusters_own_loop_is_refused():
    with simulated() as cluster:

        async def inside() -> str:
            with pytest.raises(ClusterhubError) as refused:
                cluster.report()
            return str(refused.value)

        said = asyncio.run_coroutine_threadsafe(inside(), cluster.loop.asyncio_loop).result(20)
        assert "clusterhub.aio.connect" in said


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_cluster_does_not_cross_processes(copying):
    with simulated(workers=0) as cluster, pytest.raises(TypeError, match=r"cluster\.scheduler_address"):
        copying(cluster)


def test_an_exception_inside_closes_the_cluster_and_passes():
    with pytest.raises(ZeroDivisionError), simulated() as cluster:
        raise ZeroDivisionError
    assert cluster.status is Status.closed


def test_a_closed_cluster_says_so():
    with simulated(workers=0) as cluster:
        pass
    for told in (
        cluster.report,
        cluster.units,
        cluster.logs,
        lambda: cluster.scale(1),
        lambda: cluster.wait(timeout=1),
    ):
        with pytest.raises(ClusterGone, match="connect again"):
            told()


def test_asking_for_more_than_the_profile_allows_is_refused_with_its_place(home):
    (home / ".clusterhub.yaml").write_text(
        "profiles:\n  sim:\n    backend: simulated\n    workers: 1\n    limits: {workers: 3}\n"
    )
    with clusterhub.connect("sim", **SHAPE) as cluster:
        with pytest.raises(ConfigError, match=r"over the limit of 3 \(limits.workers, set at ~/.clusterhub.yaml:5\)"):
            cluster.scale(4)
        assert (cluster.minimum, cluster.maximum) == (1, 1)


def test_a_wait_for_more_than_asked_is_refused_at_once():
    with simulated(workers=1) as cluster, pytest.raises(ConfigError, match=r"scale\(9\) first"):
        cluster.wait(9)


def test_dasks_own_wait_raises_the_builtin_timeout():
    with simulated(simulated={"fault": "holds"}) as cluster, pytest.raises(TimeoutError, match="jobs pending"):
        cluster.wait_for_workers(2, timeout=0.1)


def test_dasks_own_logs_can_leave_parts_out():
    with simulated(workers=1) as cluster:
        cluster.wait(timeout=60, display=silent())
        assert set(cluster.get_logs(workers=False)) == {"scheduler"}
        assert "scheduler" not in cluster.get_logs(scheduler=False)


def test_logs_of_an_unknown_job_name_those_that_are_there():
    with simulated(workers=1) as cluster:
        cluster.wait(timeout=60, display=silent())
        with pytest.raises(KeyError, match=r"has no unit '99'; it has 1"):
            cluster.logs("99")


def test_a_cluster_shows_itself_in_a_notebook():
    with simulated(workers=1) as cluster:
        cluster.wait(timeout=60, display=silent())
        assert cluster.name in cluster._repr_html_()
    assert "closed" in cluster._repr_html_()


def test_a_named_cluster_has_that_name():
    with simulated(workers=0, name="eddies") as cluster:
        assert (cluster.name, repr(cluster)) == ("eddies", "<Cluster eddies on simulated: running, 0 workers>")
