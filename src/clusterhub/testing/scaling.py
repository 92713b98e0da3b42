"""The target is kept: up, down without loss, healed, adapted, and the last word wins."""

from __future__ import annotations

import time
from typing import Any

from distributed import Event, wait

from clusterhub.cluster import Cluster
from clusterhub.testing.base import Base


class Scaling(Base):
    """What ``scale`` and ``adapt`` promise."""

    def test_scaling_up_brings_workers(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=per) as cluster:
            cluster.scale(3 * per)
            cluster.wait(timeout=self.timeout)
            self.eventually("as many are there, and no more", lambda: self.settled(cluster, 3 * per))

    def test_scaling_down_loses_no_result(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=3 * per) as cluster, cluster.get_client() as client:
            results = client.map(_megabytes_task(), range(24), pure=False)
            wait(results, timeout=self.timeout)
            cluster.scale(per)
            self.eventually("only one unit is left", lambda: self.settled(cluster, per))
            assert {future.status for future in results} == {"finished"}
            assert client.gather(client.map(len, results)) == [2**20 + index for index in range(24)]
            assert _ended(client, "megabytes") == 24, "results were lost on the way down and computed again"

    def test_scaling_down_lets_running_tasks_end(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=2 * per) as cluster, cluster.get_client() as client:
            may_end = Event("may-end", client=client)
            running = client.map(_held_task(), range(2 * per * _threads(cluster)), pure=False)
            self.eventually("all tasks run", lambda: _processing(client) == len(running))
            cluster.scale(per)
            time.sleep(1)  # time enough for workers to go at once
            may_end.set()
            assert sorted(client.gather(running)) == list(range(len(running)))
            assert _ended(client, "held") == len(running), "a running task was started twice"
            self.eventually("the surplus has left", lambda: self.settled(cluster, per))

    def test_nothing_leaves_that_nobody_can_take_over(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster, cluster.get_client() as client:
            result = client.submit(_megabytes_task(), 1)
            wait(result, timeout=self.timeout)
            cluster.scale(0)
            time.sleep(2)  # time enough for it to go, had it gone
            assert len(result.result(timeout=self.timeout)) == 2**20 + 1
            del result
            self.eventually("it left once nobody needed its results", lambda: cluster.report().connected == 0)

    def test_a_lost_worker_comes_back_without_a_call(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=2 * per) as cluster:
            before = set(cluster.scheduler_info["workers"])
            self.lose_worker(cluster)
            self.eventually("a worker is lost", lambda: set(cluster.scheduler_info["workers"]) != before)
            self.eventually("all are back", lambda: self.settled(cluster, 2 * per))

    def test_adapting_follows_the_load_up_and_down(self) -> None:
        per = self.per_unit()
        with self.cluster(workers={"minimum": 0, "maximum": 2 * per}) as cluster, cluster.get_client() as client:
            assert cluster.report().connected == 0
            work = client.map(_slow_task(), range(100), pure=False)
            self.eventually("workers came for the work", lambda: cluster.report().connected >= per)
            assert cluster.report().connected <= 2 * per
            client.cancel(work)
            del work
            self.eventually("they left when it was done", lambda: cluster.report().connected == 0)

    def test_a_scale_after_an_adapt_has_the_last_word(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=per) as cluster:
            cluster.adapt(minimum=0, maximum=per)
            cluster.scale(2 * per)
            cluster.wait(timeout=self.timeout)
            time.sleep(3)  # an adaptation that still ran would see no work, and take workers away
            assert cluster.report().connected == 2 * per

    def test_an_adapt_after_a_scale_has_the_last_word(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            cluster.scale(2 * self.per_unit())
            cluster.adapt(minimum=0, maximum=2 * self.per_unit())
            self.eventually("idle workers left", lambda: cluster.report().connected == 0)

    def test_scaling_to_and_fro_ends_at_the_last_number(self) -> None:
        per = self.per_unit()
        with self.cluster(workers=2 * per) as cluster:
            for n in (1, 3, 0, 2, 1, 3):
                cluster.scale(n * per)
            self.eventually("it settled at the last number", lambda: self.settled(cluster, 3 * per))


# Tasks and questions are made inside functions: so they travel by value, to workers that have no clusterhub.


def _megabytes_task() -> Any:
    def megabytes(index: int) -> bytes:
        return bytes(2**20 + index)

    return megabytes


def _slow_task() -> Any:
    def slow(index: int) -> int:
        import time

        time.sleep(1.0)
        return index

    return slow


def _held_task() -> Any:
    def held(index: int) -> int:
        from distributed import Event

        Event("may-end").wait()
        return index

    return held


def _processing(client: Any) -> int:
    """Tasks that are on workers now."""

    def processing(dask_scheduler: Any) -> int:
        return sum(len(state.processing) for state in dask_scheduler.workers.values())

    return int(client.run_on_scheduler(processing))


def _ended(client: Any, prefix: str) -> int:
    """How often tasks of that name have ended, those that ran twice counted twice."""

    def ended(dask_scheduler: Any, prefix: str) -> int:
        return int(dask_scheduler.task_prefixes[prefix].state_counts["memory"])

    return int(client.run_on_scheduler(ended, prefix=prefix))


def _threads(cluster: Cluster) -> int:
    """Threads of one worker."""
    return int(next(iter(cluster.scheduler_info["workers"].values()))["nthreads"])
