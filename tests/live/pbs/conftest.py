"""A stand-in for PBS on this machine, for every module one: real processes behind its commands (tests/labs/pbs)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from labs.pbs.lab import Lab
from live.faults import System, full


class Pbs(System):
    """The stand-in."""

    backend = "pbs"
    shortest = "45s"

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def _jobs(self, *options: str) -> list[tuple[str, str]]:
        shown = self.lab.run("qstat", "-t", *options).stdout.splitlines()[2:]
        return [(row[0], row[-2]) for line in shown if (row := line.split()) and "[]" not in row[0]]

    def queue(self) -> list[str]:
        return [id_ for id_, state in self._jobs() if state not in "FX"]

    def submitted(self) -> int:
        return len(self._jobs("-x"))

    def cancel(self, ids: Sequence[str]) -> None:
        self.lab.run("qdel", *ids)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.lab.fault("server-down")
        try:
            yield
        finally:
            self.lab.fault("server-up")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if sys.platform != "linux":
        pytest.skip("the stand-in for PBS lives on /proc")
    folder = tmp_path_factory.mktemp("pbs")
    (folder / "home").mkdir()
    lab = Lab(folder / "lab", folder / "home")
    nodes = {name: {"ncpus": 16, "mem": "64gb"} for name in ("pbshost", "pbsn1", "pbsn2")}
    lab.up(nodes=nodes, poll=0.5)
    yield lab
    lab.down()


@pytest.fixture
def system(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pbs]:
    monkeypatch.setenv("PATH", f"{lab.bin}{os.pathsep}{os.environ['PATH']}")
    pbs = Pbs(lab)
    yield pbs
    deadline = time.monotonic() + 30
    while left := pbs.queue():
        assert time.monotonic() < deadline, f"left in the queue: {left}"
        time.sleep(0.1)


@pytest.fixture
def busy(system: Pbs) -> Callable[[], AbstractContextManager[None]]:
    """The system starts nothing meanwhile."""

    @contextmanager
    def stopped() -> Iterator[None]:
        system.lab.fault("stop", "workq")
        try:
            yield
        finally:
            system.lab.fault("start", "workq")

    return stopped


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a disk to fill it needs root")
    folder = full(tmp_path / "full")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
