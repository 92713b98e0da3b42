"""GPUs are asked for and seen by workers; the lab's are files that SLURM counts."""

from __future__ import annotations

import os

import pytest

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import WorkersFailed
from live.on_slurm import SMALL


def with_gpus(count):
    return {**SMALL, "worker": {**SMALL["worker"], "gpus": count}}


def test_a_worker_sees_the_gpus_that_were_asked_for():
    with clusterhub.connect("slurm", workers=2, **with_gpus(2)) as cluster, cluster.get_client() as client:
        cluster.wait(timeout=120, display=silent())
        assert set(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == {"0,1"}
        assert len({unit.where for unit in cluster.units()}) == 2, "a node has two"


def test_more_gpus_than_a_node_has_are_a_cause_at_once():
    with clusterhub.connect("slurm", workers=50, **with_gpus(3)) as cluster:
        with pytest.raises(WorkersFailed, match="GPUs") as failed:
            cluster.wait(timeout=60, display=silent())
        assert "worker" in failed.value.failure.because
