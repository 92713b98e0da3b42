"""SLURM keeps the contract: all of it with one worker in a job, and where that could matter with two."""

from __future__ import annotations

import subprocess

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance
from clusterhub.testing.scaling import Scaling

SMALL = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}


class TestSlurm(BackendConformance):
    backend = "slurm"
    overrides = SMALL
    broken = {"environment": {"python": "/no/such/python"}}
    timeout = 90.0

    def lose_worker(self, cluster: Cluster) -> None:
        subprocess.run(["scancel", cluster.units()[0].name], check=True)


class TestSlurmOfTwo(Scaling):
    backend = "slurm"
    overrides = {**SMALL, "job": {"walltime": "20m", "workers_per_job": 2}}
    timeout = 90.0
    lose_worker = TestSlurm.lose_worker
