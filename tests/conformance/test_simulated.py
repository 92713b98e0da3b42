"""The simulated queue keeps the contract: a backend whose units hold two workers and wait in a queue."""

from __future__ import annotations

from simulated_queue import ask, cluster_of

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance


class TestSimulatedQueue(BackendConformance):
    backend = "simulated"
    overrides = {"worker": {"cores": 1, "memory": "512 MiB"}, "job": {"workers_per_job": 2}}
    broken = {"simulated": {"fault": "bad-python"}}

    def lose_worker(self, cluster: Cluster) -> None:
        queue = cluster_of(cluster).queue
        job = next(job for job in queue.listing() if job.state == "R")
        ask(queue.kill(job.id)).result(30)
