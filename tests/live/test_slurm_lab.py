"""Takes the tests of ./slurm and ./slurm_accounting onto the login host of a real SLURM, brought up for them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from labs.slurm import ACCOUNTING, missing, standing
from live.inside import LONGEST, passed, pytest_of

HERE = Path(__file__).parent
PATIENCE = 2100.0
NAMED = "slurm" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


@pytest.mark.timeout(PATIENCE + LONGEST)
@pytest.mark.parametrize(("tests", "options"), [("slurm", ()), ("slurm_accounting", (ACCOUNTING,))])
def test_on_a_real_slurm(tests: str, options: tuple[str, ...]) -> None:
    if reason := missing(*options):
        assert not NAMED, f"CLUSTERHUB_LIVE names slurm, and {reason}"
        pytest.skip(f"{reason}: that SLURM works was NOT tested (tests/labs/slurm/README.md)")
    argv = pytest_of(HERE / tests, PATIENCE)
    with standing("clusterhub-slurm", *options) as lab:
        environment = {**lab.environment, "CLUSTERHUB_ON_SLURM": tests}
        done = subprocess.run(lab.entering(*argv), env=environment, capture_output=True, text=True, check=False)
    passed(done)
