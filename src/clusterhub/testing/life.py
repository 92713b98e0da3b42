"""A cluster's life: it starts, computes, tells what it has, and is usable from every kind of code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from distributed import Client
from distributed.core import Status

import clusterhub
from clusterhub.backend import NEEDS_REASON, UnitState
from clusterhub.cluster import AsyncCluster
from clusterhub.display.waiting import silent
from clusterhub.errors import ConfigError, WaitTimeout, WorkersFailed
from clusterhub.testing.base import Base


class Life(Base):
    """Start, work, tell."""

    def test_it_starts_and_computes(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster, cluster.get_client() as client:
            assert client.submit(sum, range(10)).result(timeout=self.timeout) == 45

    def test_wait_returns_with_all_workers_connected(self) -> None:
        n = 2 * self.per_unit()
        with self.unwaited(workers=n) as cluster:
            cluster.wait(timeout=self.timeout, display=silent())
            assert len(cluster.scheduler_info["workers"]) == n

    def test_workers_have_the_shape_that_was_asked_for(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            spec = self.resolved(workers=self.per_unit()).spec
            workers = cluster.scheduler_info["workers"].values()
            assert {worker["nthreads"] for worker in workers} == {spec.worker.nthreads}
            # A backend may keep some memory for what is around a worker, and never gives it more than was asked for.
            assert all(0.8 * spec.worker.memory <= worker["memory_limit"] <= spec.worker.memory for worker in workers)

    def test_a_dask_client_takes_the_cluster_itself(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster, Client(cluster, set_as_default=False) as client:
            assert client.submit(abs, -3).result(timeout=self.timeout) == 3
            client.wait_for_workers(self.per_unit(), timeout=self.timeout)

    def test_the_report_tells_what_is_there(self) -> None:
        n = self.per_unit()
        with self.cluster(workers=n) as cluster:
            report = cluster.report()
            assert report.connected == n
            assert report.counts[UnitState.CONNECTED] == 1
            assert cluster.name in str(report)
            assert json.dumps(report.to_dict())
            assert "<" in cluster._repr_html_()

    def test_every_unit_in_trouble_has_a_reason(self) -> None:
        with self.unwaited(workers=2 * self.per_unit()) as cluster:
            while cluster.report().connected < 2 * self.per_unit():
                assert all(unit.reason for unit in cluster.units() if unit.state in NEEDS_REASON)
            assert {unit.state for unit in cluster.units()} == {UnitState.CONNECTED}

    def test_logs_come_by_name(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            name = cluster.units()[0].name
            assert {"scheduler", name} <= set(cluster.logs())
            assert set(cluster.logs(name)) == {name}
            with pytest.raises(KeyError, match="no-such-unit"):
                cluster.logs("no-such-unit")

    def test_a_wait_that_lasts_too_long_says_what_it_waited_for(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            cluster.scale(10 * self.per_unit())
            with pytest.raises(WaitTimeout, match="workers"):
                cluster.wait(timeout=0.01, display=silent())
            cluster.scale(self.per_unit())

    def test_workers_that_cannot_start_are_a_cause_and_not_a_wait(self) -> None:
        if self.broken is None:
            pytest.skip("the suite was given no `broken` overrides: that causes are told was NOT tested")
        with pytest.raises(WorkersFailed) as failed, self.unwaited(workers=self.per_unit(), **self.broken) as cluster:
            cluster.wait(timeout=self.timeout, display=silent())
        assert failed.value.failure.summary

    def test_it_works_from_asynchronous_code(self) -> None:
        async def story() -> int:
            options: dict[str, Any] = {**self.overrides, "workers": self.per_unit()}
            async with clusterhub.aio.connect(self.backend, **options) as cluster:
                assert isinstance(cluster, AsyncCluster)
                await cluster.wait(timeout=self.timeout, display=silent())
                async with cluster.get_client(set_as_default=False) as client:
                    answer: int = await client.submit(sum, [1, 2])
                    return answer

        assert asyncio.run(story()) == 3

    def test_the_blocking_front_works_inside_a_running_loop(self) -> None:
        """As in a notebook, whose cells run on a loop."""

        async def cell() -> int:
            with self.cluster(workers=self.per_unit()) as cluster, cluster.get_client(set_as_default=False) as client:
                answer: int = client.submit(sum, [3, 4]).result(timeout=self.timeout)
                return answer

        assert asyncio.run(cell()) == 7

    def test_bad_targets_are_refused_at_once(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            for bad in (-1, 1.5, "3", True, None):
                with pytest.raises(ConfigError):
                    cluster.scale(bad)  # type: ignore[arg-type]
            with pytest.raises(ConfigError):
                cluster.adapt(3, 1)
            with pytest.raises(ConfigError, match="workers"):
                cluster.scale(0, jobs=3)
            assert cluster.report().connected == self.per_unit()

    def test_its_status_is_dasks(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            assert cluster.status is Status.running
        assert cluster.status is Status.closed
