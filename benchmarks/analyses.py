"""The analyses of docs/examples, on a cluster that is given: what both sides of a comparison run."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dask
from distributed import Client

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


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
    """Six scenes of 2048 × 2048."""
    script = _script("remote_sensing")
    return str(script.digest(client.compute(script.simulated(script.delivered(6, 1, 2048))).result()))


def climate(client: Client) -> str:
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
