"""The lab itself: a real server, clusters that compute, crashes that are crashes, and nothing left."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import dask_gateway as bare
import pytest
from distributed import Client

from labs.gateway import processes
from labs.gateway.lab import TESTS, Gateway, LabError


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


async def test_a_server_that_hangs_answers_again(gateway):
    with gateway.hanging(), pytest.raises(TimeoutError):
        gateway.clusters(patience=5)
    assert gateway.clusters() == []


def test_nothing_is_left_when_what_needed_it_is_killed(possible, tmp_path):
    program = f"""
import sys, time
from pathlib import Path
from labs.gateway.lab import Gateway
gateway = Gateway(Path({str(tmp_path)!r}))
gateway.start()
print(gateway.server(), flush=True)
time.sleep(300)
"""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    assert server in {one.pid for one in processes.of(tmp_path)}
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 30
    while list(processes.of(tmp_path)):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def test_a_certificate_is_trusted_by_whoever_is_told_of_it(gateways):
    gateway = gateways(tls=True)
    program = f"""
import asyncio, dask_gateway
from distributed import Client
async def main():
    auth = dask_gateway.BasicAuth("ann", {gateway.password!r})
    async with dask_gateway.Gateway({gateway.address!r}, auth=auth, asynchronous=True) as ann:
        async with ann.new_cluster(worker_memory=0.25) as cluster:
            await cluster.scale(1)
            async with Client(cluster, asynchronous=True) as client:
                print(await client.submit(sum, range(10)))
asyncio.run(main())
"""

    def said(trusted):
        environment = {**os.environ, **gateway.environment(trusted=trusted)}
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
        )

    assert said(True).stdout == "45\n"
    assert "self-signed certificate" in said(False).stderr


def test_a_server_that_does_not_come_says_why(possible, tmp_path):
    gateway = Gateway(tmp_path)
    with socket.create_server(("127.0.0.1", gateway.settings.private)):
        with pytest.raises(LabError, match="address already in use"):
            gateway.start()
        assert gateway.processes() == []
    gateway.start()
    gateway.stop()
    assert gateway.processes() == []


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("site", {"worker_cores", "worker_memory", "image", "environment", "idle_timeout", "profile"}),
        ("units", {"cores", "ram"}),
        ("choices", {"cores", "memory"}),
        ("bare", set()),
    ],
)
async def test_it_offers_the_options_that_it_was_started_with(gateways, options, names):
    gateway = gateways(options=options)
    async with user(gateway) as ann:
        assert set(await ann.cluster_options()) == names
        cluster = await ann.new_cluster()
        await cluster.shutdown()
    gateway.stop()


async def test_it_refuses_what_its_own_rules_forbid(gateway):
    async with user(gateway) as ann:
        with pytest.raises(ValueError, match="4 GiB for each of its cores"):
            await ann.submit(worker_memory=8)
        assert gateway.clusters() == []


@pytest.mark.parametrize("profile", ["broken-worker", "missing-worker", "broken-scheduler"])
async def test_a_broken_cluster_fails(gateway, profile):
    async with user(gateway) as ann:
        name = await ann.submit(profile=profile, worker_memory=0.25)
        if profile != "broken-scheduler":
            async with asyncio.timeout(30):
                while (await ann.get_cluster(name)).status.name != "RUNNING":
                    await asyncio.sleep(0.1)
            await ann.scale_cluster(name, 1)
        async with asyncio.timeout(30):
            while name not in {report.name for report in await ann.list_clusters(status="failed")}:
                await asyncio.sleep(0.1)
