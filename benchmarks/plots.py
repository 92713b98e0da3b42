"""Figures as pictures of a few kilobytes, for the page: ``docs/images/benchmark-*.svg``."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any

from .measuring import Figure

STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "clusterhub",  # the same figures are the same file
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "text.color": "#1f2733",
    "axes.edgecolor": "#5a6675",
    "axes.labelcolor": "#1f2733",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5a6675",
    "ytick.color": "#5a6675",
}
COLOURS = ("#2f6da3", "#b5651d", "#3d8b5f", "#8a4f9e")


@dataclass(frozen=True)
class Plot:
    """How the figures of a benchmark are drawn."""

    shows: str
    """In words, for who does not see it."""
    draw: Callable[[Any, Sequence[Figure]], None]
    """Onto the axes of matplotlib that it is given."""

    def svg(self, figures: Sequence[Figure]) -> str:
        """The picture."""
        import matplotlib as mpl
        from matplotlib.figure import Figure as Canvas

        with mpl.rc_context(STYLE):
            canvas = Canvas(figsize=(6.4, 3.2), layout="constrained")
            self.draw(canvas.add_subplot(), figures)
            written = io.StringIO()
            canvas.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        return re.sub(r" +$", "", written.getvalue(), flags=re.MULTILINE)


def _ratios(axes: Any, figures: Sequence[Figure]) -> None:
    """A dot for each pair, a bar for their median, and the target; of the figures that have one."""
    figures = [figure for figure in figures if figure.target is not None]
    for place, figure in enumerate(figures):
        ratios = [ours / native for ours, native in zip(figure.ours, figure.native, strict=True)]
        axes.plot([place] * len(ratios), ratios, "o", color=COLOURS[0], alpha=0.5, markeredgewidth=0)
        axes.hlines(median(ratios), place - 0.2, place + 0.2, color=COLOURS[0], linewidth=2)
    axes.axhline(1, color="#5a6675", linewidth=0.8)
    for target in {figure.target for figure in figures}:
        axes.axhline(target, color=COLOURS[1], linewidth=1, linestyle="--")
        axes.annotate(f"target {target:.2f}", (1, target), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      color=COLOURS[1])  # fmt: skip
    axes.set(xlim=(-0.5, len(figures) - 0.3), ylabel="ours / native")
    axes.set_xticks(range(len(figures)), [figure.name.partition(": ")[2] for figure in figures])


def _scaling(axes: Any, figures: Sequence[Figure]) -> None:
    """A line for each analysis: how many times as fast n workers are as one."""
    lines: dict[str, dict[int, float]] = {}
    for figure in figures:
        name, _, workers = figure.name.partition(": ")[2].rpartition(", ")
        lines.setdefault(name, {1: 1.0})[int(workers.split()[0])] = 1 / (figure.pair_ratio or 1.0)
    most = max(count for line in lines.values() for count in line)
    axes.plot([1, most], [1, most], color="#5a6675", linewidth=0.8, linestyle="--", label="n workers, n times as fast")
    for colour, (name, line) in zip(cycle(COLOURS), lines.items(), strict=False):
        axes.plot(list(line), list(line.values()), "o-", color=colour, label=f"{name}, {line[most]:.2f}")
    axes.set(xlabel="workers", ylabel="times as fast as one", ylim=(0.9, None))
    axes.set_xticks(sorted({count for line in lines.values() for count in line}))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


RATIOS = Plot("For each analysis the ratio of ours to native, pair by pair, and the target", _ratios)
SCALING = Plot("For each analysis how many times as fast n workers are as one", _scaling)
