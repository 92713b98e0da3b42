"""Races and troubles of NativeDeployment's control loop, each once seen to lose results or to stop healing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from distributed import Client, LocalCluster, Worker, wait

import clusterhub
from clusterhub import ClusterGone, ClusterSpec, ConfigError, Document, NativeDeployment, NoOptions, Plan
from clusterhub._dask.draining import Drain
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.cluster import AsyncCluster
from clusterhub.native.surface import Surface

SMALL = {"cores": 1, "memory": "512 MiB"}
ENDLESS = {"idle_timeout": "never", "max_age": "never"}


def planned(workers: int, lifecycle: dict[str, str] | None = None) -> Plan[NoOptions]:
    spec = ClusterSpec(workers=workers, worker=SMALL, lifecycle=lifecycle or ENDLESS)
    document = Document(title="call", text="LocalCluster()")
    return Plan(name="story", backend="local", spec=spec, options=NoOptions(), summary="", documents=(document,))


def local(workers: int, **options: Any) -> LocalCluster:
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=2**29, processes=False, asynchronous=True,
        protocol="tcp://", dashboard_address="127.0.0.1:0", **options,
    )  # fmt: skip


async def eventually(met: Callable[[], Awaitable[bool]], timeout: float = 30) -> None:
    async with asyncio.timeout(timeout):
        while not await met():
            await asyncio.sleep(0.05)


def here(deployment: NativeDeployment, n: int) -> Callable[[], Awaitable[bool]]:
    async def met() -> bool:
        return sum(len(unit.workers) for unit in await deployment.units()) == n

    return met


LET_GO = threading.Event()


def work(index: int) -> int:
    """Workers run in this process, so that it can wait for what the test does."""
    LET_GO.wait(120)
    return index


def test_a_scale_up_during_a_launch_ends_no_worker_undrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launch had counted before it waited; meanwhile the drains were called off, and the count was too small."""
    forget, launching = Surface.forget, threading.Event()

    async def slowly(surface: Surface, names: Any) -> None:
        if names:
            launching.set()
            await asyncio.sleep(2)  # about what closing a busy nanny takes
        await forget(surface, names)

    def computed(dask_scheduler: Any) -> int:
        return int(dask_scheduler.task_prefixes["part"].state_counts["memory"])

    def part(index: int) -> bytes:
        return bytes(1000 + index)

    monkeypatch.setattr(Surface, "forget", slowly)
    LET_GO.clear()
    with (
        clusterhub.connect("local", workers=6, worker=SMALL, local={"processes": False}) as cluster,
        cluster.get_client() as client,
        contextlib.ExitStack() as in_the_end,
    ):
        in_the_end.callback(LET_GO.set)
        workers = list(cluster.native.workers.values())
        held = [client.submit(part, index, workers=[worker.address]) for index, worker in enumerate(workers)]
        wait(held)
        busy = [client.submit(work, index, workers=[worker.address]) for index, worker in enumerate(workers)]
        time.sleep(0.5)
        cluster.scale(3)

        def leaving() -> set[str]:
            return {unit.workers[0] for unit in cluster.units() if unit.reason == "leaving"}

        deadline = time.monotonic() + 60
        while len(leaving()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stays = next(worker for worker in workers if worker.address not in leaving())
        asyncio.run_coroutine_threadsafe(stays.close(executor_wait=False), cluster.loop.asyncio_loop).result(20)
        assert launching.wait(20)
        cluster.scale(6)
        cluster.wait(timeout=30)
        time.sleep(1)
        # What the one that died held may have been computed again, and nothing else.
        assert client.run_on_scheduler(computed) <= len(held) + 1
        assert cluster.report().connected == 6
        client.cancel(busy)


async def test_a_worker_that_others_connected_is_neither_counted_nor_ended() -> None:
    deployment = await NativeDeployment.of(local(2), planned(2))
    try:
        async with Worker(
            deployment.scheduler_address, name="mine", nthreads=1, dashboard_address="127.0.0.1:0"
        ) as mine:
            await eventually(here(deployment, 2))
            await deployment.scale(1)
            await eventually(here(deployment, 1))
            await deployment.scale(0)
            await eventually(here(deployment, 0))
            assert mine.status.name == "running"
            assert await deployment.failure() is None
    finally:
        await deployment.close()


async def test_one_look_that_fails_does_not_stop_the_healing(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = await NativeDeployment.of(local(1), planned(1))
    try:
        identity, failed = SchedulerLink.identity, asyncio.Event()

        async def fails_once(link: SchedulerLink) -> dict[str, Any]:
            if not failed.is_set():
                failed.set()
                raise RuntimeError("a passing trouble")
            return await identity(link)

        monkeypatch.setattr(SchedulerLink, "identity", fails_once)
        await asyncio.wait_for(failed.wait(), 30)
        monkeypatch.setattr(SchedulerLink, "identity", identity)
        before = (await deployment.units())[0].workers
        await deployment.native.workers[0].close()

        async def replaced() -> bool:
            now = [unit.workers for unit in await deployment.units()]
            return len(now) == 1 and bool(now[0]) and now[0] != before

        await eventually(replaced)
        assert await deployment.failure() is None
    finally:
        await deployment.close()


async def test_a_cluster_whose_workers_are_awaited_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(surface: Surface, n: int) -> None:
        await asyncio.sleep(3600)

    deployment = await NativeDeployment.of(local(0), planned(0, {"idle_timeout": "1s", "max_age": "never"}))
    try:
        monkeypatch.setattr(Surface, "add", never)
        await deployment.scale(1)
        await asyncio.sleep(3)  # three times its idle timeout, in which nothing was processing
        assert len(await deployment.units()) == 1
        await deployment.scale(0)

        async def gone() -> bool:
            try:
                await deployment.units()
            except ClusterGone as error:
                return "idle_timeout" in str(error)
            return False

        await eventually(gone)
    finally:
        await deployment.close()


async def test_workers_whose_retirement_fails_take_work_again(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = await NativeDeployment.of(local(2), planned(2))
    link = SchedulerLink(deployment.scheduler_address, None)
    try:

        async def refuse(link: SchedulerLink, workers: Any) -> frozenset[str]:
            raise ValueError("no such luck")

        monkeypatch.setattr(SchedulerLink, "retire", refuse)
        victims = list((await link.identity())["workers"])
        with pytest.raises(ValueError, match="luck"):
            await Drain(link, victims, patience=1).run()
        async with Client(deployment.native, asynchronous=True, set_as_default=False) as client:
            assert await asyncio.wait_for(client.submit(sum, [1, 2]), 30) == 3
    finally:
        await link.close()
        await deployment.close()


async def test_an_asynchronous_client_of_a_blocking_cluster_can_await_its_workers() -> None:
    """As in a notebook cell: the cluster blocks, and what it returns is awaited all the same."""
    with clusterhub.connect("local", workers=1, worker=SMALL, local={"processes": False}) as cluster:
        client = await Client(cluster, asynchronous=True, set_as_default=False)
        await client.wait_for_workers(1, timeout=30)
        await cluster.close()


async def test_two_living_clusters_of_one_name_are_refused() -> None:
    options: Any = {"workers": 0, "worker": SMALL, "local": {"processes": False}, "lifecycle": {"host": "inline"}}
    async with clusterhub.aio.connect("local", name="eddies", **options):
        with pytest.raises(ConfigError, match="eddies"):
            await clusterhub.aio.connect("local", name="eddies", **options)
    async with clusterhub.aio.connect("local", name="eddies", **options) as again:
        assert isinstance(again, AsyncCluster)


def test_workers_that_keep_dying_young_are_a_cause() -> None:
    """A nanny restarts them for ever, and a wait for them would last as long."""
    with clusterhub.connect("local", workers=1, worker=SMALL) as cluster:
        cluster.wait(timeout=60)
        deadline = time.monotonic() + 90
        killed: set[int] = set()
        while (failure := cluster.report().failure) is None:
            assert time.monotonic() < deadline
            pids = {worker.process.pid for worker in cluster.native.workers.values() if worker.process}
            for pid in pids - killed if cluster.report().connected else ():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.1)
        assert "die within" in failure.summary
