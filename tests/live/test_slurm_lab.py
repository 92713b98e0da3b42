"""Takes the tests of ./slurm and ./slurm_accounting onto the login host of a real SLURM, brought up for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labs.slurm import ACCOUNTING, missing, standing

HERE = Path(__file__).parent
NAMED = "slurm" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("tests", "options"), [("slurm", ()), ("slurm_accounting", (ACCOUNTING,))])
def test_on_a_real_slurm(tests: str, options: tuple[str, ...]) -> None:
    if reason := missing(*options):
        assert not NAMED, f"CLUSTERHUB_LIVE names slurm, and {reason}"
        pytest.skip(f"{reason}: that SLURM works was NOT tested (tests/labs/slurm/README.md)")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300", str(HERE / tests)]
    with standing("clusterhub-slurm", *options) as lab:
        environment = {**lab.environment, "CLUSTERHUB_ON_SLURM": tests}
        done = subprocess.run(lab.entering(*argv), env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
