"""What accounting refuses: told with the key that decides it, and at the cost of no job."""

from __future__ import annotations

import pytest

from live.faults import Faults, come
from live.slurm.conftest import Slurm


class TestRefusals:
    connect, fails = Faults.connect, Faults.fails

    @pytest.mark.parametrize(
        ("slurm", "summary", "key"),
        [
            ({"account": "nope"}, "account", "slurm.account"),
            ({"qos": "nope"}, "qos", "slurm.qos"),
            ({"account": "ocean", "qos": "crowded"}, "qos", "slurm.qos"),
        ],
        ids=["account", "qos", "a qos of others"],
    )
    def test_a_wrong_account_or_qos_costs_no_job(self, system: Slurm, slurm, summary, key):
        before = system.submitted()
        self.fails(system, summary, key, slurm=slurm)
        assert system.submitted() == before

    def test_a_limit_on_what_one_job_may_be_is_a_refusal_and_no_full_queue(self, system: Slurm):
        system.command("limit", "qos", "Flags=DenyOnLimit", "MaxWall=10")
        before = system.submitted()
        failed = self.fails(system, "more time than a job may have", "job.walltime")
        assert "QOSMaxWallDurationPerJobLimit" in failed.failure.source
        assert system.submitted() == before

    def test_the_same_limit_where_it_lets_jobs_wait_in_vain_is_told_as_such(self, system: Slurm):
        system.command("limit", "user", "MaxWall=10")
        try:
            failed = self.fails(system, "more time than a job may have", "job.walltime")
        finally:
            system.command("limit", "user", "MaxWall=-1")
        assert failed.failure.source == "AssocMaxWallDurationPerJobLimit"

    def test_an_account_that_users_of_a_site_export_is_the_profiles_default(self, system: Slurm, monkeypatch):
        monkeypatch.setenv("SBATCH_ACCOUNT", "nope")
        self.fails(system, "account", "slurm.account")
        with self.connect(system, workers=1, slurm={"account": "ocean"}) as cluster:
            come(cluster)
