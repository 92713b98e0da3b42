"""How the work of a function grows with its input: a ratio of CPU times, which a busy machine does not change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SMALLEST = 0.005
"""Seconds of CPU below which a measurement would be noise."""


def of(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of CPU that ``work(*arguments)`` takes in this thread."""
    began = time.thread_time()
    work(*arguments)
    return time.thread_time() - began


def least(work: Callable[[int], Any], size: int) -> float:
    """The same of three attempts, of which the best tells most of the work."""
    return min(of(work, size) for _ in range(3))


def growth(work: Callable[[int], Any], size: int, factor: int) -> float:
    """How many times the CPU ``work(factor * size)`` takes of ``work(size)``: near ``factor`` where it is linear.

    ``size`` is doubled until there is something to measure.
    """
    while (small := least(work, size)) < SMALLEST:
        size *= 2
    return least(work, factor * size) / small
