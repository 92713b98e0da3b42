"""An AsyncCluster, on a deployment that only writes down what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from distributed.core import Status

from clusterhub.backend import Leaf, NoOptions, Plan, Unit
from clusterhub.cluster import AsyncCluster, Opening
from clusterhub.errors import ClusterGone, ConfigError, Failure, WorkersFailed
from clusterhub.spec import ClusterSpec


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
