"""What a plan comes to, in one sentence: how many jobs, in how many submissions, and which of them are tried first."""

from __future__ import annotations

import math
from collections.abc import Callable

from clusterhub import ClusterSpec
from clusterhub.display.words import counted


def jobs_of(spec: ClusterSpec) -> int:
    """Whole jobs that hold the most workers that are asked for."""
    return math.ceil(spec.workers.maximum / spec.packing.workers_per_job)


def submissions(jobs: int, pilots: int, largest: int) -> list[int]:
    """How many jobs go into each submission, at least one: some are tried first, and none is larger than ``largest``."""
    jobs = max(1, jobs)
    first = min(jobs, pilots)
    rest = jobs - first
    return [size for size in (first, *([largest] * (rest // largest)), rest % largest) if size]


def summary(spec: ClusterSpec, pilots: int, largest: int, command: Callable[[int], str]) -> str:
    """``34 jobs of 6 workers (204 ≥ 200 workers), in 2 submissions: …``; ``command`` submits so many jobs at once."""
    each = spec.packing.workers_per_job
    jobs = jobs_of(spec)
    if jobs == 0:
        return "no job: 0 workers are asked for"
    sizes = submissions(jobs, pilots, largest)
    more = f" ({jobs * each} ≥ {spec.workers.maximum} workers)" if jobs * each > spec.workers.maximum else ""
    head = f"{counted(jobs, 'job')} of {counted(each, 'worker')}{more}"
    commands = _commands([command(size) for size in sizes])
    if spec.workers.adapts:
        least = math.ceil(spec.workers.minimum / each)
        told = f"{least} to {head}, as the load asks; at most {commands}"
    else:
        told = f"{head}, in {counted(len(sizes), 'submission')}: {commands}"
    if len(sizes) == 1:
        return told
    tried = "the first job is" if sizes[0] == 1 else f"the first {sizes[0]} jobs are"
    return f"{told}; {tried} tried before the others"


def _commands(commands: list[str]) -> str:
    """Those that are alike once, with their number."""
    told: list[tuple[str, int]] = []
    for command in commands:
        if told and told[-1][0] == command:
            told[-1] = (command, told[-1][1] + 1)
        else:
            told.append((command, 1))
    return ", then ".join(command if number == 1 else f"{number} × {command}" for command, number in told)
