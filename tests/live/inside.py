"""Tests that are taken to a system: a pytest of their own, within a test that brings the system up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LONGEST = 900.0
"""Seconds that one of them may take, by its mark: the test around waits so much longer than they have in all."""


def pytest_of(tests: Path, patience: float) -> list[str]:
    """The command. After ``patience`` seconds it begins no other test, and says where they went."""
    return [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)),
        *("--timeout=300", f"--session-timeout={patience:g}", "--durations=20"),
    ]


def passed(done: subprocess.CompletedProcess[str]) -> None:
    """Fail with what it said, unless all passed."""
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
