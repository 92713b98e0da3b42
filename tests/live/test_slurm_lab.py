"""Takes the tests of ./slurm onto the login host of a real SLURM of several hosts, brought up for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.slurm import Lab, missing, standing

HERE = Path(__file__).parent
NAMED = "slurm" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


@pytest.fixture
def lab() -> Iterator[Lab]:
    if reason := missing():
        assert not NAMED, f"CLUSTERHUB_LIVE names slurm, and {reason}"
        pytest.skip(f"{reason}: that SLURM works was NOT tested (tests/labs/slurm/README.md)")
    with standing("clusterhub-slurm") as lab:
        yield lab


@pytest.mark.timeout(1500)
def test_on_a_real_slurm(lab: Lab) -> None:
    environment = {**lab.environment, "CLUSTERHUB_ON_SLURM": "1"}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300", str(HERE / "slurm")]
    done = subprocess.run(lab.entering(*argv), env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
