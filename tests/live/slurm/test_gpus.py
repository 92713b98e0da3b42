"""GPUs are asked for and seen by workers; the lab's are files that SLURM counts."""

from __future__ import annotations

import os

from live.faults import SMALL, Faults, come
from live.slurm.conftest import Slurm


def with_gpus(count):
    return {"worker": {**SMALL["worker"], "gpus": count}}


class TestGpus:
    connect, fails = Faults.connect, Faults.fails

    def test_a_worker_sees_the_gpus_that_were_asked_for(self, system: Slurm):
        with self.connect(system, workers=2, **with_gpus(2)) as cluster, cluster.get_client() as client:
            come(cluster)
            assert set(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == {"0,1"}
            assert len({unit.where for unit in cluster.units()}) == 2, "a node has two"

    def test_more_gpus_than_a_node_has_are_a_cause_at_once(self, system: Slurm):
        self.fails(system, "GPUs", "worker", **with_gpus(3))
