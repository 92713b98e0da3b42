"""The processes of one lab, by a mark in their environment: so they are found whoever started them, and whoever is gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "GATEWAY_LAB"
"""Names the folder of the lab in the environment of its server; config.py hands it on to schedulers and workers."""
_PATIENCE = 60.0
_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True)
class Found:
    """A process of a lab, as it was when looked at."""

    process: psutil.Process
    command: list[str]
    cluster: str
    """The name of the cluster that it belongs to; empty for the server and its proxy."""
    user: str
    """Whose cluster it is."""

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def says(self, *words: str) -> bool:
        """Whether its command line holds each of these words."""
        return all(word in self.command for word in words)


def of(folder: Path) -> Iterator[Found]:
    """The living processes of the lab in this folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(*_GONE, psutil.AccessDenied):
            environment = process.environ()
            if environment.get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                yield Found(
                    process,
                    process.cmdline(),
                    environment.get("DASK_GATEWAY_CLUSTER_NAME", ""),
                    environment.get("USER", ""),
                )


def tree(process: psutil.Process) -> list[int]:
    """The pid of a process and those below it, it first."""
    with contextlib.suppress(*_GONE):
        return [process.pid, *(child.pid for child in process.children(recursive=True))]
    return []


def kill(found: list[Found]) -> None:
    """End them at once, with what is below them."""
    below: list[psutil.Process] = []
    for one in found:
        with contextlib.suppress(*_GONE):
            below += [*one.process.children(recursive=True), one.process]
    for process in below:
        with contextlib.suppress(*_GONE):
            process.kill()


def sweep(folder: Path) -> None:
    """End all processes of a lab, those that start something first. Raises TimeoutError where some do not go."""
    deadline = time.monotonic() + _PATIENCE
    while left := list(of(folder)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {folder} do not end: {[one.command for one in left]}")
        kill(sorted(left, key=lambda one: one.cluster != ""))
        time.sleep(0.05)
