"""Records as somebody wrote them, stores whose file system fails, and other processes at work on the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import End, Record, Status
from clusterhub.keeper.records import Store

UID, OTHER = "a" * 32, "b" * 32
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAR = Process(pid=123, started="4711", host="hal-login1", boot="b", namespace="pid:[1]", machine="m")
ENDED = End(when=NOON, reason="idle for 1h")


def record(name: str = "eddies", uid: str = UID, **facts: Any) -> Record:
    whole = {
        "contract": 1, "uid": uid, "name": name, "profile": "hal", "backend": "pbs", "state": "running", "named": True,
        "kept": True, "creator": FAR, "keeper": FAR, "created": NOON, "plan": {"workers": 4}, "version": "0.1.0",
        "python": "/usr/bin/python3",
    }  # fmt: skip
    return Record(**(whole | facts))


def status(headline: str = "4 of 4 workers") -> Status:
    return Status(
        taken=NOON, target=(0, 4), asked=4, connected=4, pending=0, failed=0, idle_since=None, ends=None,
        headline=headline, kept=True,
    )  # fmt: skip


@contextmanager
def failing(call: str, number: int, module: Any = os) -> Iterator[None]:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, call, fail)
        yield


def running(program: str, store: Store, *arguments: str) -> subprocess.Popen[str]:
    """Another process that works on the same store; it says what it has done on its standard output."""
    head = "import sys, time; from pathlib import Path; from clusterhub.keeper.records import *; "
    head += "from clusterhub.keeper.record import *; "
    head += "store = Store(Path(sys.argv[1])); "
    return subprocess.Popen(
        [sys.executable, "-c", head + program, str(store.root), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
