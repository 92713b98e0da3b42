"""The lab itself: a real server, clusters that compute, crashes that are crashes, and nothing left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from distributed import Client

bare = pytest.importorskip("dask_gateway")


@asynccontextmanager
async def user(gateway, name="ann"):
    async with bare.Gateway(
        gateway.address, auth=bare.BasicAuth(name, gateway.password), asynchronous=True
    ) as connected:
        yield connected


async def eventually(met, timeout=60):
    async with asyncio.timeout(timeout):
        while not (result := met()):
            await asyncio.sleep(0.1)
        return result


async def test_clusters_compute_and_belong_to_their_user(gateway):
    async with user(gateway) as ann:
        cluster = await ann.new_cluster(worker_memory=0.25)
        await cluster.scale(2)
        async with Client(cluster, asynchronous=True) as client:
            assert await client.submit(sum, range(10)) == 45
        assert gateway.clusters("ann") == [cluster.name]
        assert gateway.clusters("ben") == []
        assert gateway.scheduler(cluster.name)
        workers = await eventually(lambda: len(found := gateway.workers(cluster.name)) == 2 and found)
        killed = gateway.kill_worker(cluster.name)
        assert killed in workers
        await eventually(lambda: len(found := gateway.workers(cluster.name)) == 2 and killed not in found)
        await cluster.shutdown()
    await eventually(lambda: not [one for one in gateway.processes() if one.cluster])


async def test_a_cluster_and_its_data_outlive_a_crash(gateways):
    gateway = gateways(database="sqlite")
    async with user(gateway) as ann:
        cluster = await ann.new_cluster(worker_memory=0.25)
        async with Client(cluster, asynchronous=True) as client:
            await cluster.scale(1)
            await client.publish_dataset(await client.scatter([1, 2, 3]), name="eddies")
        name = cluster.name
        scheduler = gateway.scheduler(name)
        gateway.kill()
        assert gateway.server() is None
        assert gateway.scheduler(name) == scheduler
        gateway.restart()
        assert gateway.clusters() == [name]
        await cluster.close(shutdown=False)
    async with user(gateway) as ann:
        again = await ann.connect(name)
        async with Client(again, asynchronous=True) as client:
            assert await client.gather(await client.get_dataset("eddies")) == [1, 2, 3]
        await again.shutdown()


async def test_stopping_leaves_no_process_of_a_cluster_without_server(gateways):
    gateway = gateways()
    async with user(gateway) as ann:
        cluster = await ann.new_cluster(worker_memory=0.25)
        await cluster.scale(1)
        await eventually(lambda: gateway.workers(cluster.name))
        await cluster.close(shutdown=False)
    gateway.kill()
    assert {one.cluster for one in gateway.processes()} == {cluster.name}
    gateway.stop()
    assert gateway.processes() == []
