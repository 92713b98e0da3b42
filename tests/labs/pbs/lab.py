"""The lab as tests use it: its commands, what they leave, and what is to go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labs.pbs.client import LAB

TESTS = Path(__file__).parent.parent.parent


@dataclass
class Lab:
    """A stand-in for PBS in a folder."""

    folder: Path
    cwd: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        """Where its commands are, to be put on PATH."""
        return self.folder / "bin"

    def _manage(self, *words: str) -> None:
        environment = {**os.environ, LAB: str(self.folder), "PYTHONPATH": str(TESTS)}
        done = subprocess.run(
            [sys.executable, "-m", "labs.pbs", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())

    def up(self, **settings: object) -> None:
        """Start it. Settings are those of ``server.CONFIG``."""
        self._manage("up", *[f"--set={key}={json.dumps(value)}" for key, value in settings.items()])

    def down(self) -> None:
        """End it and all its jobs."""
        self._manage("down")

    def fault(self, *words: str) -> None:
        """Have something go wrong; see README.md."""
        self._manage("fault", *words)

    def run(
        self, *argv: str, stdin: str = "", timeout: float = 30, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """What one of its commands leaves."""
        path = f"{self.bin}:/usr/bin:/bin"
        environment = {"PATH": path, "HOME": str(self.cwd), "LOGNAME": "ann", LAB: str(self.folder), **self.variables}
        return subprocess.run(
            argv, input=stdin, env=environment | variables, cwd=self.cwd, capture_output=True, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip

    def submit(self, script: str, *options: str) -> str:
        """The id of a new job."""
        done = self.run("qsub", *options, stdin=script)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def until(self, holds: Callable[[], bool], patience: float = 20.0) -> None:
        """Wait for it."""
        deadline = time.monotonic() + patience
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(self.run("qstat", "-x", "-t", "-f").stdout)
            time.sleep(0.05)
