"""What a spec comes to in all: the sums that people get wrong when workers, jobs and nodes are counted in turn."""

from __future__ import annotations

import math

from clusterhub.display.words import counted
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec, Workers


def in_all(spec: ClusterSpec) -> str:
    """One line: how workers fill a job and how many jobs that makes, or, where there are no jobs, the total."""
    jobs = spec.node is not None or spec.job.workers_per_job is not None
    return " · ".join([_one_job(spec), _jobs(spec)] if jobs else [_total(spec)])


def asked_for(spec: ClusterSpec, target: Workers) -> str:
    """``24 workers, 4 cores and 16 GiB each; 4 jobs of 6 workers; walltime 12h``."""
    worker = spec.worker
    shape = [_cores(worker.cores), worker.memory.about(), *([counted(worker.gpus, "GPU")] if worker.gpus else [])]
    number = f"{target} workers, as the load asks," if target.adapts else f"{counted(target.maximum, 'worker')},"
    parts = [f"{number} {', '.join(shape[:-1])} and {shape[-1]}{'' if target.maximum == 1 else ' each'}"]
    if spec.node is not None or spec.job.workers_per_job is not None:
        n = spec.packing.workers_per_job
        parts.append(f"{counted(math.ceil(target.maximum / n), 'job')} of {counted(n, 'worker')}")
    if spec.job.walltime is not None:
        parts.append(f"walltime {spec.job.walltime}")
    return "; ".join(parts)


def _one_job(spec: ClusterSpec) -> str:
    packing = spec.packing
    n = packing.workers_per_job
    cores, memory = spec.worker.cores * n, Bytes(spec.worker.memory * n)
    decided = {"given": "as given", "default": "by default"}.get(packing.decided_by, f"{packing.decided_by} decides")
    if spec.node is None:
        return f"one job: {counted(n, 'worker')} ({decided}), {_cores(cores)}, {memory.about()}"
    parts = [f"{cores:g} of {spec.node.cores} cores", _of(memory, spec.node.memory)]
    if spec.worker.gpus:
        parts.append(f"{spec.worker.gpus * n} of {spec.node.gpus} GPUs")
    return f"one job: {counted(n, 'worker')} ({decided}), {', '.join(parts)}"


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
