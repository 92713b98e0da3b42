"""The doctor on a real SLURM."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live.checking import CheckStories, Patient

LAB = Path(__file__).parents[2] / "labs" / "slurm" / "lab"


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True, timeout=60)


class Slurm(Patient):
    """The one whose login host this is."""

    backend, noun = "slurm", "partition"
    queue, short_queue, too_long = "debug", "short", "1h"

    @property
    def version(self) -> str:  # type: ignore[override]
        words = subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True).stdout.split()
        return f"SLURM {words[-1]}"

    def jobs(self) -> list[str]:
        command = ["squeue", "--noheader", "--array", "--format=%i", "--states=PENDING,RUNNING,CONFIGURING"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    @contextmanager
    def busy(self) -> Iterator[None]:
        scontrol("update", "PartitionName=debug", "State=DOWN")
        try:
            yield
        finally:
            scontrol("update", "PartitionName=debug", "State=UP")

    @contextmanager
    def outage(self) -> Iterator[None]:
        subprocess.run([str(LAB), "controller", "stop"], check=True, timeout=60)
        try:
            yield
        finally:
            subprocess.run([str(LAB), "controller", "start"], check=True, timeout=60)
            self._await_nodes()

    def _await_nodes(self) -> None:
        """A controller that comes back has to hear of its nodes first."""
        deadline = time.monotonic() + 60
        states = ["sinfo", "--noheader", "--partition=debug", "--format=%T"]
        while set(subprocess.run(states, capture_output=True, text=True, check=True).stdout.split()) != {"idle"}:
            assert time.monotonic() < deadline, "the nodes do not come back"
            time.sleep(0.2)


class TestSlurm(CheckStories):
    patient = Slurm()

    def test_nodes_that_nobody_can_use_are_told_of(self) -> None:
        nodes = subprocess.run(["sinfo", "-h", "-o", "%N", "-p", "debug"], capture_output=True, text=True, check=True)
        scontrol("update", f"NodeName={nodes.stdout.strip()}", "State=DRAIN", "Reason=test")
        try:
            found = self.named("partition", self.check())
        finally:
            scontrol("update", f"NodeName={nodes.stdout.strip()}", "State=RESUME")
        assert (found.mark, "its nodes are all down or set aside" in found.text) == ("warn", True)

    def test_an_address_that_no_node_reaches_is_the_cause(self) -> None:
        report = self.check(start=True, network={"interface": "lo"})
        assert "127.0.0.1 (lo), which no other host reaches" in self.named("scheduler address", report).text
        worker = self.named("one worker", report)
        assert "no address of the scheduler can be reached from the node" in worker.text
        assert "where nothing reaches this login node, use lifecycle.host: job" in worker.text
        assert self.patient.jobs() == []
