"""Pairs instead of absolute times: on a busy machine both halves of a pair suffer alike, and their ratio stays true."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import comb
from statistics import median
from typing import TypeVar

T = TypeVar("T")


DOUBT = 0.05
"""The chance that a target counts as missed though the true ratio is just on it."""


class Unavailable(Exception):
    """What is to be measured cannot be had on this machine; the message says why, and what to do."""


class Unit(StrEnum):
    """What the samples of a figure are; its text is what stands behind them."""

    SECONDS = "ms"
    """Shown as milliseconds."""
    COUNT = ""
    SHARE = "%"
    """Of one core, of which 1.0 is all."""


class Verdict(StrEnum):
    """What a figure says of its target."""

    NONE = ""
    KEPT = "ok"
    MISSED = "missed"
    UNCLEAR = "unclear"
    """Above the target, by less than the pairs differ among themselves: the machine is too busy to tell."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: what we took and what the native thing took, pair by pair; in seconds, but for ``unit``."""

    name: str
    """Unique, and short enough for a column."""
    ours: tuple[float, ...]
    native: tuple[float, ...] = ()
    """Empty where nothing native does the same."""
    target: float | None = None
    """The largest ratio that is good enough; None for what is only told."""
    most: float | None = None
    """The most that is good enough: more than the native thing takes, or in all where nothing native does the same. For
    what is compared with something of another kind, whose ratio means nothing."""
    unit: Unit = Unit.SECONDS

    @property
    def ratio(self) -> float | None:
        """The ratio of the medians: what a user feels."""
        return median(self.ours) / median(self.native) if self.native else None

    @property
    def pair_ratio(self) -> float | None:
        """The median of the ratios of the pairs: what is left where the machine was busy for a while."""
        return (
            median(ours / native for ours, native in zip(self.ours, self.native, strict=True)) if self.native else None
        )

    @property
    def difference(self) -> float | None:
        """How much more we take, at the median."""
        return median(self.ours) - median(self.native) if self.native else None

    @property
    def verdict(self) -> Verdict:
        """Whether the target is kept; above it, whether the pairs agree well enough to say that it is missed."""
        if self.most is not None:
            return self._verdict_of_amount(self.most)
        if self.target is None or self.ratio is None or self.pair_ratio is None:
            return Verdict.NONE
        if min(self.ratio, self.pair_ratio) <= self.target:
            return Verdict.KEPT
        ratios = sorted(ours / native for ours, native in zip(self.ours, self.native, strict=True))
        return Verdict.MISSED if ratios[_rank_below_median(len(ratios))] > self.target else Verdict.UNCLEAR

    def _verdict_of_amount(self, most: float) -> Verdict:
        theirs = self.native or (0.0,) * len(self.ours)
        more = sorted(ours - native for ours, native in zip(self.ours, theirs, strict=True))
        if median(more) <= most:
            return Verdict.KEPT
        return Verdict.MISSED if more[_rank_below_median(len(more))] > most else Verdict.UNCLEAR

    def and_also(self, other: Figure) -> Figure:
        """The figure of both measurements taken together."""
        return replace(self, ours=self.ours + other.ours, native=self.native + other.native)


def _rank_below_median(n: int) -> int:
    """The index among ``n`` sorted samples which the true median is below with a chance of ``DOUBT`` at most.

    Whatever the samples' distribution: each is below its median with a chance of one half. Of fewer than five samples it
    is the least, with more doubt than that.
    """
    rank, below = 0, 1
    while (below := below + comb(n, rank + 1)) / 2**n <= DOUBT:
        rank += 1
    return rank


def interleaved(calls: Sequence[Callable[[], T]], rounds: int) -> list[tuple[T, ...]]:
    """What each of ``calls`` returned in each of ``rounds`` rounds; every other round goes backwards.

    One round goes before that does not count: it fills the caches, and writes the bytecode of what was just edited.
    """
    for call in calls:
        call()
    results: list[list[T]] = [[] for _ in calls]
    for number in range(rounds):
        order = range(len(calls))
        for index in order if number % 2 == 0 else reversed(order):
            results[index].append(calls[index]())
    return [tuple(result) for result in results]


def took(call: Callable[[], object]) -> float:
    """The seconds that ``call`` took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def command(*argv: str) -> Callable[[], float]:
    """A function that runs a command and returns the seconds it took. Raises CalledProcessError where that fails."""

    def measured() -> float:
        began = time.perf_counter()
        ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        took = time.perf_counter() - began
        if ended.returncode:
            raise subprocess.CalledProcessError(ended.returncode, argv, ended.stdout, ended.stderr)
        return took

    return measured
