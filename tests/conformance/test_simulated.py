"""The simulated queue keeps the contract: a backend whose units hold two workers and wait in a queue."""

from __future__ import annotations

import asyncio

from simulated_queue import deployment_of

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance


class TestSimulatedQueue(BackendConformance):
    backend = "simulated"
    overrides = {"worker": {"cores": 1, "memory": "512 MiB"}, "job": {"workers_per_job": 2}}
    broken = {"simulated": {"fault": "bad-python"}}

    def lose_worker(self, cluster: Cluster) -> None:
        deployment = deployment_of(cluster)
        job = next(job for job in deployment.queue.listing() if job.state == "R")
        asyncio.run_coroutine_threadsafe(deployment.queue.kill(job.id), cluster.loop.asyncio_loop).result(30)
