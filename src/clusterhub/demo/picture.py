"""The demo's picture: a map of the trend for each scenario, and how their regional means part.

Drawn with matplotlib's objects alone: no pyplot, no backend chosen, no figure left in a notebook's or a GUI's list.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterhub.errors import ClusterhubError

from .climate import (
    BASELINE,
    CLOSING,
    SCENARIOS,
    TREND,
    ClimateResult,
    Extreme,
    degrees,
    require_packages,
    sample_file,
    signed,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZE = (12.0, 9.0)
"""Inches, at 100 dots each: 1200 × 900."""
INK, FAINT, BAND, PAPER = "#22272e", "#6b7280", "#eef0f3", "#ffffff"
COLOURS = ("#c2410c", "#1d64b4")
"""Of the two scenarios: told apart also by those who do not see red or green."""
DIFFERENCE = "#7c5c9e"


def check_destination(path: Path) -> None:
    """Raises ``ClusterhubError`` where no PNG can be written at ``path``: to be asked before the work, not after."""
    folder = path.parent
    if path.suffix.lower() != ".png":
        raise ClusterhubError(f"cannot write the picture to {path}: it is a PNG; name it {path.stem or 'warming'}.png")
    if not folder.exists():
        raise ClusterhubError(f"cannot write the picture to {path}: there is no directory {folder}")
    if not folder.is_dir():
        raise ClusterhubError(f"cannot write the picture to {path}: {folder} is not a directory")
    if path.is_dir():
        raise ClusterhubError(f"cannot write the picture to {path}: that is a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ClusterhubError(f"cannot write the picture to {path}: you may not write in {folder}")


def draw(result: ClimateResult, path: Path) -> None:
    """Writes the picture to ``path``, a PNG of 1200 × 900, replacing what is there.

    Nobody sees half a picture: the file appears whole or, on any error, not at all, and an older one stays.
    """
    check_destination(path)
    require_packages()
    content = png(result)
    # Beside the target, for a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise ClusterhubError(f"cannot write the picture to {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def png(result: ClimateResult) -> bytes:
    """The picture itself, for those who show it and keep no file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=100, facecolor=PAPER)
    FigureCanvasAgg(figure)
    maps = figure.add_gridspec(1, 2, left=0.06, right=0.885, top=0.87, bottom=0.538, wspace=0.1)
    below = figure.add_gridspec(
        2, 1, left=0.06, right=0.885, top=0.452, bottom=0.075, height_ratios=[2.3, 1], hspace=0.25
    )
    left = figure.add_subplot(maps[0])
    right = figure.add_subplot(maps[1], sharex=left, sharey=left)
    series = figure.add_subplot(below[0])
    apart = figure.add_subplot(below[1], sharex=series)
    _head(figure)
    _maps(figure, (left, right), result)
    _series(series, result)
    _difference(apart, result)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor=PAPER)
    return buffer.getvalue()


def _head(figure: Any) -> None:
    figure.text(0.06, 0.955, "Warming of North America in two scenarios", size=18, weight="bold", color=INK)
    figure.text(
        0.06,
        0.925,
        f"Trend of the yearly mean air temperature {TREND} in each grid cell, least squares, in K per century",
        size=11,
        color=FAINT,
    )
    figure.text(
        0.06,
        0.014,
        "Data: HadGEM2-AO, Johns et al. 2011, doi:10.1007/s00382-011-1005-5, from iris-sample-data.  "
        "Coastline: where an ocean model (NEMO, 1°) has no water.",
        size=8,
        color=FAINT,
    )


def _maps(figure: Any, axes: tuple[Any, Any], result: ClimateResult) -> None:
    """Both maps on one scale, whose colours change at whole steps: a shade can be read off the bar as a number."""
    import numpy as np

    given = result.scenarios
    colours, norm = _scale(float(np.nanmin(result.trend)), float(np.nanmax(result.trend)))
    coast = _coast()
    mesh: Any = None
    for axis, figures, trend in zip(axes, result.figures.scenarios, result.trend, strict=True):
        mesh = axis.pcolormesh(given.longitude, given.latitude, trend, cmap=colours, norm=norm, shading="nearest")
        west, east = axis.get_xlim()
        south, north = axis.get_ylim()
        if coast is not None:
            axis.contour(*coast, levels=[0.5], colors=INK, linewidths=0.9)
        axis.set(xlim=(west, east), ylim=(south, north), facecolor="#d9dce1")
        # A degree of longitude is shorter than one of latitude: true in the middle of the map.
        axis.set_aspect(1 / np.cos(np.deg2rad(given.latitude.mean())))
        _title(axis, figures.name, SCENARIOS.get(figures.name, ""))
        for extreme in (figures.slowest, figures.fastest):
            _mark(axis, extreme, (west + east) / 2)
        axis.xaxis.set_major_locator(_every(15))
        axis.yaxis.set_major_locator(_every(10))
        axis.xaxis.set_major_formatter(lambda value, _: degrees(value, "EW"))
        axis.yaxis.set_major_formatter(lambda value, _: degrees(value, "NS"))
        axis.tick_params(colors=INK, labelsize=9, length=3)
        axis.spines[:].set_color(FAINT)
    axes[1].tick_params(labelleft=False)
    bar = figure.colorbar(mesh, cax=axes[1].inset_axes((1.035, 0, 0.035, 1)), spacing="proportional")
    bar.set_label("K per century", color=INK, size=10)
    bar.ax.tick_params(colors=INK, labelsize=9, length=0)
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _scale(lowest: float, highest: float) -> tuple[Any, Any]:
    """Colours in whole steps that cover the range: blue below zero, yellow to dark red above, zero always a border."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=12, steps=[1, 2, 5, 10])
    edges: NDArray[np.float64] = np.asarray(locator.tick_values(min(lowest, 0.0), max(highest, 1.0)))
    below, above = int((edges < 0).sum()), int((edges > 0).sum())
    cold = colormaps["Blues"](np.linspace(0.65, 0.35, below)) if below else np.empty((0, 4))
    warm = colormaps["YlOrRd"](np.linspace(0.02, 1.0, above))
    return ListedColormap(np.concatenate([cold, warm])), BoundaryNorm(edges, below + above)


def _mark(axis: Any, extreme: Extreme, middle: float) -> None:
    """A ring around the cell, and its trend towards the middle of the map, where there is room."""
    from matplotlib.patheffects import withStroke

    inward = 1 if extreme.longitude < middle else -1
    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    axis.plot(
        extreme.longitude, extreme.latitude, "o", ms=9, mfc="none", mec=INK, mew=1.4, path_effects=halo, clip_on=False
    )
    axis.annotate(
        signed(extreme.trend),
        (extreme.longitude, extreme.latitude),
        xytext=(9 * inward, 0),
        textcoords="offset points",
        ha="left" if inward > 0 else "right",
        va="center",
        size=10,
        weight="bold",
        color=INK,
        path_effects=halo,
    )


def _coast() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Longitude, latitude and land (1) or water (0) of the ocean model's cells around North America, if it is there.

    The temperatures carry no mask of land, and a map without a coastline says nothing. The grid is bent in the north:
    only a part that stays clear of 180° is taken, for a contour would else run across the map.
    """
    import numpy as np
    import xarray as xr

    try:
        sample = sample_file("NEMO/nemo_1m_20150101-20150201_grid-T.nc")
    except ClusterhubError:
        return None  # another version of the data package: the maps are true without the line
    with sample as path:
        ocean = xr.load_dataset(path, engine="netcdf4", decode_times=False)
    longitude, latitude = ocean["nav_lon"].values, ocean["nav_lat"].values
    near = (longitude > -150) & (longitude < -30) & (latitude > 0) & (latitude < 70)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    land = np.isnan(ocean["tos"].values[0][part])
    return longitude[part], latitude[part], land.astype(np.float64)


def _series(axis: Any, result: ClimateResult) -> None:
    """The regional means; one line for the years in which the scenarios are the same run, so that none hides."""
    import numpy as np

    years, series = result.scenarios.years, result.series
    parted = np.flatnonzero(np.nan_to_num(result.difference) != 0)
    fork = max(int(parted[0]) - 1, 0) if len(parted) else len(years) - 1
    axis.plot(years[: fork + 1], series[0, : fork + 1], color=FAINT, lw=1.3)
    for values, figures, colour in zip(series, result.figures.scenarios, COLOURS, strict=True):
        axis.plot(years[fork:], values[fork:], color=colour, lw=1.7)
        mean = float(np.nanmean(values[CLOSING.within(years)]))
        axis.plot(CLOSING, (mean, mean), color=colour, lw=5, alpha=0.3, solid_capstyle="butt")
        _label(axis, mean, f"{figures.name}  {signed(figures.warming)} K", colour)
    axis.axhline(0, color=FAINT, lw=0.7, zorder=0)
    for period, text, edge in ((BASELINE, f"{BASELINE} is zero", "top"), (CLOSING, f"mean {CLOSING}", "bottom")):
        axis.axvspan(period.first - 0.5, period.last + 0.5, color=BAND, lw=0, zorder=-1)
        axis.annotate(
            text,
            (sum(period) / 2, edge == "top"),
            xytext=(0, -5 if edge == "top" else 5),
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va=edge,
            size=8.5,
            color=FAINT,
        )
    axis.margins(x=0, y=0.12)
    axis.tick_params(labelbottom=False)
    _title(axis, "Regional mean", "weighted by area, K")
    _plain(axis)


def _difference(axis: Any, result: ClimateResult) -> None:
    """What separates the two, year by year, in the same unit and nearly the same scale."""
    years, values = result.scenarios.years, result.difference
    first, second = result.figures.scenarios
    axis.bar(years, values, width=0.85, color=DIFFERENCE)
    axis.axvspan(CLOSING.first - 0.5, CLOSING.last + 0.5, color=BAND, lw=0, zorder=-1)
    axis.axhline(0, color=FAINT, lw=0.7)
    _label(axis, result.figures.difference, f"{signed(result.figures.difference)} K", DIFFERENCE)
    axis.set_xlim(years[0] - 0.5, years[-1] + 0.5)
    axis.xaxis.set_major_locator(_every(20))
    _title(axis, "Difference", f"{first.name} − {second.name}, K")
    _plain(axis)


def _title(axis: Any, strong: str, weak: str) -> None:
    """Strong words and what explains them, on one line above the left corner of the axes."""
    offset: dict[str, Any] = {"textcoords": "offset points", "va": "bottom"}
    title = axis.annotate(
        strong, (0, 1), xytext=(0, 4), xycoords="axes fraction", size=11.5, weight="bold", color=INK, **offset
    )
    axis.annotate(weak, (1, 0), xytext=(7, 0.5), xycoords=title, size=10, color=FAINT, **offset)


def _label(axis: Any, height: float, text: str, colour: str) -> None:
    """A line's name and figure at its right end, where a legend would have to be looked up."""
    axis.annotate(
        text,
        (1, height),
        xytext=(8, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        size=11,
        weight="bold",
        color=colour,
        annotation_clip=False,
    )


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, labelsize=9, length=3)


def _every(step: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)
