"""These run on the login host of a SLURM: inside the lab, where test_slurm_lab.py takes them, or on a real one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from live.faults import System

# Elsewhere there is nothing to run them on; ../test_slurm_lab.py says so, loudly.
collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_ON_SLURM") else ["test_*.py"]
LAB = Path(__file__).parents[2] / "labs" / "slurm" / "lab"


class Slurm(System):
    """SLURM, by its own commands; what breaks it is the lab's."""

    backend = "slurm"
    shortest = "1m"

    def _squeue(self, *options: str) -> list[str]:
        command = ["squeue", "--noheader", "--array", "--format=%i", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def queue(self) -> list[str]:
        # Without those that are completing: a node whose word of their end was lost in an outage says it again a minute later.
        return self._squeue("--states=PENDING,RUNNING,CONFIGURING,SUSPENDED")

    def submitted(self) -> int:
        return len(self._squeue("--states=all"))

    def cancel(self, ids: Sequence[str]) -> None:
        subprocess.run(["scancel", *ids], check=True)

    def command(self, *words: str) -> None:
        """One of the lab's own."""
        subprocess.run([str(LAB), *words], check=True)

    def start(self, node: str) -> None:
        """A node again, and as good as before."""
        self.command("start", node)
        idle = ["sinfo", "-h", "-n", node, "-p", "debug", "-o", "%T"]
        deadline = time.monotonic() + 90
        while (
            not subprocess.run(idle, capture_output=True, text=True, check=True)
            .stdout.strip()
            .startswith(("idle", "mix"))
        ):
            assert time.monotonic() < deadline, f"{node} does not come back"
            time.sleep(0.5)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.command("controller", "stop")
        try:
            yield
        finally:
            self.command("controller", "start")


@pytest.fixture
def system() -> Iterator[Slurm]:
    slurm = Slurm()
    yield slurm
    deadline = time.monotonic() + 40
    while left := slurm.queue():
        assert time.monotonic() < deadline, f"left in the queue: {left}"
        time.sleep(0.2)


@pytest.fixture
def busy() -> Callable[[], AbstractContextManager[None]]:
    """The system starts nothing meanwhile."""

    @contextmanager
    def down() -> Iterator[None]:
        subprocess.run(["scontrol", "update", "PartitionName=debug", "State=DOWN"], check=True)
        try:
            yield
        finally:
            subprocess.run(["scontrol", "update", "PartitionName=debug", "State=UP"], check=True)

    return down


@pytest.fixture
def full_disk() -> Path:
    """Mounted for all hosts before they were started."""
    return Path(os.environ["CLUSTERHUB_SLURM_LAB"]) / "full"
