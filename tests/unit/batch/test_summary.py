"""What a plan of jobs says of itself, and that making one touches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clusterhub
from clusterhub import Bytes, ClusterSpec
from clusterhub.profile import resolve, starter
from clusterhub.profile.starter import Found
from clusterhub_backends.batch.summary import submissions, summary
from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.slurm import SlurmBackend

NODE = {"node": {"cores": 24, "memory": "120 GiB"}, "worker": {"cores": 4, "memory": "16 GiB"}}


@pytest.mark.parametrize(
    ("jobs", "sizes"),
    [
        (0, [1]),  # a plan shows a script, also of no job
        (1, [1]),
        (4, [4]),
        (5, [4, 1]),
        (1004, [4, 1000]),
        (2000, [4, 1000, 996]),
        (3004, [4, 1000, 1000, 1000]),
    ],
)
def test_some_are_tried_first_and_no_array_is_too_large(jobs, sizes):
    assert submissions(jobs, pilots=4, largest=1000) == sizes


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"workers": 1}, "1 job of 1 worker, in 1 submission: qsub"),
        ({"workers": 3}, "3 jobs of 1 worker, in 1 submission: qsub -J 0-2"),
        ({"workers": 12, **NODE}, "2 jobs of 6 workers, in 1 submission: qsub -J 0-1"),
        ({"workers": 13, **NODE}, "3 jobs of 6 workers (18 ≥ 13 workers), in 1 submission: qsub -J 0-2"),
        (
            {"workers": 200, **NODE},
            "34 jobs of 6 workers (204 ≥ 200 workers), in 2 submissions: qsub -J 0-3, then qsub -J 0-29;"
            " the first 4 jobs are tried before the others",
        ),
        (
            {"workers": 5000},
            "5000 jobs of 1 worker, in 6 submissions: qsub -J 0-3, then 4 × qsub -J 0-999, then qsub -J 0-995;"
            " the first 4 jobs are tried before the others",
        ),
        (
            {"workers": {"minimum": 6, "maximum": 40}, **NODE},
            "1 to 7 jobs of 6 workers (42 ≥ 40 workers), as the load asks; at most qsub -J 0-3, then qsub -J 0-2;"
            " the first 4 jobs are tried before the others",
        ),
        (
            {"workers": {"minimum": 0, "maximum": 2}},
            "0 to 2 jobs of 1 worker, as the load asks; at most qsub -J 0-1",
        ),
        ({"workers": 0}, "no job: 0 workers are asked for"),
    ],
)  # fmt: skip
def test_a_plan_counts_jobs_and_submissions(said, told):
    spec = ClusterSpec.model_validate({"backend": "pbs", **said})
    backend = PbsBackend()
    assert backend.plan("hal-1", spec, backend.options_type()).summary == told


def test_one_that_is_tried_alone_is_one():
    spec = ClusterSpec(workers=3)
    assert summary(spec, 1, 1000, lambda count: f"submit {count}") == (
        "3 jobs of 1 worker, in 2 submissions: submit 1, then submit 2; the first job is tried before the others"
    )


@pytest.mark.parametrize("backend", [PbsBackend(), SlurmBackend()], ids=lambda backend: str(backend.name))
def test_a_job_asks_for_room_around_its_workers_as_far_as_its_node_has_it(backend):
    roomy = backend.footprint(ClusterSpec.model_validate({**NODE, "job": {"workers_per_job": 2}}))
    assert (str(roomy.memory), str(roomy.worker_memory)) == ("33088 MiB", "16 GiB")
    full = {"node": {"cores": 24, "memory": "120 GiB"}, "worker": {"cores": 4, "memory": "60 GiB"}}
    filled = backend.footprint(ClusterSpec.model_validate(full))
    assert (str(filled.memory), str(filled.worker_memory)) == ("120 GiB", "61280 MiB")


@pytest.mark.parametrize("profile", ["pbs", "slurm"])
def test_show_and_plan_run_no_command_of_the_system_and_write_nothing(profile: str, tmp_path: Path):
    home, commands = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    commands.mkdir()
    ran = tmp_path / "ran"
    for name in ("qsub", "qstat", "qdel", "pbsnodes", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacctmgr"):
        (commands / name).write_text(f"#!/bin/sh\necho {name} >>{ran}\nexit 1\n")
        (commands / name).chmod(0o755)
    environment = {**os.environ, "HOME": str(home), "PATH": str(commands), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in ("show", "plan"):
        argv = [sys.executable, "-m", "clusterhub", command, profile, "--workers", "9"]
        done = subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, check=True, timeout=60)
        assert "9 jobs " in done.stdout
    assert not ran.exists()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(("system", "option"), [("PBS", "queue"), ("SLURM", "partition")])
def test_the_first_config_is_true_for_a_batch_system_with_every_comment_opened(system: str, option: str, home: Path):
    found = Found(8, Bytes("32 GiB"), system, in_allocation=False, kube_config=None, gateway=False)
    text = starter(found)
    (home / ".clusterhub.yaml").write_text(text)
    assert resolve("batch", {}).spec.packing.workers_per_job == 1
    opened = re.sub(r"^    # ", "    ", text.replace("NAME", "ocean"), flags=re.MULTILINE)
    (home / ".clusterhub.yaml").write_text(opened)
    batch = resolve("batch", {})
    assert batch.backend.name == system.lower()
    assert batch.spec.packing.workers_per_job == 6
    assert batch.spec.environment.setup == ("module load conda",)
    assert batch.options.model_dump(exclude_defaults=True) == {option: "ocean", "account": "ocean"}
    assert "see whether it fits: clusterhub check batch" in text


def test_a_host_without_the_commands_says_so_in_the_list_of_profiles(home: Path, monkeypatch: pytest.MonkeyPatch):
    commands = home / "bin"
    commands.mkdir()
    for name in ("qsub", "qstat", "qdel", "sbatch", "squeue"):
        (commands / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(commands))
    (home / ".clusterhub.yaml").write_text("profiles: {hal: {backend: pbs}, olympe: {backend: slurm}}\n")
    here = {info.name: info.here for info in clusterhub.profiles()}
    lacks = "no scancel, scontrol on PATH: no login node of SLURM, or a module is to be loaded"
    assert here == {"hal": "ready", "olympe": lacks}
    (commands / "qdel").unlink()
    here = {info.name: info.here for info in clusterhub.profiles()}
    assert here["hal"] == "no qdel on PATH: no login node of PBS, or a module is to be loaded"


def test_grid_engines_commands_of_the_same_names_are_not_taken_for_pbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SGE_ROOT", "/opt/sge")
    assert (PbsBackend().unusable() or "").startswith("qsub, qstat and qdel are Grid Engine's here")
    monkeypatch.setenv("PBS_CONF_FILE", str(tmp_path / "pbs.conf"))
    assert "Grid Engine" not in (PbsBackend().unusable() or "")
