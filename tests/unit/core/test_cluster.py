"""What users hold: targets, waits, orders, and reports that tell the truth about a queue."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from distributed.core import Status
from simulated_queue import ask, cluster_of

import clusterhub
from clusterhub.backend import Leaf, NoOptions, Plan, Unit, UnitState
from clusterhub.cluster import AsyncCluster, Cluster, Opening
from clusterhub.cluster.targets import Targets
from clusterhub.cluster.waiting import Wait, seconds
from clusterhub.display import Report
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ClusterhubError, ConfigError, Failure, WaitTimeout, WorkersFailed
from clusterhub.spec import ClusterSpec, Workers

SHAPE: dict[str, Any] = {"worker": {"cores": 1, "memory": "512 MiB"}}


def simulated(**said: Any) -> Cluster:
    """A cluster of two workers in the simulated queue, one in each job."""
    return clusterhub.connect("simulated", **{"workers": 2, **SHAPE, **said})


def eventually(met: Callable[[], Any], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


# Timeouts


@pytest.mark.parametrize(
    ("timeout", "meant"),
    [(None, None), (0, 0), (1.5, 1.5), (30, 30), (math.inf, math.inf), ("30m", 1800), ("00:01:00", 60)],
)
def test_a_timeout_is_in_seconds_or_has_its_unit(timeout, meant):
    assert seconds(timeout) == meant


@pytest.mark.parametrize(
    ("timeout", "words"),
    [
        (-1, "must be 0 or more"),
        (math.nan, "not a duration"),
        ("30", "the unit is missing; write 30s"),
        ("soon", "or a number of seconds"),
        (True, "not a duration"),
    ],
)
def test_a_timeout_that_cannot_be_meant_is_refused(timeout, words):
    with pytest.raises(ConfigError) as refused:
        seconds(timeout)
    assert words in str(refused.value)
    assert str(refused.value).startswith("wait(): timeout = ")


# Waiting


def reported(connected: int, asked: int, failure: Failure | None = None) -> Report:
    units = tuple(Unit(str(i), UnitState.CONNECTED, workers=(f"tcp://{i}",)) for i in range(connected))
    pending = tuple(Unit(f"p{i}", UnitState.PENDING, "Resources") for i in range(asked - connected))
    return Report(
        name="eddies",
        profile="hal",
        backend="pbs",
        unit_noun="job",
        target=Workers.exactly(asked),
        connected=connected,
        units=units + pending,
        failure=failure,
        scheduler_address="tcp://h:1",
        dashboard_link="",
        started=datetime.now(UTC),
        support="help@example.org",
    )


def waiting(n: int, timeout: float | None = None) -> Wait:
    return Wait(n, timeout, silent())


def test_a_wait_is_over_when_enough_are_there():
    wait = waiting(2)
    assert [wait.over(reported(connected, 3), 1.0) for connected in (0, 1, 2)] == [False, False, True]


def test_a_wait_for_nobody_is_over_at_once():
    assert waiting(0).over(reported(0, 0), 0.0)


def test_a_wait_that_times_out_says_for_what_and_in_which_state():
    with pytest.raises(WaitTimeout) as late:
        waiting(3, timeout=60).over(reported(1, 3), 60.0)
    assert "3 workers of eddies were not there after 60 s: 1 of 3 workers connected" in str(late.value)
    assert "2 jobs pending (Resources)" in str(late.value)


def test_workers_that_came_at_the_last_moment_came():
    assert waiting(2, timeout=60).over(reported(2, 2), 61.0)


def test_a_wait_whose_workers_cannot_come_raises_the_cause():
    with pytest.raises(WorkersFailed) as failed:
        waiting(2).over(reported(0, 2, Failure("out of memory")), 1.0)
    assert (failed.value.failure.summary, failed.value.cluster, failed.value.support) == (
        "out of memory",
        "hal",
        "help@example.org",
    )


def test_a_failure_does_not_spoil_a_wait_for_those_that_are_there():
    assert waiting(1).over(reported(1, 2, Failure("out of memory")), 1.0)


@pytest.mark.parametrize(
    ("timeout", "elapsed", "pause"),
    [
        (None, 0.0, 0.1),
        (None, 5.0, 0.1),
        (None, 20.0, 0.4),
        (None, 100.0, 1.0),
        (10.0, 9.9, 0.1),
        (10.0, 11.0, 0.0),
        (0, 0.0, 0.0),
    ],
)
def test_looks_are_quick_at_first_then_calm_and_never_past_the_timeout(timeout, elapsed, pause):
    assert waiting(1, timeout).pause(elapsed) == pytest.approx(pause)


# Targets


def targets(**spec: Any) -> Targets:
    origins = {"limits.workers": "/etc/clusterhub/config.yaml:21"}
    leaves = tuple(Leaf(path, "", origin, is_default=False) for path, origin in origins.items())
    return Targets(Plan(name="told", backend="told", spec=ClusterSpec(**spec), options=NoOptions(), values=leaves))


@pytest.mark.parametrize("n", [3, np.int64(3), np.uint8(3)])
def test_a_target_is_any_whole_number(n):
    fixed = targets().fixed(n, {})
    assert (fixed, type(fixed.minimum)) == (Workers.exactly(3), int)


@pytest.mark.parametrize("n", [-1, 1.0, 1.5, "3", True, False, None, [3], np.float64(3), np.bool_(True), 10**7])
def test_a_target_that_cannot_be_meant_is_refused(n):
    with pytest.raises(ConfigError, match=r"scale\(\): n = "):
        targets().fixed(n, {})


def test_a_target_over_the_limit_is_refused_with_the_place_of_the_limit():
    with pytest.raises(ConfigError) as refused:
        targets(workers=2, limits={"workers": 10}).fixed(11, {})
    assert str(refused.value) == (
        "scale(): n = 11: is over the limit of 10 (limits.workers, set at /etc/clusterhub/config.yaml:21)"
    )


@pytest.mark.parametrize(
    ("profile", "minimum", "maximum", "meant"),
    [
        (7, None, None, (0, 7)),
        ({"minimum": 2, "maximum": 5}, None, None, (2, 5)),
        ({"minimum": 2, "maximum": 5}, 0, None, (0, 5)),
        ({"minimum": 2, "maximum": 5}, None, 1, (1, 1)),
        ({"minimum": 2, "maximum": 5}, 9, None, (9, 9)),
        (7, 1, 3, (1, 3)),
        (7, 0, 0, (0, 0)),
    ],
)
def test_a_range_is_completed_from_the_profile(profile, minimum, maximum, meant):
    found = targets(workers=profile).range(minimum, maximum, {})
    assert (found.minimum, found.maximum) == meant


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(ConfigError, match="swap them"):
        targets().range(5, 2, {})


@pytest.mark.parametrize(
    ("call", "word", "advice"),
    [
        ("scale", "jobs", "counts workers, not jobs"),
        ("adapt", "minimum_jobs", "adapt(minimum=n)"),
        ("adapt", "maximum_jobs", "adapt(maximum=n)"),
        ("scale", "cores", "worker.cores"),
        ("adapt", "interval", "leave it out"),
        ("scale", "nonsense", "unknown argument"),
    ],
)
def test_words_of_other_tools_are_translated(call, word, advice):
    refuse = {"scale": lambda: targets().fixed(1, {word: 4}), "adapt": lambda: targets().range(0, 1, {word: 4})}[call]
    with pytest.raises(ConfigError) as refused:
        refuse()
    assert advice in str(refused.value)
    assert f"{word} = 4" in str(refused.value)


def test_all_foreign_words_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        targets().fixed(1, {"jobs": 4, "cores": 8})
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(("workers", "awaited"), [(4, 4), (0, 0), ({"minimum": 2, "maximum": 5}, 2)])
def test_a_wait_is_for_all_that_are_asked_or_for_the_least_of_a_range(workers, awaited):
    assert targets(workers=workers).awaited(None) == awaited


def test_a_wait_for_more_than_will_come_is_refused():
    with pytest.raises(ConfigError, match=r"only 4 are asked for; scale\(5\) first"):
        targets(workers=4).awaited(5)


# AsyncCluster, on a deployment that only writes down what it is told


class Told:
    """A deployment that remembers its orders, and is as slow about the first as it is told to be."""

    native = None
    security = None
    dashboard_link = ""
    scheduler_address = "tcp://127.0.0.1:1"

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.closed = 0
        self.gone: ClusterGone | None = None
        self.slow = asyncio.Event()
        self.slow.set()

    async def scale(self, n: int) -> None:
        self.orders.append(("begun", n))
        await self.slow.wait()
        self.orders.append(n)

    async def adapt(self, minimum: int, maximum: int) -> None:
        self.orders.append((minimum, maximum))

    async def units(self) -> list[Unit]:
        if self.gone is not None:
            raise self.gone
        return []

    async def failure(self) -> None:
        return None

    async def logs(self, unit: str | None = None) -> dict[str, str]:
        return {}

    async def close(self, *, shutdown: bool = True) -> None:
        self.closed += 1


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
def cluster(told: Told) -> AsyncCluster:
    spec = ClusterSpec(backend="told", workers=2)

    async def start() -> Told:
        return told

    plan = Plan(name="told-1", backend="told", spec=spec, options=NoOptions(), profile="told", unit_noun="job")
    return AsyncCluster(plan, Opening(start))  # type: ignore[arg-type]


async def test_orders_in_quick_succession_arrive_in_their_order(cluster, told):
    async with cluster:
        told.slow.clear()
        orders = [cluster.scale(3), cluster.adapt(0, 5), cluster.scale(4)]
        await asyncio.sleep(0.01)
        assert told.orders == [("begun", 3)]
        told.slow.set()
        await asyncio.gather(*orders)
        assert told.orders == [("begun", 3), 3, (0, 5), ("begun", 4), 4]


async def test_an_order_takes_effect_without_being_awaited(cluster, told):
    async with cluster:
        cluster.adapt(minimum=1, maximum=5)
        await asyncio.sleep(0.01)
        assert told.orders == [(1, 5)]


async def test_the_target_is_known_as_soon_as_it_is_said(cluster):
    async with cluster:
        order = cluster.adapt(minimum=1, maximum=5)
        assert (cluster.minimum, cluster.maximum) == (1, 5)
        await order


async def test_a_refused_order_changes_nothing(cluster, told):
    async with cluster:
        with pytest.raises(ConfigError):
            cluster.scale(-1)
        assert (cluster.minimum, told.orders) == (2, [])


async def test_a_cluster_is_started_once_however_often_it_is_awaited(cluster, told):
    await asyncio.gather(cluster, cluster)
    await cluster
    await cluster.close()
    assert told.closed == 1


async def test_closing_from_two_places_is_closing_once(cluster, told):
    await cluster
    await asyncio.gather(cluster.close(), cluster.close())
    assert (told.closed, cluster.status) == (1, Status.closed)


async def test_a_cluster_that_was_never_started_can_be_closed(cluster):
    await cluster.close()
    with pytest.raises(ClusterGone, match="has been closed"):
        await cluster


@pytest.mark.filterwarnings("ignore:coroutine")
async def test_a_cluster_that_is_not_started_says_how_to(cluster):
    with pytest.raises(ClusterGone, match="has not been started; await it"):
        await cluster.report()


async def test_a_scheduler_that_is_gone_closes_the_cluster_for_dask_too(cluster, told):
    async with cluster:
        told.gone = ClusterGone("its scheduler has ended")
        with pytest.raises(ClusterGone):
            await cluster.report()
        assert cluster.status is Status.closed


async def test_a_cluster_found_gone_is_still_cleaned_up(cluster, told):
    async with cluster:
        told.gone = ClusterGone("its scheduler has ended")
        with pytest.raises(ClusterGone):
            await cluster.report()
    assert told.closed == 1


async def test_a_scheduler_that_is_only_slow_stays_running(cluster, told):
    async with cluster:
        told.gone = ClusterGone("did not answer", final=False)
        with pytest.raises(ClusterGone):
            await cluster.report()
        assert cluster.status is Status.running


async def test_a_start_that_fails_passes_and_leaves_a_failed_cluster(cluster):
    async def fails() -> Told:
        raise WorkersFailed(Failure("out of memory"))

    cluster._opening = Opening(fails)
    with pytest.raises(WorkersFailed):
        await cluster
    assert cluster.status is Status.failed
    await cluster.close()


async def test_a_start_that_fails_names_the_place_in_the_config_as_a_wait_does(cluster):
    async def fails() -> Told:
        raise WorkersFailed(Failure("there is no such image", because="kubernetes.image"), cluster="told-1")

    said = Leaf("kubernetes.image", "nope:1", "~/.clusterhub.yaml:7", is_default=False)
    cluster._plan = cluster._plan.model_copy(update={"values": (said,)})
    cluster._opening = Opening(fails)
    with pytest.raises(WorkersFailed, match=r"because  ~/\.clusterhub\.yaml:7  kubernetes\.image = nope:1") as failed:
        await cluster
    assert "workers of told cannot start" in str(failed.value)


async def test_a_client_reads_an_address_before_the_start_as_text(cluster):
    assert (cluster.scheduler_address, cluster.security, cluster.dashboard_link) == ("", None, "")


def test_a_repr_says_name_profile_state_and_target(cluster):
    assert repr(cluster) == "<AsyncCluster told-1 on told: created, 2 workers>"


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
        cluster.wait(1, timeout=20, display=silent())
        counts = cluster.report().counts
        assert (counts[UnitState.CONNECTED], counts[UnitState.PENDING]) == (1, 2)


def test_a_job_whose_workers_never_come_is_missing():
    with simulated(simulated={"fault": "never-connects", "startup_timeout": 0.2}) as cluster:
        eventually(lambda: states(cluster) == {UnitState.MISSING})
        assert cluster.units()[0].reason == "runs, but its workers never came"


def test_jobs_that_fail_alike_end_the_wait_with_their_cause():
    with simulated(simulated={"fault": "bad-python"}) as cluster:
        with pytest.raises(WorkersFailed) as failed:
            cluster.wait(timeout=20, display=silent())
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
            cluster.wait(timeout=20, display=silent())
        assert "because  default  environment.python" in str(failed.value)
        assert "workers of sim cannot start" in str(failed.value)


def test_a_node_that_fails_loses_its_workers_and_they_are_replaced():
    with simulated() as cluster:
        cluster.wait(timeout=20, display=silent())
        queue = cluster_of(cluster).queue
        first = queue.listing()[0].id
        with cluster.get_client(set_as_default=False):
            ask(queue.kill(first)).result(20)
        eventually(lambda: cluster.report().connected == 2)
        assert first not in {unit.name for unit in cluster.units()}


def test_a_lost_job_that_cannot_be_replaced_yet_is_told_with_its_reason():
    with simulated() as cluster:
        cluster.wait(timeout=20, display=silent())
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
        cluster.wait(timeout=20, display=silent())


def test_a_refused_submission_is_tried_again_when_the_target_is_said_again():
    with simulated(simulated={"fault": "rejects"}) as cluster:
        with pytest.raises(WorkersFailed):
            cluster.wait(timeout=20, display=silent())
        cluster_of(cluster).queue.fault = "none"
        cluster.scale(1)
        cluster.wait(timeout=20, display=silent())
        assert cluster.report().failure is None


def test_a_full_queue_is_a_state_and_not_an_error():
    with simulated(workers=4, simulated={"limit": 2}) as cluster:
        cluster.wait(2, timeout=20, display=silent())
        waiting_units = [unit for unit in cluster.units() if unit.state is UnitState.SUBMITTING]
        assert len(waiting_units) == 2
        assert waiting_units[0].reason == "queue full: 2 of your 2 jobs are in use; the rest waits for a place"
        assert cluster.report().failure is None


def test_places_in_a_full_queue_are_filled_as_they_free():
    with simulated(workers=4, simulated={"limit": 2}) as cluster:
        cluster.wait(2, timeout=20, display=silent())
        cluster_of(cluster).queue.limit = 4
        cluster.wait(timeout=20, display=silent())
        assert cluster.report().connected == 4


def test_many_jobs_are_one_submission():
    with simulated(workers=8, job={"workers_per_job": 2}) as cluster:
        cluster.wait(timeout=20, display=silent())
        queue = cluster_of(cluster).queue
        assert (queue.submissions, len(queue.jobs)) == (1, 4)


def test_a_target_that_is_no_multiple_of_a_job_is_met_by_whole_jobs():
    with simulated(workers=3, job={"workers_per_job": 2}) as cluster:
        cluster.wait(timeout=20, display=silent())
        eventually(lambda: cluster.report().connected == 4)
        assert cluster.report().counts[UnitState.CONNECTED] == 2


# Cluster


def test_adapt_without_await_takes_effect():
    """As dask-labextension calls it."""
    with simulated() as cluster:
        cluster.wait(timeout=20, display=silent())
        cluster.adapt(minimum=0, maximum=2)
        assert (cluster.minimum, cluster.maximum) == (0, 2)
        eventually(lambda: cluster.report().connected == 0)


def test_the_last_of_many_orders_wins():
    with simulated() as cluster:
        for n in (1, 4, 0, 3):
            cluster.scale(n)
        cluster.wait(3, timeout=20, display=silent())
        eventually(lambda: cluster.report().connected == 3)


def test_a_cluster_works_from_another_thread():
    from concurrent.futures import ThreadPoolExecutor

    with simulated() as cluster, ThreadPoolExecutor(4) as threads:
        cluster.wait(timeout=20, display=silent())
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
        cluster.wait(timeout=20, display=silent())
        assert set(cluster.get_logs(workers=False)) == {"scheduler"}
        assert "scheduler" not in cluster.get_logs(scheduler=False)


def test_logs_of_an_unknown_job_name_those_that_are_there():
    with simulated(workers=1) as cluster:
        cluster.wait(timeout=20, display=silent())
        with pytest.raises(KeyError, match=r"has no unit '99'; it has 1"):
            cluster.logs("99")


def test_a_cluster_shows_itself_in_a_notebook():
    with simulated(workers=1) as cluster:
        cluster.wait(timeout=20, display=silent())
        assert cluster.name in cluster._repr_html_()
    assert "closed" in cluster._repr_html_()


def test_a_named_cluster_has_that_name():
    with simulated(workers=0, name="eddies") as cluster:
        assert (cluster.name, repr(cluster)) == ("eddies", "<Cluster eddies on simulated: running, 0 workers>")
