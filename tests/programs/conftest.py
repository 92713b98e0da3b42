"""Programs of users' own: scripts, and commands, as processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from importable import environment


class Script:
    """A script in a Python of its own, and the processes that it starts."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONWARNINGS="default", PYTHONFAULTHANDLER="1"),
            start_new_session=True,
        )
        self.stdout = self.stderr = ""
        self._seen: set[psutil.Process] = set()

    def says(self, line: str) -> None:
        """Return once the script has printed ``line``."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.stdout += said
            if said.strip() == line:
                return
        raise AssertionError(f"it ended without saying {line!r}: {self.process.communicate()[1]}")

    def children(self) -> list[psutil.Process]:
        """The processes below it, remembered to see whether they end."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self._seen.update(found)
        return found

    def ends(self, timeout: float = 60) -> int:
        """Its exit code; ``stdout`` and ``stderr`` hold what it said."""
        stdout, self.stderr = self.process.communicate(timeout=timeout)
        self.stdout += stdout
        return self.process.returncode

    def leftovers(self, patience: float = 30) -> list[psutil.Process]:
        """What of its session is still there a moment after its end."""
        deadline = time.monotonic() + patience
        while (alive := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return alive

    def _alive(self) -> list[psutil.Process]:
        session = {found for found in psutil.process_iter() if _session(found) == self.process.pid}
        return [found for found in session | self._seen if _runs(found)]

    def kill(self) -> None:
        """End the whole session; of a script that hangs, show where."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)  # faulthandler's sign to show every thread
            with contextlib.suppress(subprocess.TimeoutExpired):
                print("\n".join(self.process.communicate(timeout=5)))
        for found in self._alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.kill()
        self.process.communicate()


def _runs(process: psutil.Process) -> bool:
    try:
        # In a container without an init nobody reaps orphans: a zombie has ended.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return -1


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    """Starts a script from its text."""
    started: list[Script] = []

    def start(text: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(text))
        started.append(Script(path))
        return started[-1]

    yield start
    for one in started:
        one.kill()


class Shell:
    """Programs in a home of their own, beside a system that all of them can reach."""

    def __init__(self, folder: Path) -> None:
        self.system = folder / "system"
        self.system.mkdir()
        self._home = folder

    def environment(self) -> dict[str, str]:
        return environment(HOME=str(self._home), DETACHED_SYSTEM=str(self.system))

    def begins(self, *argv: str) -> subprocess.Popen[str]:
        """A Python with these arguments."""
        return subprocess.Popen(
            [sys.executable, *argv], cwd=self._home, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def runs(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        process = self.begins(*argv)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of clusterhub."""
        return self.runs("-m", "clusterhub", *words)

    def schedulers(self) -> list[int]:
        """The processes of the clusters that were started, whether they live or not."""
        return [int(path.read_text()) for path in self.system.glob("*/pid")]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for pid in made.schedulers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
