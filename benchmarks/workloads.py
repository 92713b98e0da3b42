"""The analyses of docs/examples: on our clusters and on the bare managers', and on more and more workers."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import dask
from distributed import Client, LocalCluster

import clusterhub

from .analyses import ANALYSES, FORGETFUL, Ran, timed
from .config import only_config
from .lab import Asked, sides
from .measuring import Figure, interleaved

WORKERS, MEMORY = 2, "1 GiB"
ON_SLURM = 4
RATIO = 1.03
Run = Callable[[str], Ran]
"""Runs the analysis of that name."""

RUNNING = f"""Each analysis of `docs/examples`, in a size of 5 to 10 s, on a cluster that stands: `connect("local")` against
`LocalCluster`, both of {WORKERS} workers of one thread and {MEMORY}. Both clusters are there while either is measured, a run
begins when its scheduler has forgotten the one before, and all runs must end with the same result. What we add while an
analysis runs is the control loop. The lines `CPU` are the seconds of CPU of the client, the scheduler and the workers, which
a busy machine changes less."""

ON_BATCH = f"""The same on one SLURM: `connect("slurm")` against dask-jobqueue's `SLURMCluster`, both encrypted and of
{ON_SLURM} workers of one core and {MEMORY}, each in a job of its own. Ours has its scheduler in a keeper, a process of its own,
where dask-jobqueue has it in the caller's."""

SCALING = """The same on `connect("local")`, from one worker of one thread, by doubling, to as many as there are cores; all of
these clusters stand beside one another. Ours is n workers, native is one worker, so a ratio of 1/n is all that n workers
could give. Client and scheduler use the same cores as the workers."""


def running(pairs: int) -> list[Figure]:
    """Ours over LocalCluster's."""
    shape = {"threads_per_worker": 1, "memory_limit": MEMORY.replace(" ", ""), "dashboard_address": ":0"}
    with (
        _undisturbed(),
        _ours(WORKERS) as ours,
        LocalCluster(n_workers=WORKERS, **shape) as native,
        Client(ours, set_as_default=False) as hub,
        Client(native, set_as_default=False) as bare,
    ):
        for client in (hub, bare):
            client.wait_for_workers(WORKERS)
        return _over_native("workloads", _on(hub), _on(bare), pairs)


def on_slurm(pairs: int) -> list[Figure]:
    """Ours over dask-jobqueue's."""
    with sides() as both:
        for side in (both.hub, both.native):
            side.ask("be_forgetful")
            side.ask("start", workers=ON_SLURM, memory=MEMORY)
        return _over_native("workloads-slurm", _asked(both.hub), _asked(both.native), pairs)


def scaling(pairs: int) -> list[Figure]:
    """From one worker to one for each core."""
    counts = _by_twos(len(os.sched_getaffinity(0)))
    with _undisturbed(), ExitStack() as standing:
        clients = []
        for workers in counts:
            cluster = standing.enter_context(_ours(workers))
            clients.append(standing.enter_context(Client(cluster, set_as_default=False)))
            clients[-1].wait_for_workers(workers)
        return [
            Figure(f"scaling: {name}, {workers} workers", _seconds(these), _seconds(one))
            for name, (one, *more) in _compared([_on(client) for client in clients], pairs)
            for workers, these in zip(counts[1:], more, strict=True)
        ]


def _by_twos(most: int) -> list[int]:
    """1, 2, 4 … and ``most``."""
    return [*(2**power for power in range((most - 1).bit_length())), most] if most > 1 else [1]


def _ours(workers: int) -> clusterhub.Cluster:
    return clusterhub.connect("local", workers=workers, worker={"cores": 1, "memory": MEMORY})


def _on(client: Client) -> Run:
    return lambda name: timed(ANALYSES[name], client)


def _asked(side: Asked) -> Run:
    return lambda name: Ran(*side.ask("work", analysis=name))


def _over_native(title: str, ours: Run, native: Run, pairs: int) -> list[Figure]:
    """The seconds of all analyses, and then those of CPU."""
    compared = list(_compared([ours, native], pairs))
    return [
        *(Figure(f"{title}: {name}", _seconds(our), _seconds(their), RATIO) for name, (our, their) in compared),
        *(Figure(f"{title}: {name}, CPU", _cpu(our), _cpu(their)) for name, (our, their) in compared),
    ]


def _compared(runs: list[Run], pairs: int) -> Iterator[tuple[str, list[tuple[Ran, ...]]]]:
    """Each analysis, and what each of ``runs`` took for it. Raises RuntimeError where their results differ.

    It takes minutes, so each is told on standard error when it is there.
    """
    for name in ANALYSES:
        results = interleaved([partial(run, name) for run in runs], pairs)
        digests = {ran.digest for result in results for ran in result}
        if len(digests) > 1:
            raise RuntimeError(f"{name} ends with one of {', '.join(sorted(digests))}, so there is nothing to compare")
        told = Figure(name, _seconds(results[0]), _seconds(results[-1]))
        print(f"{name}: {told.pair_ratio:.3f} …", end=" ", file=sys.stderr, flush=True)
        yield name, results


def _seconds(runs: tuple[Ran, ...]) -> tuple[float, ...]:
    return tuple(ran.seconds for ran in runs)


def _cpu(runs: tuple[Ran, ...]) -> tuple[float, ...]:
    return tuple(ran.cpu for ran in runs)


@contextmanager
def _undisturbed() -> Iterator[Any]:
    """With no config of the user's; and without what the scheduler says of each rechunk by p2p, which is no warning here."""
    says = logging.getLogger("distributed.shuffle")
    before = says.level
    says.setLevel(logging.ERROR)
    try:
        with only_config("{}\n") as config, dask.config.set(FORGETFUL):
            yield config
    finally:
        says.setLevel(before)
