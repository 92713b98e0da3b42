"""How jobs ended that the controller has forgotten: accounting knows."""

from __future__ import annotations

import subprocess

import pytest

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import WorkersFailed
from live.faults import SMALL, come, eventually
from live.on_slurm import failed, forgetful_controller, is_forgotten, lab, names, stopped_keeper
from live.slurm.conftest import Slurm


@pytest.fixture(autouse=True, scope="module")
def forgetful():
    with forgetful_controller():
        yield


def test_the_cause_is_right_though_the_controller_knew_nothing_any_more_when_it_was_asked(system: Slurm, tmp_path):
    may_fail = tmp_path / "may-fail"
    setup = {"environment": {"setup": [f"until [ -e {may_fail} ]; do sleep 0.2; done", "false"]}}
    with clusterhub.connect("slurm", workers=3, **SMALL, **setup) as cluster:
        jobs = eventually(lambda: len(found := system.queue()) == 3 and set(found) == names(cluster) and found)
        with stopped_keeper(cluster.name):
            may_fail.touch()
            eventually(lambda: all(is_forgotten(job) for job in jobs))
        with pytest.raises(WorkersFailed, match="setup failed") as raised:
            cluster.wait(timeout=60, display=silent())
        assert raised.value.failure.exit_code == 81
        assert "FAILED 81:0" in raised.value.failure.source


@pytest.mark.parametrize("together", [True, False], ids=["as an array", "one by one"])
def test_jobs_that_were_cancelled_while_they_waited_are_told_as_such_and_replaced(system: Slurm, together):
    with clusterhub.connect("slurm", workers=2, slurm={"partition": "down"}, **{**SMALL, "job": {}}) as cluster:
        before = eventually(lambda: len(found := system.queue()) == 2 and set(found) == names(cluster) and found)
        with stopped_keeper(cluster.name):
            subprocess.run(["scancel", *([before[0].split("_")[0]] if together else before)], check=True)
            eventually(lambda: all(is_forgotten(job) for job in before))
        eventually(lambda: len(system.queue()) == 2)
        # Of members that are cancelled one by one, SLURM itself keeps no record that tells them apart.
        ended = eventually(lambda: failed(cluster, "cancelled from outside"))
        assert set(ended) == set(before)
        if together:
            assert {unit.source for unit in ended.values()} == {"CANCELLED by 0 0:0"}


def test_an_outage_of_accounting_keeps_nobody_from_replacing_what_was_lost(system: Slurm):
    with clusterhub.connect("slurm", workers=2, **SMALL) as cluster:
        come(cluster)
        lost = cluster.units()[0].name
        try:
            with stopped_keeper(cluster.name):
                subprocess.run(["scancel", lost], check=True)
                # With accounting away, the controller would forget nothing.
                eventually(lambda: is_forgotten(lost))
                lab("accounting", "stop")
            eventually(lambda: cluster.report().connected == 2 and lost not in names(cluster))
        finally:
            lab("accounting", "start")
