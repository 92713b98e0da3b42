"""What goes wrong on a real SLURM, and what is made of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import clusterhub
from clusterhub.errors import ConfigError
from live.faults import SMALL, Faults, come, eventually
from live.slurm.conftest import Slurm


class TestFaults(Faults):
    @pytest.mark.parametrize(
        ("said", "summary", "because"),
        [
            ({"slurm": {"partition": "nope"}}, "no such partition", "slurm.partition"),
            ({"slurm": {"partition": "short"}, "job": {"walltime": "2h"}}, "walltime", "job.walltime"),
            ({"worker": {"cores": 64, "memory": "300 MiB"}}, "so many cores", "worker.cores"),
            ({"worker": {"cores": 1, "memory": "900 GiB"}}, "so much memory", "worker"),
        ],
        ids=["partition", "walltime", "cores", "memory"],
    )
    def test_what_slurm_refuses_is_told_in_our_words_and_its_own(self, system: Slurm, said, summary, because):
        failed = self.fails(system, summary, because, **said)
        assert "sbatch" in failed.failure.source

    def test_a_log_folder_that_cannot_be_made_is_refused_before_anything_is_submitted(self, system: Slurm):
        with pytest.raises(ConfigError, match=r"storage\.logs"):
            clusterhub.connect("slurm", workers=1, storage={"logs": "/proc/none"}, **SMALL)

    def test_a_partition_that_is_down_is_a_reason_and_no_silence(self, system: Slurm):
        with self.connect(system, workers=2, slurm={"partition": "down"}, job={}) as cluster:
            eventually(lambda: [unit.reason for unit in cluster.units()] == ["its partition is down"] * 2)
            assert {unit.source for unit in cluster.units()} == {"PartitionDown"}

    def test_a_scheduler_that_no_node_reaches_is_named_with_what_was_tried(self, system: Slurm):
        failed = self.fails(system, "no address of the scheduler", "network.interface", network={"interface": "lo"})
        assert "lifecycle.host: job" in failed.failure.next_step
        assert any("127.0.0.1" in line and "refused" in line for line in failed.failure.log_tail)

    def test_a_node_that_loses_its_power_is_replaced(self, system: Slurm):
        with self.connect(system, workers=4, slurm={"directives": ["--no-requeue"]}) as cluster:
            come(cluster)
            lost = cluster.units()[0].where
            system.command("crash", lost)
            try:
                eventually(lambda: cluster.report().connected < 4)
                eventually(
                    lambda: cluster.report().connected == 4 and lost not in {unit.where for unit in cluster.units()}
                )
            finally:
                system.start(lost)

    def test_a_job_that_slurm_starts_anew_after_a_node_failed_is_understood(self, system: Slurm):
        with self.connect(system, workers=4) as cluster:
            come(cluster)
            lost = cluster.units()[0].where
            system.command("crash", lost)
            try:
                eventually(lambda: lost not in {unit.where for unit in cluster.units() if unit.state == "connected"})
                eventually(lambda: cluster.report().connected == 4)
                assert cluster.report().failure is None
                eventually(lambda: len(system.queue()) == 4)
            finally:
                system.start(lost)

    def test_a_job_that_is_requeued_by_hand_is_understood(self, system: Slurm):
        with self.connect(system, workers=2) as cluster:
            come(cluster)
            name = cluster.units()[0].name
            subprocess.run(["scontrol", "requeue", name], check=True)
            eventually(lambda: cluster.report().connected == 1)
            eventually(lambda: cluster.report().connected == 2)
            assert cluster.report().failure is None
            eventually(lambda: len(system.queue()) == 2)

    def test_no_key_is_in_a_script_or_on_a_command_line(self, system: Slurm):
        with self.connect(system, workers=1) as cluster:
            come(cluster)
            state = Path(os.environ["HOME"]) / ".local/state/clusterhub/clusters" / cluster.name
            key = (state / "tls-key.pem").read_text().splitlines()[1]
            script = subprocess.run(
                ["scontrol", "write", "batch_script", cluster.units()[0].name.split("_")[0], "-"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            shown = subprocess.run(["ps", "auxeww"], capture_output=True, text=True, check=True).stdout
            assert "dask_worker" in script
            assert key not in script + shown + "".join(cluster.logs().values())

    def test_nothing_of_the_submitters_environment_reaches_a_job_but_what_the_profile_says(self, system, monkeypatch):
        monkeypatch.setenv("MY_OWN", "leak")
        said = {"environment": {"variables": {"SAID": "1"}}}
        with self.connect(system, workers=1, **said) as cluster, cluster.get_client() as client:
            come(cluster)
            (seen,) = client.run(lambda: dict(__import__("os").environ)).values()
            assert seen["SAID"] == "1"
            assert "MY_OWN" not in seen
            assert "SLURM_JOB_ID" in seen
