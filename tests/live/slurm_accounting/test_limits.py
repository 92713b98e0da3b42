"""Limits on jobs are states: the target stays, places are taken as they come free, and nothing is refused twice."""

from __future__ import annotations

import pytest

from clusterhub.backend import UnitState
from live.faults import Faults, come, eventually
from live.on_slurm import Submissions, quiet_python
from live.slurm.conftest import Slurm

PAIRS = {"job": {"walltime": "20m", "workers_per_job": 2}}
LIMITS = [
    ("user", "MaxSubmitJobs"),
    ("account", "GrpSubmitJobs"),
    ("qos", "MaxSubmitJobsPerUser"),
]


class TestJobsInTheQueue:
    connect = Faults.connect

    @pytest.mark.parametrize(("whose", "key"), LIMITS, ids=[whose for whose, _ in LIMITS])
    def test_a_limit_is_filled_and_told_after_one_refusal(self, system: Slurm, submissions: Submissions, whose, key):
        system.command("limit", whose, f"{key}=5")
        with self.connect(system, workers=7) as cluster:
            eventually(lambda: cluster.report().connected == 5)
            told = eventually(lambda: [unit for unit in cluster.units() if unit.state is UnitState.SUBMITTING])
            assert len(told) == 2
            assert {unit.reason for unit in told} == {
                "queue full: 5 of your 5 jobs are in use; the rest waits for a place"
            }
            assert all("SubmitJob" in unit.source for unit in told)
            # A place that comes free is taken, and one that does not is not asked for.
            system.cancel(system.queue()[:1])
            eventually(lambda: len(submissions.all) == 4)
            assert len(submissions.refused) == 1

    def test_workers_all_come_that_a_limit_has_places_for(self, system: Slurm, submissions: Submissions):
        system.command("limit", "MaxSubmitJobs=6")
        with self.connect(system, workers=12, **PAIRS) as cluster:
            come(cluster)
            assert submissions.refused == []
            assert len(submissions.all) == 2

    def test_the_qos_of_a_partition_that_takes_fewer_jobs_than_are_tried_first_is_filled(
        self, system: Slurm, submissions: Submissions
    ):
        system.command("limit", "partition", "MaxSubmitJobsPerUser=2")
        with self.connect(system, workers=4, slurm={"partition": "crowded"}) as cluster:
            eventually(lambda: cluster.report().connected == 2)
            assert len(submissions.refused) == 1

    def test_jobs_of_others_count_and_their_ends_make_room(self, system: Slurm, submissions: Submissions, tmp_path):
        system.command("limit", "account", "GrpSubmitJobs=6")
        python = {"environment": {"python": quiet_python(tmp_path)}}
        with self.connect(system, workers=3, **python):
            eventually(lambda: len(system.queue()) == 3)
            with self.connect(system, workers=5, **python) as cluster:
                eventually(lambda: len(system.queue()) == 6)
                reasons = eventually(lambda: {u.reason for u in cluster.units() if u.state is UnitState.SUBMITTING})
                assert reasons == {"queue full: 6 of your 6 jobs are in use; the rest waits for a place"}


class TestJobsThatRun:
    connect = Faults.connect

    @pytest.mark.parametrize(
        ("limit", "reason", "source"),
        [
            (("account", "GrpJobs=2"), "your account runs as many jobs at a time as it may", "AssocGrpJobsLimit"),
            (("qos", "MaxTRESPerUser=cpu=2"), "you use all the cores that you may", "QOSMaxCpuPerUserLimit"),
            (("user", "MaxJobs=2"), "you run as many jobs at a time as you may", "AssocMaxJobsLimit"),
        ],
        ids=["account", "qos", "user"],
    )
    def test_what_a_limit_keeps_waiting_says_so_and_fails_nothing(self, system: Slurm, limit, reason, source):
        system.command("limit", *limit)
        with self.connect(system, workers=3) as cluster:
            eventually(lambda: cluster.report().connected == 2)
            (waiting,) = eventually(
                lambda: [u for u in cluster.units() if u.state is UnitState.PENDING and u.source == source]
            )
            assert waiting.reason == reason
            key, value = limit[1].rsplit("=", 1)
            assert value == "2"
            system.command("limit", limit[0], f"{key}=3")
            eventually(lambda: cluster.report().connected == 3)
