"""PBS keeps the contract, on the stand-in: all of it with one worker in a job, and where that could matter with two."""

from __future__ import annotations

import subprocess

import pytest

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance
from clusterhub.testing.scaling import Scaling
from live.faults import SMALL


@pytest.mark.usefixtures("system")
class TestPbs(BackendConformance):
    backend = "pbs"
    overrides = SMALL
    broken = {"environment": {"python": "/no/such/python"}}
    timeout = 90.0

    def lose_worker(self, cluster: Cluster) -> None:
        subprocess.run(["qdel", cluster.units()[0].name], check=True)


@pytest.mark.usefixtures("system")
class TestPbsOfTwo(Scaling):
    backend = "pbs"
    overrides = {**SMALL, "job": {"walltime": "20m", "workers_per_job": 2}}
    timeout = 90.0
    lose_worker = TestPbs.lose_worker
