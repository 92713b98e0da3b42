"""The analyses of docs/examples: on our clusters and on the bare managers', and on more and more workers."""

from __future__ import annotations

import os
from collections.abc import Callable

from distributed import Client, LocalCluster

import clusterhub

from .analyses import ANALYSES
from .config import only_config
from .lab import Asked, sides
from .measuring import Figure, interleaved, took

WORKERS, MEMORY = 2, "1 GiB"
ON_SLURM = 4
RATIO = 1.03

RUNNING = f"""Each analysis of `docs/examples`, in a small size, on a cluster that stands: `connect("local")` against
`LocalCluster`, both of {WORKERS} workers of one thread, and on one SLURM `connect("slurm")` in a keeper against dask-jobqueue's
`SLURMCluster`, both of {ON_SLURM} workers of one core. Both clusters are there while either is measured, and their results
must be equal. What we add while an analysis runs is the control loop, and on SLURM that the scheduler is in another process."""

SCALING = """The same on one cluster of this machine by `scale(n)`, from one worker of one thread to as many as there are
cores. Ours is n workers, native is one worker, so a ratio of 1/n is all that n workers could give."""


def running(pairs: int) -> list[Figure]:
    """Ours over the bare manager's, on this machine and on SLURM."""
    return [*_on_this_machine(pairs), *_on_slurm(pairs)]


def scaling(pairs: int) -> list[Figure]:
    """From one worker to one for each core."""
    taken: dict[int, list[tuple[float, ...]]] = {}
    with only_config("{}\n"), _ours(1) as cluster, Client(cluster, set_as_default=False) as client:
        for workers in range(1, len(os.sched_getaffinity(0)) + 1):
            cluster.scale(workers)
            cluster.wait_for_workers(workers)
            taken[workers] = interleaved([_run(analysis, client) for analysis in ANALYSES.values()], pairs)
    return [
        Figure(f"scaling: {name}, {workers} workers", taken[workers][index], taken[1][index])
        for workers in sorted(taken)[1:]
        for index, name in enumerate(ANALYSES)
    ]


def _ours(workers: int) -> clusterhub.Cluster:
    return clusterhub.connect("local", workers=workers, worker={"cores": 1, "memory": MEMORY})


def _on_this_machine(pairs: int) -> list[Figure]:
    shape = {"threads_per_worker": 1, "memory_limit": MEMORY.replace(" ", ""), "dashboard_address": ":0"}
    with (
        only_config("{}\n"),
        _ours(WORKERS) as ours,
        LocalCluster(n_workers=WORKERS, **shape) as native,
        Client(ours, set_as_default=False) as hub,
        Client(native, set_as_default=False) as bare,
    ):
        for client in (hub, bare):
            client.wait_for_workers(WORKERS)
        return [
            Figure(f"workloads: {name}, local", *interleaved([_run(run, hub), _run(run, bare)], pairs), target=RATIO)
            for name, run in ANALYSES.items()
            if _equal(name, run(hub), run(bare))
        ]


def _on_slurm(pairs: int) -> list[Figure]:
    with sides() as both:
        for side in (both.hub, both.native):
            side.ask("start", workers=ON_SLURM)
        return [
            Figure(
                f"workloads: {name}, slurm",
                *interleaved([_asked(both.hub, name), _asked(both.native, name)], pairs),
                target=RATIO,
            )
            for name in ANALYSES
            if _equal(name, both.hub.ask("digest", analysis=name), both.native.ask("digest", analysis=name))
        ]


def _run(analysis: Callable[[Client], str], client: Client) -> Callable[[], float]:
    return lambda: took(lambda: analysis(client))


def _asked(side: Asked, name: str) -> Callable[[], float]:
    return lambda: float(side.ask("work", analysis=name))


def _equal(name: str, ours: str, native: str) -> bool:
    """True. Raises RuntimeError where the results differ: then nothing was compared."""
    if ours != native:
        raise RuntimeError(f"{name} ends with {ours} on our cluster, and with {native} on the bare one")
    return True
