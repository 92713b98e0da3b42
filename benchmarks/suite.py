"""Which benchmarks there are, and how one of them is run until its verdict can be believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from . import batch, config, fresh, gateway, kept, kubernetes, living, turning, workloads
from .measuring import Figure, Verdict
from .plots import RATIOS, SCALING, Plot

PATIENCE = 60.0
"""Seconds; see :meth:`Benchmark.run`. A quiet machine needs half of it for the longest."""


@dataclass(frozen=True)
class Benchmark:
    """One thing that is compared, in one or several figures."""

    name: str
    explanation: str
    """For the page: what is compared with what, and what that leaves out."""
    measure: Callable[[int], list[Figure]]
    """Takes the number of pairs."""
    pairs: int
    """Enough for a steady median, few enough for a check that people run: all of them together take two to four minutes, those
    of the batch systems another ten, and the workloads, which come last, a quarter of an hour."""
    plot: Plot | None = None
    """How its figures are drawn; None where a table tells it all."""

    def run(self, pairs: int | None = None) -> list[Figure]:
        """Its figures. What is above a target is measured once more, and all pairs count: a busy minute is no regression.

        Where that would take longer than ``PATIENCE`` the machine is too busy for it to tell more.
        """
        began = time.monotonic()
        figures = self.measure(pairs or self.pairs)
        kept = all(figure.verdict in (Verdict.NONE, Verdict.KEPT) for figure in figures)
        if kept or time.monotonic() - began > PATIENCE:
            return figures
        again = self.measure(pairs or self.pairs)
        return [first.and_also(second) for first, second in zip(figures, again, strict=True)]


SUITE = (
    Benchmark("import", fresh.IMPORTS, fresh.imports, pairs=15),
    Benchmark("command", fresh.COMMANDS, fresh.commands, pairs=15),
    Benchmark("local", living.STARTING, living.starting, pairs=12),
    Benchmark("resolve", config.RESOLVING, config.resolving, pairs=10),
    Benchmark("call", living.CALLING, living.calling, pairs=100),
    Benchmark("keeper", kept.STARTING, kept.starting, pairs=8),
    Benchmark("delegated", kept.CALLING, kept.calling, pairs=100),
    Benchmark("attach", kept.ATTACHING, kept.attaching, pairs=5),
    Benchmark("ls", kept.LISTING, kept.listing, pairs=10),
    Benchmark("gateway", gateway.COMING, gateway.coming, pairs=8),
    Benchmark("gateway-call", gateway.CALLING, gateway.calling, pairs=40),
    Benchmark("kubernetes", kubernetes.COMING, kubernetes.coming, pairs=8),
    Benchmark("submit", batch.SUBMITTING, batch.submitting, pairs=6),
    Benchmark("workers", batch.COMING, batch.coming, pairs=10),
    Benchmark("notice", batch.NOTICING, batch.noticing, pairs=3),
    Benchmark("queries", batch.ASKING, batch.asking, pairs=1),
    Benchmark("loop", turning.TURNING, turning.turning, pairs=3),
    Benchmark("workloads", workloads.RUNNING, workloads.running, pairs=5, plot=RATIOS),
    Benchmark("workloads-slurm", workloads.ON_BATCH, workloads.on_slurm, pairs=5, plot=RATIOS),
    Benchmark("scaling", workloads.SCALING, workloads.scaling, pairs=3, plot=SCALING),
)
"""In the order in which they are shown; each name is also the first word of the names of its figures."""
