"""Stories of clusters in keepers: programs of their own that make, hold and leave them, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from clusterhub.errors import ClusterhubError
from clusterhub.keeper import discovery, remote
from clusterhub.keeper.identity import Life, Process, end
from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store
from importable import environment

SMALL: dict[str, Any] = {"worker": {"cores": 1, "memory": "512 MiB"}, "local": {"dashboard": False}}

HEAD = """
import os, sys, time, signal, json
import clusterhub
SMALL = {"worker": {"cores": 1, "memory": "512 MiB"}, "local": {"dashboard": False}}

def say(*words):
    print(json.dumps(words), flush=True)

def until_there(path):
    while not os.path.exists(path):
        time.sleep(0.05)

def main():
"""
FOOT = """
if __name__ == "__main__":
    main()
"""
HELD = """
import time
from pathlib import Path

deadline = time.monotonic() + 60
while " - ends: " not in Path({log!r}).read_text() and time.monotonic() < deadline:
    time.sleep(0.05)
"""


def eventually(met: Callable[[], Any], timeout: float = 60.0) -> Any:
    """What ``met`` returns, once that is true."""
    deadline = time.monotonic() + timeout
    while not (result := met()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return result


class Program:
    """A Python program in a process and session of its own; its body runs below ``main()``."""

    def __init__(self, folder: Path, body: str) -> None:
        path = folder / f"program{len(list(folder.iterdir()))}.py"
        path.write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    ") + FOOT)
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=environment(),
        )  # fmt: skip

    def says(self) -> list[Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"it ended without a word: {self.process.communicate()[1]}")
        words: list[Any] = json.loads(line)
        return words

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal and wait for its end."""
        os.kill(self.process.pid, number)
        self.process.wait(30)

    def ends(self, timeout: float = 60.0) -> int:
        """Its exit code, once it has ended by itself."""
        self.stdout, self.stderr = self.process.communicate(timeout=timeout)
        return self.process.returncode


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, who was killed is waited for, and no system is given up."""
    monkeypatch.setattr(remote, "DYING", 60.0)
    monkeypatch.setattr(discovery, "PATIENCE", 60.0)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    folder = tmp_path / "programs"
    folder.mkdir()
    made: list[Program] = []

    def start(body: str) -> Program:
        made.append(Program(folder, body))
        return made[-1]

    yield start
    for one in made:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """The records of this test's own home. Whatever keeper is still written down at the end is ended."""
    yield Store.here()
    for keeper in keepers():
        with suppress(ProcessLookupError, ClusterhubError):
            end(keeper, signal.SIGKILL)


def keepers() -> list[Process]:
    """The keepers that are written down in this test's home."""
    store, found = Store.here(), []
    for name in store.names():
        with suppress(ClusterhubError):
            keeper = store.read(name).keeper
            if keeper is not None:
                found.append(keeper)
    return found


def living(store: Store, name: str) -> Record:
    """The record of a cluster that lives."""
    record = store.read(name)
    assert record.keeper is not None
    assert record.keeper.life() is Life.ALIVE
    return record


def family(record: Record) -> list[psutil.Process]:
    """Its keeper, and every process below that."""
    assert record.keeper is not None
    keeper = psutil.Process(record.keeper.pid)
    return [keeper, *keeper.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def held(folder: Path, log: Path) -> str:
    """A script for ``local.preload``. Workers begin only once their keeper has said in its ``log`` that it ends, so that it is
    still starting when a test ends it, however late that is: the start of one that is told to end is waited for."""
    path = folder / "held.py"
    path.write_text(HELD.format(log=str(log)))
    return str(path)


def how_it_ended(store: Store, name: str) -> str:
    """The reason that is remembered of the last cluster of that name."""
    ended = store.ended(name)
    assert ended, f"{name} is not remembered"
    assert ended[0].end is not None
    return ended[0].end.reason
