"""Who needs a cluster that has no caretaker yet: told by its DaskCluster, proven gone or left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterhub.keeper.identity import Process
from clusterhub_backends.kubernetes import starter
from clusterhub_backends.kubernetes.manifest import STARTER_ANNOTATION


def marked(text: str | None) -> dict[str, Any]:
    return {"metadata": {"name": "eddies", "annotations": {} if text is None else {STARTER_ANNOTATION: text}}}


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """Another process, which writes itself down, and lives until it is killed."""
    imports = "import time; from clusterhub_backends.kubernetes.starter import ourselves"
    code = f"{imports}; print(ourselves(), flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_process_that_lives_needs_what_it_started_and_one_that_was_killed_does_not(program):
    text = program.stdout.readline()
    cluster = marked(text)
    assert starter.starter_of(cluster).pid == program.pid
    assert starter.gone(cluster) == ""
    program.send_signal(signal.SIGSTOP)
    assert starter.gone(cluster) == "", "it may go on"
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert starter.gone(cluster).startswith(f"process {program.pid} on ")


def test_of_a_process_elsewhere_nothing_is_proven():
    told = json.loads(starter.ourselves())
    elsewhere = marked(json.dumps({**told, "host": "elsewhere", "pid": 1}))
    assert starter.gone(elsewhere) == ""
    assert str(starter.starter_of(elsewhere)) == "process 1 on elsewhere"


@pytest.mark.parametrize("text", [None, "", "{}", "nobody", '{"version": 9, "who": "a newer clusterhub"}'])
def test_what_is_not_written_or_cannot_be_read_proves_nothing(text):
    assert starter.starter_of(marked(text)) is None
    assert starter.gone(marked(text)) == ""


def test_the_machines_id_is_not_shown_to_others():
    machine = Path("/etc/machine-id")
    text = starter.ourselves()
    assert not machine.exists() or machine.read_text().strip() not in text
    assert starter.starter_of(marked(text)) == Process.this()
