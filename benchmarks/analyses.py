"""The analyses of docs/examples, on a cluster that is given: what both sides of a comparison run."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import runpy
import time
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import dask
from distributed import Client

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
TIMES = 8
"""How often the notebook is run in a row: what it has to compute is given, and takes two workers less than a second."""
PATIENCE = 60.0
"""Seconds in which a scheduler forgets what nobody holds any more."""
FORGETFUL = {"distributed.admin.low-level-log-length": 0}
"""Dask's config without which a client, and a scheduler in its process, keep their last messages, and with them the futures
that are in these: then nothing would be forgotten, and the next run would find results of the one before."""


class Ran(NamedTuple):
    """One run of an analysis."""

    seconds: float
    cpu: float
    """Seconds of CPU of the client, the scheduler and the workers, and of the commands that they ran."""
    digest: str


def timed(analysis: Callable[[Client], str], client: Client) -> Ran:
    """One run. ``FORGETFUL`` has to have been set when the client was made.

    Begins when the scheduler has forgotten all that was computed before: what is still there would not be computed again, and
    what is still being released would be charged to this run.
    """
    gc.collect()  # of the run before
    deadline = time.monotonic() + PATIENCE
    while held := client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{held} tasks of the run before are still there after {PATIENCE:g} s")
        time.sleep(0.05)
    used, began = _used(client), time.perf_counter()
    digest = analysis(client)
    seconds = time.perf_counter() - began
    return Ran(seconds, _used(client) - used, digest)


def _used(client: Client) -> float:
    """Seconds of CPU so far of all who take part."""

    def here() -> tuple[int, float]:
        return os.getpid(), sum(os.times()[:4])

    workers = [seconds for _, seconds in client.run(here).values()]
    return sum(workers) + sum(dict([here(), client.run_on_scheduler(here)]).values())  # often it is one process


def orbits(client: Client) -> str:
    """150 samples of a day."""
    script = _script("orbits")
    distances = client.persist(script.sampled(script.catalogue(), 150, 5, 1.0))
    with client.as_current():
        return str(script.digest(*dask.compute(*script.asked_of(distances))))


def campaign(client: Client) -> str:
    """Three kinds of satellites."""
    script = _script("campaign")
    asked = Namespace(altitudes=range(300, 851, 100), horizon=3.6, years=3.0, parts=2, closer=2, runs=40, store=None)
    with client.as_current():
        run = script.Campaign(client, asked)
        run.run([0.005, 0.02, 0.08])
    return str(script.digest(run.tables))


def remote_sensing(client: Client) -> str:
    """Twelve scenes of 2048 × 2048."""
    script = _script("remote_sensing")
    return str(script.digest(client.compute(script.simulated(script.delivered(12, 1, 2048))).result()))


def climate(client: Client) -> str:
    """The notebook, several times; its digests are equal, or all of them are returned."""
    return " ".join(sorted({_notebook(client) for _ in range(TIMES)}))


def _notebook(client: Client) -> str:
    """The notebook's cells, but for the picture; the client that they make is this one, and stays."""
    there: dict[str, Any] = {}
    said = io.StringIO()
    cells = json.loads((EXAMPLES / "climate.ipynb").read_text())["cells"]
    with client.as_current(), mock.patch("dask.distributed.Client"), contextlib.redirect_stdout(said):
        for cell in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
            if "subplots" not in cell:
                exec(compile(cell, "climate.ipynb", "exec"), there)
    return said.getvalue().split()[-1]


ANALYSES: dict[str, Callable[[Client], str]] = {
    "orbits": orbits,
    "campaign": campaign,
    "remote sensing": remote_sensing,
    "climate": climate,
}


@cache
def _script(name: str) -> SimpleNamespace:
    """What one of the scripts defines. As of a program, nobody else can import it, so that its functions travel by value."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=f"the script {name}"))
