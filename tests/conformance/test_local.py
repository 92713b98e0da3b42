"""The local backend keeps the contract, as processes and as threads."""

from __future__ import annotations

import asyncio

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance


class TestLocalProcesses(BackendConformance):
    backend = "local"
    overrides = {"worker": {"cores": 1, "memory": "512 MiB"}, "local": {"dashboard": False}}
    broken = {"local": {"dashboard": False, "preload": ["no_such_module"]}}


class TestLocalThreads(BackendConformance):
    backend = "local"
    overrides = {"worker": {"cores": 1, "memory": "512 MiB"}, "local": {"dashboard": False, "processes": False}}
    broken = {"local": {"dashboard": False, "processes": False, "preload": ["no_such_module"]}}

    def lose_worker(self, cluster: Cluster) -> None:
        worker = next(iter(cluster.native.workers.values()))
        asyncio.run_coroutine_threadsafe(worker.close(), cluster.loop.asyncio_loop).result(30)


class TestLocalInKeeper(BackendConformance):
    """Nothing of the contract depends on where the cluster lives."""

    backend = "local"
    overrides = {**TestLocalProcesses.overrides, "lifecycle": {"host": "process"}}
    broken = TestLocalProcesses.broken
