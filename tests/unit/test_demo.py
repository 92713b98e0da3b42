"""The demo: its figures against plain numpy, on workers that have neither its packages nor its files."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

np = pytest.importorskip("numpy")
for package in ("iris_sample_data", "matplotlib", "netCDF4", "xarray"):
    pytest.importorskip(package)

import cloudpickle  # noqa: E402
import dask  # noqa: E402
from distributed import Client, LocalCluster, SchedulerPlugin  # noqa: E402

from clusterhub import demo  # noqa: E402
from clusterhub.demo import climate, picture  # noqa: E402
from clusterhub.errors import ClusterhubError  # noqa: E402
from importable import environment  # noqa: E402

NOT_ON_WORKERS = ("xarray", "netCDF4", "cftime", "matplotlib", "pandas", "iris_sample_data", "clusterhub")


class Executed(SchedulerPlugin):
    """The tasks that the scheduler has seen done."""

    def __init__(self) -> None:
        self.keys: set[Any] = set()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if (start, finish) == ("processing", "memory"):
            self.keys.add(key)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two worker processes with numpy, dask and distributed, to which the demo's packages do not exist."""
    folder = tmp_path_factory.mktemp("cluster")
    preload = folder / "bare.py"
    preload.write_text(f"import sys\nsys.modules.update(dict.fromkeys({NOT_ON_WORKERS!r}))\n")
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        local_directory=str(folder),
        preload=[str(preload)],
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def scenarios() -> demo.Scenarios:
    return demo.open_scenarios()


@pytest.fixture(scope="module")
def gappy(scenarios: demo.Scenarios) -> demo.Scenarios:
    """The same data with holes: cells without any value, cells without a whole period, and years here and there."""
    temperature = scenarios.temperature.copy()
    temperature[np.random.default_rng(1860).random(temperature.shape) < 0.2] = np.nan
    years = scenarios.years
    temperature[:, :, 3, 4] = np.nan
    temperature[:, climate.TREND.within(years), 36, 48] = np.nan
    temperature[:, climate.BASELINE.within(years), 0, 0] = np.nan
    temperature[:, years > 2040, 20, 20] = np.nan
    return replace(scenarios, temperature=temperature)


@pytest.fixture(scope="module")
def executed(cluster: LocalCluster) -> Executed:
    plugin = Executed()
    cluster.scheduler.add_plugin(plugin)
    return plugin


@pytest.fixture(scope="module")
def reports() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def result(
    client: Client, scenarios: demo.Scenarios, executed: Executed, reports: list[tuple[int, int]]
) -> demo.ClimateResult:
    return demo.compute(client, on_progress=lambda done, total: reports.append((done, total)))


def plain_trend(scenarios: demo.Scenarios) -> Any:
    """Cell for cell with ``numpy.polyfit``, where half of the years are there."""
    inside = (scenarios.years >= 2000) & (scenarios.years <= 2099)
    years = scenarios.years[inside]
    trend = np.full((2, len(scenarios.latitude), len(scenarios.longitude)), np.nan)
    for cell in np.ndindex(trend.shape):
        values = scenarios.temperature[cell[0], inside, cell[1], cell[2]].astype(float)
        there = ~np.isnan(values)
        if there.sum() >= 50:
            trend[cell] = 100 * np.polyfit(years[there] - 2050, values[there], 1)[0]
    return trend


def plain_series(scenarios: demo.Scenarios) -> Any:
    """Anomalies of each cell from its mean of 1961 to 1990, averaged with the cosine of the latitude."""
    base = (scenarios.years >= 1961) & (scenarios.years <= 1990)
    weight = np.broadcast_to(np.cos(np.deg2rad(scenarios.latitude))[:, None], scenarios.temperature.shape[2:])
    series = np.full((2, len(scenarios.years)), np.nan)
    for scenario, temperature in enumerate(scenarios.temperature.astype(float)):
        there = ~np.isnan(temperature)
        number = there[base].sum(axis=0)
        total = np.where(there, temperature, 0)[base].sum(axis=0)
        anomaly = temperature - np.where(number >= 15, total / np.maximum(number, 1), np.nan)
        for year, field in enumerate(anomaly):
            known = ~np.isnan(field)
            series[scenario, year] = np.average(field[known], weights=weight[known])
    return series


# --- the data


def test_the_years_and_the_grid_are_those_of_the_files(scenarios: demo.Scenarios) -> None:
    assert scenarios.names == ("A1B", "E1")
    assert scenarios.years.tolist() == list(range(1860, 2100))  # a calendar of 360 days, decoded
    assert scenarios.temperature.shape == (2, 240, 37, 49)
    assert (scenarios.latitude[0], scenarios.latitude[-1]) == (15, 60)
    assert (scenarios.longitude[0], scenarios.longitude[-1]) == (-135, -45)


def test_the_scenarios_are_one_run_until_the_trend_begins(scenarios: demo.Scenarios) -> None:
    a1b, e1 = scenarios.temperature
    apart = (a1b != e1).any(axis=(1, 2))
    assert scenarios.years[apart].min() == climate.TREND.first


# --- the figures


def test_workers_really_lack_the_packages_of_the_demo(client: Client) -> None:
    def importable(names: tuple[str, ...]) -> list[str]:
        import importlib

        found = []
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
            found.append(name)
        return found

    answers = client.run(importable, (*NOT_ON_WORKERS, "numpy"))
    assert list(answers.values()) == [["numpy"], ["numpy"]]


def test_every_number_agrees_with_a_plain_numpy_computation(
    result: demo.ClimateResult, scenarios: demo.Scenarios
) -> None:
    trend, series = plain_trend(scenarios), plain_series(scenarios)
    np.testing.assert_allclose(result.trend, trend, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.series, series, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result.difference, series[0] - series[1], rtol=0, atol=1e-10)

    closing = scenarios.years >= 2070
    warming = series[:, closing].mean(axis=1)
    assert [found.warming for found in result.figures.scenarios] == pytest.approx(warming.tolist(), abs=1e-9)
    assert result.figures.difference == pytest.approx(warming[0] - warming[1], abs=1e-9)
    for found, trends in zip(result.figures.scenarios, trend, strict=True):
        for extreme, index in ((found.slowest, trends.argmin()), (found.fastest, trends.argmax())):
            row, column = np.unravel_index(index, trends.shape)
            assert extreme.trend == pytest.approx(trends[row, column], abs=1e-9)
            assert (extreme.latitude, extreme.longitude) == (scenarios.latitude[row], scenarios.longitude[column])


def test_the_figures_are_those_that_are_known_of_this_model(result: demo.ClimateResult) -> None:
    a1b, e1 = result.figures.scenarios
    assert (round(a1b.warming, 2), round(e1.warming, 2), round(result.figures.difference, 2)) == (4.46, 2.37, 2.08)
    assert str(a1b.fastest) == "+10.65 at 55°N 78.8°W"  # the east of Hudson Bay, where the ice goes
    assert str(e1.slowest) == "−0.48 at 22.5°N 118.1°W"


def test_the_tasks_and_workers_that_are_told_are_the_schedulers_own(
    result: demo.ClimateResult, executed: Executed
) -> None:
    assert result.figures.tasks == len(executed.keys)
    assert result.figures.workers == 2
    assert result.figures.cells == 37 * 49
    assert 0 < result.figures.seconds < 120


def test_gaps_are_left_out_and_never_counted_as_values(client: Client, gappy: demo.Scenarios) -> None:
    result = demo.compute(client, gappy)
    np.testing.assert_allclose(result.trend, plain_trend(gappy), rtol=0, atol=1e-8, equal_nan=True)
    np.testing.assert_allclose(result.series, plain_series(gappy), rtol=0, atol=1e-10)
    missing = [(int(row), int(column)) for row, column in np.argwhere(np.isnan(result.trend[0]))]
    assert missing == [(3, 4), (20, 20), (36, 48)]
    assert np.isfinite([found.warming for found in result.figures.scenarios]).all()


def test_figures_turn_into_json(result: demo.ClimateResult) -> None:
    again = json.loads(json.dumps(asdict(result.figures)))
    assert again["scenarios"][0]["fastest"]["latitude"] == 55
    assert again["tasks"] == result.figures.tasks


# --- the way to the workers and back


def test_nothing_that_is_sent_names_a_package_or_a_file_of_the_client(scenarios: demo.Scenarios) -> None:
    sent = cloudpickle.dumps([dict(array.__dask_graph__()) for array in dask.optimize(*climate.lazy(scenarios))])
    assert not [name for name in (*NOT_ON_WORKERS, ".nc", "site-packages") if name.encode() in sent]
    assert len(sent) < 10_000_000  # where distributed begins to warn of a large graph


def test_progress_begins_at_nothing_grows_and_ends_complete(
    result: demo.ClimateResult, reports: list[tuple[int, int]]
) -> None:
    done, totals = zip(*reports, strict=True)
    assert set(totals) == {39}
    assert (done[0], done[-1]) == (0, 39)
    assert all(earlier < later for earlier, later in itertools.pairwise(done))
    assert len(done) > 3


def test_an_interrupt_leaves_nothing_at_work(client: Client, cluster: LocalCluster, gappy: demo.Scenarios) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as held:
        demo.compute(client, gappy, on_progress=interrupt)
    forgotten(cluster)
    assert held.traceback  # it still refers to compute's frame, which has let go of the futures


def test_what_a_task_raises_is_raised_here(client: Client, cluster: LocalCluster, scenarios: demo.Scenarios) -> None:
    reports = []
    temperature = scenarios.temperature.astype(object)
    temperature[1, 5, 6, 7] = "warm"
    with pytest.raises(ValueError, match="could not convert string to float: 'warm'"):
        demo.compute(client, replace(scenarios, temperature=temperature), on_progress=lambda *now: reports.append(now))
    assert all(done < total for done, total in reports)
    forgotten(cluster)


def forgotten(cluster: LocalCluster) -> None:
    """Returns when the scheduler knows no task any more."""
    deadline = time.monotonic() + 30
    while cluster.scheduler.tasks:
        assert time.monotonic() < deadline, list(cluster.scheduler.tasks)[:3]
        time.sleep(0.05)


def test_an_asynchronous_client_is_refused_before_anything_is_read() -> None:
    with pytest.raises(TypeError, match="synchronous"):
        demo.compute(SimpleNamespace(asynchronous=True))  # type: ignore[arg-type]


# --- what it needs


def test_importing_the_demo_loads_nothing_heavy() -> None:
    heavy = ("dask", "distributed", "numpy", "xarray", "matplotlib", "netCDF4", "iris_sample_data")
    code = f"import sys, clusterhub.demo; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_missing_packages_are_named_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, result: demo.ClimateResult
) -> None:
    assert demo.missing_packages() == []
    monkeypatch.setitem(sys.modules, "netCDF4", None)
    monkeypatch.setitem(sys.modules, "iris_sample_data", None)
    assert demo.missing_packages() == ["iris-sample-data", "netcdf4"]
    message = r'not installed here: iris-sample-data, netcdf4; pip install "clusterhub\[demo\]"'
    with pytest.raises(ClusterhubError, match=message):
        demo.open_scenarios()
    with pytest.raises(ClusterhubError, match=message):
        demo.draw(result, tmp_path / "warming.png")


def test_data_that_the_package_no_longer_carries_are_named() -> None:
    with pytest.raises(ClusterhubError, match=r"B2_north_america\.nc is not in this version of iris-sample-data"):
        climate.sample_file("B2_north_america.nc")


# --- what is shown


def test_the_summary_is_short_and_aligned(result: demo.ClimateResult) -> None:
    seconds = f"{result.figures.seconds:.1f}"
    assert str(result).splitlines() == [
        "warming of North America in two scenarios, HadGEM2-AO, yearly means 1860–2099",
        "  region   15°N to 60°N, 135°W to 45°W, 1813 grid cells of land and sea",
        "  warming  1961–1990 to 2070–2099, weighted by area",
        "    A1B       +4.46 K  no mitigation",
        "    E1        +2.37 K  aggressive mitigation",
        "    A1B − E1  +2.08 K",
        "  trend    2000–2099, least squares for each cell, K per century",
        "    A1B       +1.56 at 22.5°N 120°W to +10.65 at 55°N 78.8°W",
        "    E1        −0.48 at 22.5°N 118.1°W to +4.34 at 42.5°N 46.9°W",
        f"  computed in {seconds} s: {result.figures.tasks} tasks on 2 workers",
    ]


@pytest.mark.parametrize(
    ("value", "hemispheres", "text"),
    [(-118.125, "EW", "118.1°W"), (22.5, "NS", "22.5°N"), (-45, "EW", "45°W"), (0.0, "NS", "0°"), (-0.01, "EW", "0°")],
)
def test_degrees_are_written_with_their_hemisphere(value: float, hemispheres: str, text: str) -> None:
    assert climate.degrees(value, hemispheres) == text


@pytest.mark.parametrize(("value", "text"), [(4.456, "+4.46"), (-0.4847, "−0.48"), (-0.001, "+0.00")])
def test_differences_always_carry_a_sign(value: float, text: str) -> None:
    assert climate.signed(value) == text


def test_the_picture_is_a_png_of_1200_by_900_and_pyplot_stays_out(
    result: demo.ClimateResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    path = tmp_path / "warming.png"
    path.write_bytes(b"older")
    demo.draw(result, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    assert (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) == (1200, 900)
    assert list(tmp_path.iterdir()) == [path]


def test_gaps_are_drawn_as_gaps(client: Client, gappy: demo.Scenarios, tmp_path: Path) -> None:
    demo.draw(demo.compute(client, gappy), tmp_path / "gaps.png")
    assert (tmp_path / "gaps.png").stat().st_size > 50_000


def test_maps_come_without_a_coastline_where_the_ocean_data_are_missing(
    result: demo.ClimateResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> None:
        raise ClusterhubError(name)

    monkeypatch.setattr(picture, "sample_file", gone)
    demo.draw(result, tmp_path / "warming.png")
    assert (tmp_path / "warming.png").exists()


def test_an_older_picture_stays_when_the_new_one_cannot_be_written(
    result: demo.ClimateResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "warming.png"
    path.write_bytes(b"older")
    monkeypatch.setattr(picture, "png", lambda result: b"newer")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ClusterhubError, match=r"cannot write the picture to .*warming\.png: No space left on device"):
        demo.draw(result, path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_where_no_picture_can_be_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path, reason in (
        (tmp_path / "nowhere" / "a.png", f"there is no directory {tmp_path / 'nowhere'}"),
        (tmp_path / "file" / "a.png", f"{tmp_path / 'file'} is not a directory"),
        (tmp_path / "folder.png", "that is a directory"),
        (tmp_path / "a.pdf", "it is a PNG; name it a.png"),
    ):
        with pytest.raises(ClusterhubError, match=re.escape(f"cannot write the picture to {path}: {reason}")):
            demo.check_destination(path)
    demo.check_destination(tmp_path / "a.png")


def test_a_directory_without_the_right_to_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system, not tried: root, as whom tests may run, is kept out by no mode.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ClusterhubError, match=f"you may not write in {re.escape(str(tmp_path))}"):
        demo.check_destination(tmp_path / "a.png")
