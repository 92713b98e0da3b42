"""How North America warms in two scenarios: what the files say, computed on a cluster that cannot see them.

The data are yearly means of the air temperature at 1.5 m from HadGEM2-AO for 1860 to 2099, as the PyPI package
``iris-sample-data`` carries them (Johns et al. 2011, doi:10.1007/s00382-011-1005-5). Scenario A1B has no mitigation,
E1 an aggressive one; both share one history and part in 2000. A model year runs from December to November.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from clusterhub.errors import ClusterhubError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Period(NamedTuple):
    """Whole model years, the last one included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}–{self.last}"

    def within(self, years: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these years belong to the period."""
        return (years >= self.first) & (years <= self.last)


SCENARIOS: Mapping[str, str] = {"A1B": "no mitigation", "E1": "aggressive mitigation"}
"""The two scenarios and what they assume; their difference is the first less the second."""
BASELINE = Period(1961, 1990)
"""Anomalies count from the mean of these years, of the same cell and scenario."""
CLOSING = Period(2070, 2099)
"""The warming of a scenario is the mean anomaly of these years."""
TREND = Period(2000, 2099)
"""Trends are fitted to these years: before 2000 the two scenarios are one and the same run."""

PACKAGES: Mapping[str, str] = {
    "iris_sample_data": "iris-sample-data",
    "matplotlib": "matplotlib",
    "netCDF4": "netcdf4",
    "numpy": "numpy",
    "xarray": "xarray",
}
"""What the client needs, as it is imported and as pip calls it. Workers need numpy, dask and distributed alone."""

BLOCK = (13, 9)
"""Latitudes and longitudes of one block: 18 for each scenario, so that progress moves and 36 threads have work."""


def missing_packages() -> list[str]:
    """The packages of the ``demo`` extra that are not installed here, by pip's names; imports none of them."""
    return [pip_name for module, pip_name in PACKAGES.items() if find_spec(module) is None]


def require_packages() -> None:
    """Raises ``ClusterhubError`` with the line that installs them where packages of the demo are missing."""
    if missing := missing_packages():
        raise ClusterhubError(f'not installed here: {", ".join(missing)}; pip install "clusterhub[demo]"')


@dataclass(frozen=True, eq=False)
class Scenarios:
    """The temperatures of several scenarios on one grid, in the client's memory; NaN where the files have no value."""

    names: tuple[str, ...]
    years: NDArray[np.int64]
    latitude: Floats
    """Degrees north, one for each row of cells."""
    longitude: Floats
    """Degrees east, from -180 to 180, one for each column of cells."""
    temperature: NDArray[np.float32]
    """K, as scenario × year × latitude × longitude."""

    @property
    def weight(self) -> Floats:
        """What the area of a cell is proportional to on a regular grid: the cosine of its latitude."""
        import numpy as np

        return np.cos(np.deg2rad(self.latitude))

    @property
    def cells(self) -> int:
        """How many grid cells there are, those without values included."""
        return len(self.latitude) * len(self.longitude)


def open_scenarios() -> Scenarios:
    """Both scenarios from ``iris-sample-data``, read completely: no file stays open, nothing refers to a path.

    The files are netCDF4 with a calendar of 360 days. xarray decodes it with cftime, which netCDF4 itself depends on:
    the years are read and not guessed, and nothing more has to be installed.
    """
    require_packages()
    import numpy as np
    import xarray as xr

    fields = []
    for name in SCENARIOS:
        with sample_file(f"{name}_north_america.nc") as path:
            field = xr.load_dataset(path, engine="netcdf4", decode_timedelta=False)["air_temperature"]
        fields.append(field.transpose("time", "latitude", "longitude"))
    first, *_ = xr.align(*fields, join="exact")  # one grid and the same years, or an error instead of a wrong map
    return Scenarios(
        names=tuple(SCENARIOS),
        years=first["time"].dt.year.values.astype(np.int64),
        latitude=first["latitude"].values.astype(np.float64),
        longitude=(first["longitude"].values.astype(np.float64) + 180) % 360 - 180,
        temperature=np.stack([field.values for field in fields]),
    )


def sample_file(name: str) -> Any:
    """A context manager that gives the path of one file of ``iris-sample-data``, also where that is zipped."""
    resource = files("iris_sample_data") / "sample_data" / name
    if not resource.is_file():
        raise ClusterhubError(f"{name} is not in this version of iris-sample-data: pip install -U iris-sample-data")
    return as_file(resource)


class Computation(NamedTuple):
    """What the cluster is asked for, lazily: Dask arrays that hold their data and name no function of ours."""

    trend: Any
    """K per century, as scenario × latitude × longitude."""
    series: Any
    """The regional mean anomaly in K, as scenario × year."""
    difference: Any
    """The first scenario's series less the second's."""


def lazy(scenarios: Scenarios) -> Computation:
    """The computation as a graph that any worker with numpy can run, with its data inside (3.5 MB).

    Only ``dask.array`` and numpy are used: a function of ours, or one of xarray's, would be pickled by its name and ask
    the workers to have our packages.

    A cell needs values in half of the years of a period, else its trend or its anomaly is NaN. The regional mean of a
    year is over the cells that have an anomaly in it: of anomalies, so that a cold cell that is missing does not make
    the region warmer.
    """
    import dask.array as da
    import numpy as np

    years = scenarios.years
    temperature = da.from_array(scenarios.temperature, chunks=(1, -1, *BLOCK)).astype(np.float64)
    missing = da.isnan(temperature)
    present, kelvin = (~missing).astype(np.float64), da.where(missing, 0.0, temperature)

    def over_years(factor: Floats, values: Any) -> Any:
        # `Array.sum` would cut the graph at every sum, and make thousands of tasks of what is one for each block.
        return da.blockwise(
            np.tensordot, "syx", factor, None, values, "styx", axes=(0, 1), concatenate=True, dtype=np.float64
        )

    fitted = TREND.within(years).astype(np.float64)
    x = fitted * (years - np.mean(TREND))
    n, sum_x, sum_xx = (over_years(factor, present) for factor in (fitted, x, x * x))
    sum_y, sum_xy = (over_years(factor, kelvin) for factor in (fitted, x))
    enough = 2 * n >= fitted.sum()
    trend = 100 * (n * sum_xy - sum_x * sum_y) / da.where(enough, n * sum_xx - sum_x**2, np.nan)

    based = BASELINE.within(years).astype(np.float64)
    n = over_years(based, present)
    baseline = over_years(based, kelvin) / da.where(2 * n >= based.sum(), n, np.nan)
    anomaly = temperature - baseline[:, None]
    weight = da.from_array(scenarios.weight[:, None], chunks=(BLOCK[0], 1))
    area = (da.isfinite(anomaly) * weight).sum(axis=(2, 3))
    series = da.nansum(anomaly * weight, axis=(2, 3)) / da.where(area > 0, area, np.nan)
    return Computation(trend=trend, series=series, difference=series[0] - series[1])


class SyncClient(Protocol):
    """What is used of a ``distributed.Client``: any client with these will do, whatever started its cluster."""

    asynchronous: bool

    def compute(self, collections: Any, *, optimize_graph: bool) -> Any: ...
    def gather(self, futures: Any) -> Any: ...
    def who_has(self, futures: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Extreme:
    """The trend of one grid cell, in K per century, and the centre of that cell."""

    trend: float
    latitude: float
    longitude: float

    def __str__(self) -> str:
        return f"{signed(self.trend)} at {degrees(self.latitude, 'NS')} {degrees(self.longitude, 'EW')}"


@dataclass(frozen=True, slots=True)
class ScenarioFigures:
    """What one scenario comes to."""

    name: str
    warming: float
    """K, the regional mean of the closing years less that of the baseline."""
    slowest: Extreme
    """The cell with the lowest trend."""
    fastest: Extreme
    """The cell with the highest trend."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers worth printing; plain Python values, so ``dataclasses.asdict`` gives what ``--json`` prints."""

    scenarios: tuple[ScenarioFigures, ...]
    difference: float
    """K, the warming of the first scenario less that of the second."""
    years: Period
    cells: int
    """Grid cells of one scenario."""
    bounds: tuple[float, float, float, float]
    """South, north, west and east: the centres of the outermost cells, in degrees north and east."""
    tasks: int
    """Tasks that the scheduler made of the computation and had run."""
    workers: int
    """Workers that held a part of the result when it was complete."""
    seconds: float
    """From the submission to the result in the client's memory; reading the files is not in it."""

    def __str__(self) -> str:
        south, north, west, east = self.bounds
        region = f"{degrees(south, 'NS')} to {degrees(north, 'NS')}, {degrees(west, 'EW')} to {degrees(east, 'EW')}"
        minus = " − ".join(figures.name for figures in self.scenarios)
        width = len(minus)
        assumed = [SCENARIOS.get(figures.name, "") for figures in self.scenarios]
        return "\n".join(
            [
                f"warming of North America in two scenarios, HadGEM2-AO, yearly means {self.years}",
                f"  region   {region}, {self.cells} grid cells of land and sea",
                f"  warming  {BASELINE} to {CLOSING}, weighted by area",
                *(
                    f"    {figures.name:<{width}}  {signed(figures.warming)} K  {text}".rstrip()
                    for figures, text in zip(self.scenarios, assumed, strict=True)
                ),
                f"    {minus:<{width}}  {signed(self.difference)} K",
                f"  trend    {TREND}, least squares for each cell, K per century",
                *(f"    {figures.name:<{width}}  {figures.slowest} to {figures.fastest}" for figures in self.scenarios),
                f"  computed in {self.seconds:.1f} s: {number(self.tasks, 'task')} on {number(self.workers, 'worker')}",
            ]
        )


@dataclass(frozen=True, eq=False)
class ClimateResult:
    """Everything that the demo found out, in the client's memory; ``str`` is the short summary."""

    scenarios: Scenarios
    trend: Floats
    """K per century, as scenario × latitude × longitude; NaN where a cell has too few values."""
    series: Floats
    """The regional mean anomaly in K, as scenario × year."""
    difference: Floats
    """The first scenario's series less the second's."""
    figures: Figures

    def __str__(self) -> str:
        return str(self.figures)


def compute(
    client: SyncClient,
    scenarios: Scenarios | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> ClimateResult:
    """Computes trend, regional means and their difference on the client's cluster, and brings them home.

    The data travel inside the graph, so the workers need numpy, dask and distributed, and none of the client's files.
    ``on_progress(done, total)`` counts finished parts of the result (39 for the real data): called in this thread, at
    first with 0, then whenever the count has grown; only a complete computation reaches ``total``.

    Waits for as long as the cluster has no worker. Raises what a failed task raised. However it ends, an interrupt
    included, it leaves nothing of its own on the cluster.
    """
    if client.asynchronous:
        raise TypeError("the demo needs a synchronous Client; this one is asynchronous")
    given = scenarios if scenarios is not None else open_scenarios()
    import dask

    # Fused together and before they are cut into blocks: 800 tasks instead of 2,400.
    arrays = Computation(*dask.optimize(*lazy(given)))
    blocks = [array.to_delayed(optimize_graph=False) for array in arrays]
    tasks = _size(arrays)
    started = time.perf_counter()
    futures: Sequence[Any] = client.compute([block for array in blocks for block in array.flat], optimize_graph=False)
    try:
        _follow(futures, on_progress or (lambda done, total: None))
        holders = client.who_has(futures)
        parts: Iterator[Any] = iter(client.gather(futures))
    finally:
        for future in futures:  # an exception's traceback would hold them, and keep the workers at work
            future.release()
    seconds = time.perf_counter() - started
    trend, series, difference = (_assembled(parts, array.shape) for array in blocks)
    return ClimateResult(
        scenarios=given,
        trend=trend,
        series=series,
        difference=difference,
        figures=_figures(
            given,
            trend,
            series,
            tasks=tasks,
            workers=len({worker for workers in holders.values() for worker in workers}),
            seconds=seconds,
        ),
    )


def _size(arrays: Computation) -> int:
    """How many tasks the scheduler makes of these arrays together: those that they need, each once."""
    from dask.core import flatten
    from dask.optimization import cull

    graph = {key: task for array in arrays for key, task in dict(array.__dask_graph__()).items()}
    needed, _ = cull(graph, [key for array in arrays for key in flatten(array.__dask_keys__())])
    return len(needed)


def _follow(futures: Sequence[Any], report: Callable[[int, int], None], interval: float = 0.05) -> None:
    """Returns when every future is finished or one can no longer be; what went wrong is for ``gather`` to raise.

    A future's status is kept up to date by the client's own connection, so that looking at it costs no message.
    """
    reported = -1
    while True:
        states = [future.status for future in futures]
        if (done := states.count("finished")) > reported:
            report(done, len(futures))
            reported = done
        if done == len(futures) or done + states.count("pending") < len(futures):
            return
        time.sleep(interval)


def _assembled(parts: Iterator[Any], blocks: tuple[int, ...]) -> Floats:
    """The array of which these are the blocks, in the order of ``Array.to_delayed().flat``."""
    import numpy as np

    grid = np.empty(blocks, dtype=object)
    for place in np.ndindex(blocks):
        grid[place] = next(parts)
    return np.asarray(np.block(grid.tolist()), dtype=np.float64)


def _figures(
    scenarios: Scenarios, trend: Floats, series: Floats, *, tasks: int, workers: int, seconds: float
) -> Figures:
    import numpy as np

    base, closing = BASELINE.within(scenarios.years), CLOSING.within(scenarios.years)
    warming = np.nanmean(series[:, closing], axis=1) - np.nanmean(series[:, base], axis=1)

    def extreme(trends: Floats, flat_index: np.intp) -> Extreme:
        row, column = np.unravel_index(flat_index, trends.shape)
        place = float(scenarios.latitude[row]), float(scenarios.longitude[column])
        return Extreme(float(trends[row, column]), *place)

    latitude, longitude = scenarios.latitude, scenarios.longitude
    return Figures(
        scenarios=tuple(
            ScenarioFigures(
                name=name,
                warming=float(warmed),
                slowest=extreme(trends, np.nanargmin(trends)),
                fastest=extreme(trends, np.nanargmax(trends)),
            )
            for name, warmed, trends in zip(scenarios.names, warming, trend, strict=True)
        ),
        difference=float(warming[0] - warming[1]),
        years=Period(int(scenarios.years.min()), int(scenarios.years.max())),
        cells=scenarios.cells,
        bounds=(float(latitude.min()), float(latitude.max()), float(longitude.min()), float(longitude.max())),
        tasks=tasks,
        workers=workers,
        seconds=seconds,
    )


def signed(value: float) -> str:
    """``+4.46`` or ``−0.48``: two decimals, always a sign, a minus as wide as the plus; zero is ``+0.00``."""
    return f"{value:+z.2f}".replace("-", "−")


def degrees(value: float, hemispheres: str) -> str:
    """``22.5°N``, ``120°W``: to a tenth, without a sign; ``hemispheres`` names the positive one first."""
    side = hemispheres[int(value < 0)] if round(value, 1) else ""
    return f"{abs(value):.1f}".removesuffix(".0") + "°" + side


def number(count: int, noun: str) -> str:
    """``1 worker``, ``4 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
