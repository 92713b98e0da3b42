"""SLURM keeps the contract: with one worker in a job, and with two."""

from __future__ import annotations

import subprocess

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance

SMALL = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}


class TestSlurm(BackendConformance):
    backend = "slurm"
    overrides = SMALL
    broken = {"environment": {"python": "/no/such/python"}}
    timeout = 90.0

    def lose_worker(self, cluster: Cluster) -> None:
        subprocess.run(["scancel", cluster.units()[0].name], check=True)


class TestSlurmOfTwo(TestSlurm):
    overrides = {**SMALL, "job": {"walltime": "20m", "workers_per_job": 2}}
