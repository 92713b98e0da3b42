"""How commands of a batch system are run: in which surroundings, and for how long."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from clusterhub.profile import resolve
from clusterhub_backends.batch.commands import run
from clusterhub_backends.batch.driver import Command, SystemDown


def test_a_command_sees_our_variables_but_for_those_that_it_must_not(monkeypatch):
    monkeypatch.setenv("SQUEUE_PARTITION", "nope")
    monkeypatch.setenv("SQUEUE_SORT", "-i")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    show = "import os; print(*(os.environ.get(n) for n in ('SQUEUE_PARTITION', 'SQUEUE_SORT', 'SLURM_CONF', 'LC_ALL', 'X')))"
    command = Command((sys.executable, "-c", show), environment={"X": "1"})
    assert run(command).stdout == "None None /etc/slurm.conf C 1\n"


def test_what_a_command_said_before_it_was_given_up_is_told(monkeypatch, tmp_path):
    said, communicate = tmp_path / "said", subprocess.Popen.communicate

    def once_it_has_spoken(process, *args, **kwargs):
        while not said.exists():
            time.sleep(0.01)
        return communicate(process, *args, **kwargs)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_has_spoken)
    say = f"echo 'sbatch: error: queue full, retrying' >&2; : >'{said}'; exec sleep 60"
    with pytest.raises(SystemDown, match="queue full, retrying"):
        run(Command(("sh", "-c", say)), patience=2)


def test_where_sbatch_would_send_jobs_by_variables_is_seen_in_the_profile_and_can_be_said_otherwise(monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "ocean")
    monkeypatch.setenv("SBATCH_PARTITION", "compute")
    monkeypatch.setenv("SBATCH_QOS", "")
    resolved = resolve("slurm", {"slurm": {"partition": "debug"}})
    assert (resolved.options.account, resolved.options.partition, resolved.options.qos) == ("ocean", "debug", None)
