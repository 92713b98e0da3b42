"""What a spec comes to in all: the sums that people get wrong when workers, jobs and nodes are counted in turn."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from clusterhub.backend import Backend, Feature, Footprint, Plan, left_by
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
    return _total(spec, left_by(spec, backend), backend.name)


def asked_for(plan: Plan[Any], target: Workers) -> str:
    """``24 workers, 4 cores and 16 GiB each; 4 jobs of 6 workers; walltime 12h``.

    Jobs are told of where the spec speaks of how they are filled, or workers come in jobs anyway.
    """
    spec, left = plan.spec, {leaf.path for leaf in plan.values if leaf.left}
    number = f"{target} workers, as the load asks" if target.adapts else counted(target.maximum, "worker")
    shape = _shape(spec, left)
    parts = [number]
    if shape:
        words = f"{', '.join(shape[:-1])} and {shape[-1]}" if shape[1:] else shape[0]
        parts = [f"{number}, {words}{'' if target.maximum == 1 else ' each'}"]
    if open_parts := _left_open(left):
        parts.append(f"{open_parts} left to {plan.backend}")
    if plan.unit_noun == "job" or spec.node is not None or spec.job.workers_per_job is not None:
        n = spec.packing.workers_per_job
        parts.append(f"{counted(math.ceil(target.maximum / n), 'job')} of {counted(n, 'worker')}")
    if spec.job.walltime is not None:
        parts.append(f"walltime {spec.job.walltime}")
    return "; ".join(parts)


def _shape(spec: ClusterSpec, left: Collection[str]) -> list[str]:
    """What one worker has, as far as that is said or supplied by us."""
    worker = spec.worker
    found = {"worker.cores": _cores(worker.cores), "worker.memory": worker.memory.about()}
    if worker.gpus:
        found["worker.gpus"] = counted(worker.gpus, "GPU")
    return [text for path, text in found.items() if path not in left]


def _left_open(left: Collection[str]) -> str:
    """``their cores and memory``: what of their shape the system decides."""
    found = [path.removeprefix("worker.") for path in ("worker.cores", "worker.memory") if path in left]
    return f"their {' and '.join(found)}" if found else ""


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


def _total(spec: ClusterSpec, left: Collection[str], backend: str) -> str:
    most = spec.workers.maximum
    sums = {"worker.cores": _cores(spec.worker.cores * most), "worker.memory": Bytes(spec.worker.memory * most).about()}
    parts = [f"in all: {'up to ' if spec.workers.adapts else ''}{counted(most, 'worker')}"]
    if spec.limits.workers is not None:
        parts.append(f"your limit is {spec.limits.workers}")
    parts += [text for path, text in sums.items() if path not in left]
    if open_parts := _left_open(left):
        parts.append(f"{open_parts} left to {backend}")
    return ", ".join(parts)


def _cores(number: float) -> str:
    return f"{number:g} {'core' if number == 1 else 'cores'}"
