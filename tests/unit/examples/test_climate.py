"""docs/examples/climate.ipynb, held against the same thing done in plain numpy."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import LocalCluster

NOTEBOOK = Path(__file__).parents[3] / "docs" / "examples" / "climate.ipynb"


def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def model_output(scenario: str) -> tuple[np.ndarray, np.ndarray]:
    """Years × latitudes × longitudes in K, and the latitudes."""
    from netCDF4 import Dataset

    with (
        as_file(files("iris_sample_data") / "sample_data" / f"{scenario}_north_america.nc") as path,
        Dataset(path) as data,
    ):
        return np.asarray(data["air_temperature"][:], dtype=float), np.asarray(data["latitude"][:], dtype=float)


def emergence(field: np.ndarray) -> np.ndarray:
    """The first year from which on the mean of 21 years stays above twice the noise; the series begins with 1860."""
    before, years = field[1:101], np.arange(100) - 49.5
    anomaly = field - before.mean(axis=0)
    noise = np.empty(field.shape[1:])
    first = np.full(field.shape[1:], 2100)
    for cell in np.ndindex(*noise.shape):
        fit = np.polyfit(years, before[:, *cell], 1)
        noise[cell] = (before[:, *cell] - np.polyval(fit, years)).std()
        for year in range(2089, 1869, -1):
            at = year - 1860
            if not anomaly[at - 10 : at + 11, *cell].mean() > 2 * noise[cell]:
                break
            first[cell] = year
    return first


def test_the_notebook_finds_the_years_that_plain_numpy_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, Any] = {}
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        dask.config.set({"scheduler-address": cluster.scheduler_address}),
    ):
        for cell in cells():
            if "subplots" not in cell:  # the picture; the docs show whether it is drawn
                exec(compile(cell, str(NOTEBOOK), "exec"), there)
    for scenario in ("A1B", "E1"):
        field, latitudes = model_output(scenario)
        assert np.array_equal(there["emerged"].sel(scenario=scenario).values, emergence(field))
        mean = np.average(
            (field - field[1:101].mean(axis=0)).mean(axis=2), axis=1, weights=np.cos(np.deg2rad(latitudes))
        )
        assert there["regional"].sel(scenario=scenario).values == pytest.approx(mean, abs=1e-6)


def test_it_is_kept_without_outputs() -> None:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in found if cell["cell_type"] == "code")
