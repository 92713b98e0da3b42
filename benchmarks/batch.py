"""Clusters on a batch system: ours and dask-jobqueue's in turn on one real SLURM, which is brought up for them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from .lab import Asked, Sides, sides
from .measuring import Figure, Unit, interleaved
from .sides import LOST

WORKERS = 4
FEW_CORES = {"NODES": 1, "CPUS": 2}
"""One for each side: whatever else they submit has to wait."""
MANY = (100, 1000)
SUBMISSIONS = {100: 2 / 100}
"""Of so many by dask-jobqueue, by the number of jobs."""
PENDING = 500
WATCHED = 90.0
"""Seconds for which the commands at that many pending jobs are counted."""
NATIVE_PATIENCE = 20.0
"""Seconds after which the wait for dask-jobqueue's workers is given up: they fail, and it does not find out."""
INTERVAL = 1.0
"""Seconds between two looks at the queue, at least: the shortest interval of the control loop."""

SUBMITTING = f"""More jobs for a cluster that stands, with one worker connected, from `scale()` until SLURM has all of them (its
controller's own log says when, and by how many submissions), against the same on dask-jobqueue's `SLURMCluster`. One core is
free for each side, so that all jobs have to wait. The target for {MANY[0]} jobs is 0.05 of the time, and two submissions
instead of {MANY[0]}. The lines `from nothing` are for `connect` and for making a `SLURMCluster` and scaling it: ours first starts
a keeper, then submits four jobs as pilots, and the others when a worker has shown that its kind can start; so the seconds
are those of a worker's start, and only the number of submissions has a target."""

COMING = f"""Until {WORKERS} workers are connected, each in a job of its own on a node of its own with cores to spare, in the
eyes of `wait_for_workers`. `scale({WORKERS})`: on a cluster that stands with none. `from nothing`: `connect` with {WORKERS}
workers, in a process that has imported everything and has had a cluster before, against making a `SLURMCluster` and
`scale({WORKERS})`; `script`: both in a new interpreter, imports included. Both sides are encrypted, have the same Python, and
workers of one core and 512 MiB under a nanny, without a dashboard. Ours includes a process of its own for the scheduler,
which dask-jobqueue keeps in the caller's. dask-jobqueue's `lost-worker-timeout` is set to {LOST:.0f} s: with the 15 s it has by
default it takes a new job for one whose worker is gone, ends it, and waits for ever."""

NOTICING = f"""A python that does not exist, on {WORKERS} workers: from `connect` until `wait()` raises `WorkersFailed` with that
cause. dask-jobqueue never notices: its time is the timeout of {NATIVE_PATIENCE:.0f} s that its wait was given, and its start;
without a timeout it would wait for ever. The line below: from the first job's failure, as SLURM's controller logs it, until a
unit of the cluster has a cause; the target is two intervals of the control loop."""

ASKING = f"""The commands that the control loop runs on SLURM while {PENDING} jobs wait, for {WATCHED:.0f} s from the `scale()`
on: how many ask the queue something in any one second (the shortest interval between two looks), how many in the whole of the
last minute, and the share of a core that the keeper uses over that minute, its scheduler and its records included. dask-jobqueue
asks nothing."""


def submitting(pairs: int) -> list[Figure]:
    """Many jobs: for a cluster that stands, and from nothing."""
    with sides(**FEW_CORES) as both:
        for side in (both.hub, both.native):
            side.ask("start", workers=1)
        figures = [*_more(both, MANY[0], pairs), *_more(both, MANY[1], max(1, pairs // 3))]
        for side in (both.hub, both.native):
            side.ask("close")
        both.queue.ask("emptied", jobs=0)
        calls = [_from_nothing(both, side) for side in (both.hub, both.native)]
        ours, native = interleaved(calls, max(1, pairs // 3))
    return [*figures, *_submissions(f"submit: {MANY[0]} from nothing", MANY[0], ours, native, None)]


def _more(both: Sides, jobs: int, pairs: int) -> list[Figure]:
    def more(side: Asked) -> Callable[[], tuple[float, int]]:
        def measured() -> tuple[float, int]:
            newest = both.queue.ask("newest")
            began = side.ask("scale", workers=1 + jobs)
            there, submissions = both.queue.ask("submitted", jobs=jobs, after=newest)
            side.ask("scale", workers=1)
            both.queue.ask("emptied", jobs=2)
            return there - began, submissions

        return measured

    ours, native = interleaved([more(both.hub), more(both.native)], pairs)
    return _submissions(f"submit: {jobs} jobs", jobs, ours, native, 0.05 if jobs == MANY[0] else None)


def _from_nothing(both: Sides, side: Asked) -> Callable[[], tuple[float, int]]:
    def measured() -> tuple[float, int]:
        newest = both.queue.ask("newest")
        began, _ = side.ask("start", workers=MANY[0], wait=False)
        there, submissions = both.queue.ask("submitted", jobs=MANY[0], after=newest)
        side.ask("close")
        both.queue.ask("emptied", jobs=0)
        return there - began, submissions

    return measured


def _submissions(
    name: str,
    jobs: int,
    ours: tuple[tuple[float, int], ...],
    native: tuple[tuple[float, int], ...],
    target: float | None,
) -> list[Figure]:
    (our_times, our_counts), (their_times, their_counts) = zip(*ours, strict=True), zip(*native, strict=True)
    return [
        Figure(name, our_times, their_times, target),
        Figure(f"{name}, submissions", our_counts, their_counts, SUBMISSIONS.get(jobs), unit=Unit.COUNT),
    ]


def coming(pairs: int) -> list[Figure]:
    """A few workers: for a cluster that stands, from nothing, and in a script."""
    with sides() as both:
        nothing = interleaved([_life(both, side) for side in (both.hub, both.native)], pairs)
        scripts = interleaved([_script(both, side) for side in (both.hub, both.native)], max(1, pairs // 2))
        for side in (both.hub, both.native):
            side.ask("start", workers=1)
            side.ask("scale", workers=0)
        both.queue.ask("emptied", jobs=0)
        time.sleep(2 * LOST)
        standing = interleaved([_reach(both, side) for side in (both.hub, both.native)], pairs)
    return [
        Figure(f"workers: scale({WORKERS})", *standing, target=1.1),
        Figure("workers: from nothing", *nothing, target=1.25),
        Figure("workers: script", *scripts),
    ]


def _life(both: Sides, side: Asked) -> Callable[[], float]:
    def measured() -> float:
        began, over = side.ask("start", workers=WORKERS)
        side.ask("close")
        both.queue.ask("emptied", jobs=0)
        return float(over - began)

    return measured


def _script(both: Sides, side: Asked) -> Callable[[], float]:
    def measured() -> float:
        began, over = side.ask("script", workers=WORKERS)
        both.queue.ask("emptied", jobs=0)
        return float(over - began)

    return measured


def _reach(both: Sides, side: Asked) -> Callable[[], float]:
    def measured() -> float:
        began, over = side.ask("reach", workers=WORKERS)
        side.ask("scale", workers=0)
        both.queue.ask("emptied", jobs=0)
        time.sleep(2 * LOST)
        return float(over - began)

    return measured


def noticing(pairs: int) -> list[Figure]:
    """Workers that can never come."""
    with sides() as both:

        def ours() -> tuple[float, float]:
            newest = both.queue.ask("newest")
            seen = both.hub.ask("notice", workers=WORKERS, timeout=60.0)
            if not seen["words"].startswith("WorkersFailed"):
                raise RuntimeError(f"the wait did not end with the cause: {seen['words']}")
            failed = both.queue.ask("failed", after=newest)
            both.hub.ask("close")
            both.queue.ask("emptied", jobs=0)
            return seen["ended"] - seen["began"], seen["named"] - failed

        (times,) = interleaved([ours], pairs)
        seen = both.native.ask("notice", workers=WORKERS, timeout=NATIVE_PATIENCE)
        both.native.ask("close")
    never = (seen["ended"] - seen["began"],) * len(times)
    return [
        Figure("notice: a bad python", tuple(whole for whole, _ in times), never),
        Figure("notice: after SLURM", tuple(after for _, after in times), most=2 * INTERVAL),
    ]


def asking(pairs: int) -> list[Figure]:
    """What the control loop asks of SLURM, and what it uses, with many pending jobs."""
    figures = [_asked() for _ in range(pairs)]
    crowd, minute, share = (tuple(each) for each in zip(*figures, strict=True))
    return [
        Figure("queries: in one interval", crowd, most=1, unit=Unit.COUNT),
        Figure("queries: in a minute", minute, unit=Unit.COUNT),
        Figure("queries: CPU of the keeper", share, unit=Unit.SHARE),
    ]


def _asked() -> tuple[float, float, float]:
    with sides(recorded=True, **FEW_CORES) as both:
        both.hub.ask("start", workers=1)
        newest = both.queue.ask("newest")
        began = both.hub.ask("scale", workers=1 + PENDING)
        both.queue.ask("submitted", jobs=PENDING, after=newest)
        time.sleep(max(0.0, began + WATCHED - 60 - time.time()))
        used, since = both.hub.ask("keeper_seconds"), time.time()
        time.sleep(60)
        share = (both.hub.ask("keeper_seconds") - used) / (time.time() - since)
        queries = [
            when
            for when, name in _recorded(both)
            if name in ("squeue", "scontrol", "sacct") and began <= when <= since + 60
        ]
    return _most_within(queries, INTERVAL), sum(when >= since for when in queries), share


def _recorded(both: Sides) -> Iterator[tuple[float, str]]:
    for line in both.commands.read_text().splitlines():
        when, name = line.split()
        yield float(when), name


def _most_within(times: list[float], seconds: float) -> int:
    """The largest number of ``times`` within any stretch of ``seconds``."""
    times = sorted(times)
    return max((bisect_left(times, first + seconds) - i for i, first in enumerate(times)), default=0)
