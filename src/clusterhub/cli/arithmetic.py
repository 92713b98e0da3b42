"""What a spec comes to in all: the sums that people get wrong when workers, jobs and nodes are counted in turn."""

from __future__ import annotations

import math
from typing import Any

from clusterhub.backend import Backend, Feature, Footprint
from clusterhub.display.words import counted
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec, Workers

DECIDERS = {
    "given": "as given", "default": "no node is described",
    "cores": "cores decide", "memory": "memory decides", "gpus": "GPUs decide",
}  # fmt: skip
"""How it is said what decides the number of workers in a job."""


def in_all(spec: ClusterSpec, backend: Backend[Any]) -> str:
    """One line: how workers fill a job and how many jobs that makes, or, where there are no jobs, the total."""
    if Feature.WORKERS_PER_JOB in backend.features:
        return " · ".join([_one_job(spec, backend.footprint(spec)), _jobs(spec)])
    return _total(spec)


def asked_for(spec: ClusterSpec, target: Workers, *, in_jobs: bool = False) -> str:
    """``24 workers, 4 cores and 16 GiB each; 4 jobs of 6 workers; walltime 12h``.

    Jobs are told of where the spec speaks of how they are filled, or workers come ``in_jobs`` anyway.
    """
    worker = spec.worker
    shape = [_cores(worker.cores), worker.memory.about(), *([counted(worker.gpus, "GPU")] if worker.gpus else [])]
    number = f"{target} workers, as the load asks," if target.adapts else f"{counted(target.maximum, 'worker')},"
    parts = [f"{number} {', '.join(shape[:-1])} and {shape[-1]}{'' if target.maximum == 1 else ' each'}"]
    if in_jobs or spec.node is not None or spec.job.workers_per_job is not None:
        n = spec.packing.workers_per_job
        parts.append(f"{counted(math.ceil(target.maximum / n), 'job')} of {counted(n, 'worker')}")
    if spec.job.walltime is not None:
        parts.append(f"walltime {spec.job.walltime}")
    return "; ".join(parts)


def _one_job(spec: ClusterSpec, footprint: Footprint) -> str:
    packing, memory = spec.packing, footprint.memory
    n = packing.workers_per_job
    cores = spec.worker.cores * n
    if spec.node is None:
        parts = [_cores(cores), memory.about()]
    else:
        parts = [f"{cores:g} of {spec.node.cores} cores", _of(memory, spec.node.memory)]
    if footprint.worker_memory < spec.worker.memory:  # the job fills its node, and something runs around the workers
        parts[-1] += f" ({footprint.worker_memory.about()} for each worker)"
    if spec.worker.gpus:
        gpus = spec.worker.gpus * n
        parts.append(f"{gpus} of {counted(spec.node.gpus, 'GPU')}" if spec.node is not None else counted(gpus, "GPU"))
    return f"one job: {counted(n, 'worker')} ({DECIDERS[packing.decided_by]}), {', '.join(parts)}"


def _of(part: Bytes, whole: Bytes) -> str:
    """``120 of 120 GiB``: the unit once, where both have the same."""
    (number, unit), (_, unit_of_whole) = part.about().split(), whole.about().split()
    return f"{number} of {whole.about()}" if unit == unit_of_whole else f"{part.about()} of {whole.about()}"


def _jobs(spec: ClusterSpec) -> str:
    n, most = spec.packing.workers_per_job, spec.workers.maximum
    jobs = math.ceil(most / n)
    room = "" if jobs * n == most else f" ({jobs * n} would fit)"
    limit = f", your limit is {spec.limits.workers} workers" if spec.limits.workers is not None else ""
    return f"{counted(jobs, 'job')} for {'up to ' if spec.workers.adapts else ''}{counted(most, 'worker')}{room}{limit}"


def _total(spec: ClusterSpec) -> str:
    most = spec.workers.maximum
    cores, memory = spec.worker.cores * most, Bytes(spec.worker.memory * most)
    limit = f", your limit is {spec.limits.workers}" if spec.limits.workers is not None else ""
    return (
        f"in all: {'up to ' if spec.workers.adapts else ''}{counted(most, 'worker')}{limit},"
        f" {_cores(cores)}, {memory.about()}"
    )


def _cores(number: float) -> str:
    return f"{number:g} {'core' if number == 1 else 'cores'}"
