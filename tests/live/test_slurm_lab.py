"""Takes the tests of ./slurm and ./slurm_accounting onto the login host of a real SLURM, brought up for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAB = HERE.parent / "labs" / "slurm" / "lab"
NAMED = "slurm" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


PROGRAMS = ("slurmctld", "slurmd", "munged", "ip", "nsenter")
ACCOUNTING = ("slurmdbd", "mariadbd")


def missing(programs: tuple[str, ...]) -> str | None:
    """Why there can be no SLURM here, or None."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    lacking = [command for command in programs if shutil.which(command) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


@contextmanager
def lab(*options: str) -> Iterator[Mapping[str, str]]:
    """A SLURM, and the environment in which its lab is spoken to."""
    if reason := missing((*PROGRAMS, *ACCOUNTING) if options else PROGRAMS):
        assert not NAMED, f"CLUSTERHUB_LIVE names slurm, and {reason}"
        pytest.skip(f"{reason}: that SLURM works was NOT tested (tests/labs/slurm/README.md)")
    # A short path, for sockets, that the nodes' munge may pass.
    folder = Path("/tmp") / f"clusterhub-slurm-{os.getpid()}"
    folder.mkdir(mode=0o755)
    environment = {**os.environ, "CLUSTERHUB_SLURM_LAB": str(folder)}
    try:
        subprocess.run([str(LAB), "up", *options], env=environment, check=True, timeout=120)
        yield environment
    finally:
        subprocess.run([str(LAB), "down"], env=environment, check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("tests", "options"), [("slurm", ()), ("slurm_accounting", ("--accounting",))])
def test_on_a_real_slurm(tests: str, options: tuple[str, ...]) -> None:
    with lab(*options) as environment:
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=300", str(HERE / tests)]
        done = subprocess.run(
            [str(LAB), "enter", *argv],
            env={**environment, "CLUSTERHUB_ON_SLURM": tests},
            capture_output=True,
            text=True,
            check=False,
        )
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
