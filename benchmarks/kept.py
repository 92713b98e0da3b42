"""Clusters in a keeper: what living in a process of their own costs, and how soon they are found again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import clusterhub
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import Record, Status
from clusterhub.keeper.records import Store

from .config import only_config
from .fresh import _bytecode, _script
from .measuring import Figure, command, interleaved, took

SMALL: dict[str, Any] = {"workers": 1, "worker": {"cores": 1, "memory": "512 MiB"}, "local": {"dashboard": False}}
RECORDS = 50

STARTING = """`connect("local", workers=1)` in a keeper against the same in the calling process: in a new interpreter, as a
script does it, and in one that has imported everything, as a notebook. Both start a scheduler and a worker; the keeper starts
an interpreter besides, imports Dask, makes keys, and all traffic is encrypted. No ratio means anything here, so the target is
for the seconds more. The last line is `close()`."""

CALLING = """A call on a cluster that lives in a keeper against the same call on an inline one: what the way through the
keeper costs, over TLS. The target is for the whole call."""

ATTACHING = """`clusterhub.attach(name)` in a new interpreter, from its start to the moment that it can be asked, imports
included."""

LISTING = f"""`clusterhub ls` with {RECORDS} records, half of them of dead keepers, as the installed command."""


def starting(pairs: int) -> list[Figure]:
    """From nothing to all workers connected, and to nothing again."""
    with only_config("{}\n"), _state(), _bytecode():
        scripts = [_script_of(host) for host in ("process", "inline")]
        fresh, fresh_inline = interleaved(scripts, max(3, pairs // 2))
    with only_config("{}\n"), _state():
        ours, inline = interleaved([lambda: _life("process"), lambda: _life("inline")], pairs)
    return [
        Figure("keeper: script", fresh, fresh_inline, most=0.8),
        Figure("keeper: connect", tuple(up for up, _ in ours), tuple(up for up, _ in inline), most=0.8),
        Figure("keeper: close", tuple(down for _, down in ours), tuple(down for _, down in inline)),
    ]


def _script_of(host: str) -> Callable[[], float]:
    """The seconds that a script takes until it has a cluster, its own start and its end left out."""
    options = {**SMALL, "lifecycle": {"host": host}}
    lines = (
        "import time",
        "began = time.perf_counter()",
        "import clusterhub",
        "if __name__ == '__main__':",
        f"    with clusterhub.connect('local', **{options!r}) as cluster:",
        "        cluster.wait_for_workers(1)",
        "        print(time.perf_counter() - began)",
    )

    def measured() -> float:
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:  # workers are spawned, and import it
            script.write("\n".join(lines))
            script.flush()
            done = subprocess.run([sys.executable, script.name], capture_output=True, text=True, check=True)
        return float(done.stdout)

    return measured


def _life(host: Any) -> tuple[float, float]:
    began = time.perf_counter()
    with clusterhub.connect("local", lifecycle={"host": host}, **SMALL) as cluster:
        cluster.wait_for_workers(1)
        up = time.perf_counter()
    return up - began, time.perf_counter() - up


def calling(pairs: int) -> list[Figure]:
    """What each delegated call costs."""
    with (
        only_config("{}\n"),
        _state(),
        clusterhub.connect("local", lifecycle={"host": "process"}, **SMALL) as kept,
        clusterhub.connect("local", lifecycle={"host": "inline"}, **SMALL) as inline,
    ):
        figures = []
        for name in ("units", "report", "scale"):
            calls = [_call(cluster, name) for cluster in (kept, inline)]
            ours, theirs = interleaved(calls, pairs)
            figures.append(Figure(f"delegated: {name}", ours, most=0.002))
            figures.append(Figure(f"delegated: {name}, and inline", ours, theirs))
        return figures


def _call(cluster: clusterhub.Cluster, name: str) -> Any:
    arguments = (1,) if name == "scale" else ()

    def measured() -> float:
        return took(lambda: getattr(cluster, name)(*arguments))

    return measured


def attaching(pairs: int) -> list[Figure]:
    """From a new interpreter to an attached cluster."""
    program = "import clusterhub; clusterhub.attach('bench').close()"
    with (
        only_config("{}\n"),
        _state(),
        _bytecode(),
        clusterhub.connect("local", name="bench", **SMALL),
    ):
        (ours,) = interleaved([command(sys.executable, "-c", program)], pairs)
    return [Figure("attach", ours, most=1.0)]


def listing(pairs: int) -> list[Figure]:
    """The command, on many records."""
    with only_config("{}\n"), _state() as state, _bytecode():
        this, store = Process.this(), Store(state)
        dead = this.model_copy(update={"started": "1"})  # our number, at another time: somebody else, long gone
        for number in range(RECORDS):
            _write(store, f"cluster-{number}", dead if number % 2 else this, this)
        (ours,) = interleaved([command(*_script("clusterhub"), "ls")], pairs)
    return [Figure("ls", ours, most=1.0)]


def _write(store: Store, name: str, keeper: Process, creator: Process) -> None:
    now, uid = datetime.now(UTC), uuid4().hex
    record = Record(
        contract=clusterhub.CONTRACT, uid=uid, name=name, profile="hal", backend="local", state="running", named=True,
        kept=True, creator=creator, keeper=keeper, address="tls://127.0.0.1:1", created=now, plan={}, version="0",
        python=sys.executable,
    )  # fmt: skip
    store.claim(record)
    status = Status(
        taken=now, target=(8, 8), asked=8, connected=8, pending=0, failed=0, idle_since=None, ends=None, headline="",
        kept=True,
    )  # fmt: skip
    store.write_status(uid, name, status)


@contextmanager
def _state() -> Iterator[Path]:
    """A place for records that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="clusterhub-bench-") as folder, mock.patch.dict(os.environ):
        os.environ["CLUSTERHUB_STATE"] = folder
        yield Path(folder)
