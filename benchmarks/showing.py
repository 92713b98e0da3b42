"""The figures as a table for a terminal, as JSON with every sample, as pictures, and as the page ``docs/benchmarks.md``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from .measuring import Figure, Unit
from .suite import Benchmark

PACKAGES = ("clusterhub", "dask", "distributed", "dask-jobqueue")
HEADS = ("", "ours", "native", "difference", "ratio", "of pairs", "target", "verdict")
SCALE = {Unit.SECONDS: 1000, Unit.COUNT: 1, Unit.SHARE: 100}
Results = Sequence[tuple[Benchmark, Sequence[Figure]]]
"""A benchmark without figures could not be measured on this machine."""

PREFACE = """\
# What it costs

clusterhub stands on Dask and the native managers, so every figure here is held against the native thing, measured in the
same run. `make bench` repeats it on your machine, exits with 1 when a target is missed, and
`python -m benchmarks --write` writes this page; `--only NAME`, `--pairs N` and `--json` (every sample) do less and tell more.
"""

REMARKS = """\
## How to read it

- Times are medians in milliseconds. Ours and the native one were taken in pairs, in turn and in changing order, after one
  round that does not count. **ratio** is that of the medians, **of pairs** the median of the ratios of the pairs.
- What is above its target by both ratios is measured once more, and all pairs count, so that a busy minute is no regression
  (not if that would take longer than a minute). It is then *missed* if the pairs agree on it (a sign test, at 5 %), and else
  *unclear*: the machine was too busy to tell, and more `--pairs` at a quieter time would. Only what is missed makes the
  command fail.
- The milliseconds are this machine's, and those of its load at that time. Compare ratios across machines, not times.
- Bytecode and disk caches are warm. The first command after an installation, or on a cold network file system (where a
  cluster's Python often lives), takes seconds for either side, and nothing here tells how many.
- Everything runs on this machine, the SLURM of the batch figures too: its controller answers in milliseconds, where that of a
  busy site takes seconds, and its nodes share these cores, so that workers which start at once get in each other's way.
"""


def table(results: Results) -> str:
    """All figures, aligned; times in milliseconds."""
    rows = [HEADS, *(_row(figure) for _, figures in results for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", f"times in ms; {_machine()}", *_not_measured(results)])


def _not_measured(results: Results) -> list[str]:
    return [
        f"NOT measured: {benchmark.name}, which cannot be had here" for benchmark, figures in results if not figures
    ]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    last = len(row) - 1
    return [
        cell.ljust(width) if column in (0, last) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        _amount(median(figure.ours), figure.unit),
        _amount(median(figure.native), figure.unit) if figure.native else "",
        _amount(figure.difference, figure.unit, sign=True),
        _times(figure.ratio),
        _times(figure.pair_ratio),
        _target(figure),
        figure.verdict,
    )


def _target(figure: Figure) -> str:
    if figure.most is not None:
        milliseconds = " ms" if figure.unit is Unit.SECONDS else ""
        return f"≤ {_amount(figure.most, figure.unit)}{milliseconds}{' more' if figure.native else ''}"
    return f"≤ {_times(figure.target)}" if figure.target is not None else ""


def _amount(amount: float | None, unit: Unit, *, sign: bool = False) -> str:
    """Three figures that mean something, whatever the size; what is counted is whole. Only shares bear their unit."""
    if amount is None:
        return ""
    value = amount * SCALE[unit]
    digits = 0 if abs(value) >= 100 or (unit is Unit.COUNT and value == int(value)) else 1 if abs(value) >= 10 else 2
    return f"{value:{'+' if sign else ''}.{digits}f}{' %' if unit is Unit.SHARE else ''}"


def _times(ratio: float | None) -> str:
    return f"{ratio:.2f}" if ratio is not None else ""


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    return f"{cores} cores, Python {platform.python_version()}, {', '.join(versions)}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_json(results: Results) -> str:
    """Everything that was measured, in seconds where it is no count and no share, and what it means."""
    figures = [_plain(benchmark, figure) for benchmark, figures in results for figure in figures]
    return json.dumps({"machine": _machine(), "when": datetime.now(UTC).isoformat(), "figures": figures}, indent=2)


def _plain(benchmark: Benchmark, figure: Figure) -> dict[str, Any]:
    return {
        "benchmark": benchmark.name,
        "name": figure.name,
        "unit": figure.unit.name.lower(),
        "ours": figure.ours,
        "native": figure.native,
        "difference": figure.difference,
        "ratio": figure.ratio,
        "pair_ratio": figure.pair_ratio,
        "target": figure.target,
        "most": figure.most,
        "verdict": figure.verdict or None,
    }


def page(results: Results) -> str:
    """``docs/benchmarks.md``: the table, what each figure is, and what none of them tells."""
    rows = [_row(figure) for _, figures in results for figure in figures]
    heads = ("figure", *HEADS[1:])
    marks = ("---", *["--:"] * (len(heads) - 2), "---")
    lines = ["| " + " | ".join(row) + " |" for row in (heads, marks, *rows)]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {_machine()}; load when it ended {load}."
    parts = [PREFACE, when, "", *lines, "", "## The figures", ""]
    for benchmark, figures in results:
        counts = sorted({len(figure.ours) for figure in figures})
        pairs = f"{counts[-1]} {'pair' if counts[-1] == 1 else 'pairs'}" if counts else "not measured on this machine"
        parts += [f"**{benchmark.name}** ({pairs}): {benchmark.explanation}", ""]
        if benchmark.plot is not None and figures:
            parts += [f"![{benchmark.plot.shows}](images/{_picture(benchmark)})", ""]
    return "\n".join([*parts, REMARKS])


def draw(results: Results, folder: Path) -> None:
    """Write the pictures of what was measured, where there are any."""
    for benchmark, figures in results:
        if benchmark.plot is not None and figures:
            (folder / _picture(benchmark)).write_text(benchmark.plot.svg(figures), encoding="utf-8")


def _picture(benchmark: Benchmark) -> str:
    return f"benchmark-{benchmark.name}.svg"
