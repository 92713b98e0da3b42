"""These run on the login host of the lab's SLURM with accounting, where ../test_slurm_lab.py takes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.faults import eventually
from live.on_slurm import Submissions
from live.slurm.conftest import Slurm

collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_ON_SLURM") == "slurm_accounting" else ["test_*.py"]


@pytest.fixture
def system() -> Iterator[Slurm]:
    """Whatever a test limits is lifted after it, and none of its jobs is left to count against the next."""
    slurm = Slurm()
    yield slurm
    slurm.command("limit", "user", "MaxSubmitJobs=-1", "MaxJobs=-1", "GrpSubmitJobs=-1")
    slurm.command("limit", "account", "GrpSubmitJobs=-1", "GrpJobs=-1")
    slurm.command("limit", "qos", "MaxSubmitJobsPerUser=-1", "MaxTRESPerUser=cpu=-1", "MaxWall=-1", "Flags=-1")
    slurm.command("limit", "partition", "MaxSubmitJobsPerUser=-1")
    eventually(lambda: slurm.queue() == [])


@pytest.fixture
def submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submissions:
    """What is submitted from now on, and what becomes of it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("sbatch")
    assert real is not None
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return Submissions(folder, real)
