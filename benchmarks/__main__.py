"""``python -m benchmarks``: run them, show the table, and exit with 1 when a target is missed."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .measuring import Unavailable, Verdict
from .showing import as_json, draw, page, table
from .suite import SUITE

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a target is missed, 2 for a mistake in the arguments, else 0."""
    asked = _arguments(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was brought up is taken down
    results = []
    for benchmark in SUITE:
        if asked.only and benchmark.name not in asked.only:
            continue
        began = time.monotonic()
        print(f"{benchmark.name} …", end=" ", file=sys.stderr, flush=True)
        try:
            results.append((benchmark, benchmark.run(asked.pairs)))
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        except Unavailable as reason:
            results.append((benchmark, []))
            print(f"NOT MEASURED: {reason}", file=sys.stderr)
    print(as_json(results) if asked.json else table(results))
    if asked.plot or asked.write:
        draw(results, PAGE.parent / "images")
    if asked.write:
        PAGE.write_text(page(results), encoding="utf-8")
    return int(any(figure.verdict is Verdict.MISSED for _, figures in results for figure in figures))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare clusterhub with the native thing."
    )
    names = [benchmark.name for benchmark in SUITE]
    parser.add_argument("--only", metavar="NAME", action="append", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--pairs", metavar="N", type=_count, help="pairs of each figure (more is steadier)")
    parser.add_argument("--json", action="store_true", help="every sample, for a program")
    parser.add_argument("--plot", action="store_true", help="draw docs/images/benchmark-*.svg of it as well")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its pictures as well")
    asked = parser.parse_args(argv)
    if asked.write and asked.only:
        parser.error("--write needs all benchmarks; leave --only out")
    return asked


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


# Guarded, since the workers of a local cluster are spawned: their interpreter may import this module.
if __name__ == "__main__":
    sys.exit(main())
