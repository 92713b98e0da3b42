"""Takes the tests of ./slurm onto the login host of a real SLURM of several hosts, brought up for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAB = HERE.parent / "labs" / "slurm" / "lab"
NAMED = "slurm" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


def missing() -> str | None:
    """Why there can be no SLURM here, or None."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    lacking = [
        command for command in ("slurmctld", "slurmd", "munged", "ip", "nsenter") if shutil.which(command) is None
    ]
    return f"not installed: {', '.join(lacking)}" if lacking else None


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    if reason := missing():
        assert not NAMED, f"CLUSTERHUB_LIVE names slurm, and {reason}"
        pytest.skip(f"{reason}: that SLURM works was NOT tested (tests/labs/slurm/README.md)")
    # A short path, for sockets, that the nodes' munge may pass.
    folder = Path("/tmp") / f"clusterhub-slurm-{os.getpid()}"
    folder.mkdir(mode=0o755)
    environment = {**os.environ, "CLUSTERHUB_SLURM_LAB": str(folder)}
    try:
        subprocess.run([str(LAB), "up"], env=environment, check=True, timeout=60)
        yield folder
    finally:
        subprocess.run([str(LAB), "down"], env=environment, check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(2400)
def test_on_a_real_slurm(lab: Path) -> None:
    environment = {**os.environ, "CLUSTERHUB_SLURM_LAB": str(lab), "CLUSTERHUB_ON_SLURM": "1"}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300", str(HERE / "slurm")]
    done = subprocess.run([str(LAB), "enter", *argv], env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
