"""Jobs that the controller has forgotten and no accounting remembers: nobody knows how they ended, and that is told."""

from __future__ import annotations

import subprocess

import pytest

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import WorkersFailed
from live.faults import SMALL, eventually
from live.on_slurm import failed, forgetful_controller, is_forgotten, names, stopped_keeper
from live.slurm.conftest import Slurm


@pytest.fixture(autouse=True, scope="module")
def forgetful():
    with forgetful_controller():
        yield


def test_jobs_that_failed_unseen_are_told_as_gone_with_their_logs(system: Slurm, tmp_path):
    may_fail = tmp_path / "may-fail"
    setup = {"environment": {"setup": [f"until [ -e {may_fail} ]; do sleep 0.2; done", "false"]}}
    with clusterhub.connect("slurm", workers=3, **SMALL, **setup) as cluster:
        jobs = eventually(lambda: len(found := system.queue()) == 3 and set(found) == names(cluster) and found)
        with stopped_keeper(cluster.name):
            may_fail.touch()
            eventually(lambda: all(is_forgotten(job) for job in jobs))
        with pytest.raises(WorkersFailed) as raised:
            cluster.wait(timeout=90, display=silent())
        assert "this line of the setup failed" in "\n".join(raised.value.failure.log_tail)


def test_jobs_that_were_cancelled_unseen_while_they_waited_are_told_as_gone_and_replaced(system: Slurm):
    with clusterhub.connect("slurm", workers=2, slurm={"partition": "down"}, **{**SMALL, "job": {}}) as cluster:
        before = eventually(lambda: len(found := system.queue()) == 2 and set(found) == names(cluster) and found)
        with stopped_keeper(cluster.name):
            subprocess.run(["scancel", *before], check=True)
            eventually(lambda: all(is_forgotten(job) for job in before))
        eventually(lambda: len(system.queue()) == 2)
        ended = eventually(lambda: failed(cluster, "left the queue before anybody saw them run"))
        assert set(ended) == set(before)
        assert {unit.source for unit in ended.values()} == {"SLURM does not know it any more"}
