"""The shape of a worker, from that of a job: ``cores`` and ``memory`` are of the whole job there, and ``processes`` share it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clusterhub import Bytes
from clusterhub.profile.dask_config import DaskValue
from clusterhub.quantities import LARGEST_BYTES
from clusterhub_backends.batch.jobqueue.dialect import Booked
from clusterhub_backends.batch.jobqueue.draft import Draft
from clusterhub_backends.batch.jobqueue.reading import Section
from clusterhub_backends.batch.script import HEADROOM, NANNY


@dataclass(slots=True)
class _Job:
    """What a section says of one job: numbers, each with the entry that says it."""

    threads: int | None = None
    """What dask-jobqueue calls cores: as many tasks run at a time."""
    cpus: int | None = None
    """What is asked of the batch system, where that is another number."""
    cpus_from: DaskValue | None = None
    memory: int | None = None
    memory_from: DaskValue | None = None
    node_memory: int | None = None
    node_memory_from: DaskValue | None = None
    processes: int | None = None
    processes_from: DaskValue | None = None
    processes_note: str = "processes"


def put_shape(section: Section, draft: Draft, booked: Booked) -> None:
    """Take ``cores``, ``memory`` and ``processes``; put the worker, how many share a job, and the room that a job had."""
    known = len(draft.problems)
    job = _job(section, draft, booked)
    if len(draft.problems) > known or job.processes is None or job.processes_from is None:
        return
    draft.put("job.workers_per_job", job.processes, job.processes_from, job.processes_note)
    _put_cores(job, job.processes, draft)
    _put_memory(job, job.processes, draft)
    _put_node(job, job.processes, draft)


def processes_of(cores: int) -> int:
    """How many processes share so many cores where nobody says it: about their square root, as Dask has it."""
    if cores <= 4:
        return cores
    return next(n for n in range(math.isqrt(cores - 1) + 1, cores + 1) if cores % n == 0)


def _job(section: Section, draft: Draft, booked: Booked) -> _Job:
    job = _Job(cpus=booked.cpus, cpus_from=booked.cpus_from)
    job.node_memory, job.node_memory_from = booked.memory, booked.memory_from
    if (entry := section.take("cores")) is not None and (cores := draft.number(entry)) is not None:
        job.threads = cores
        if job.cpus is None or job.cpus == cores:
            job.cpus, job.cpus_from = cores, entry
    elif job.cpus is not None:
        job.threads = job.cpus
    if (entry := section.take("memory")) is not None and (size := _size(entry, draft)) is not None:
        job.memory, job.memory_from = size, entry
    else:
        job.memory, job.memory_from = booked.memory, booked.memory_from
    if (entry := section.take("processes")) is not None:
        job.processes, job.processes_from = draft.number(entry), entry
    elif job.threads is not None:
        job.processes, job.processes_from = processes_of(job.threads), job.cpus_from
        job.processes_note = f"not said: dask-jobqueue makes {_count(job.processes, 'process')} of {job.threads} cores"
    elif job.memory_from is not None and not draft.problems:
        message = (
            f"is of a job, and neither cores nor processes say how many workers share it; say {section.path}.processes"
        )
        draft.wrong(job.memory_from, message)
    return job


def _size(entry: DaskValue, draft: Draft) -> int | None:
    """An amount of memory as Dask reads it: without a unit bytes, ``100 G`` decimal, ``100 Gi`` binary."""
    from dask.utils import parse_bytes

    value = entry.value
    try:
        if isinstance(value, bool):
            raise ValueError("a truth value")
        size = int(parse_bytes(value))
    except (ValueError, TypeError, AttributeError, OverflowError):
        draft.wrong(entry, "is no amount of memory; write a number and its unit, as 120GB")
        return None
    if size < 2**20:
        unit = str(value).strip()
        hint = f"; write {unit}GB" if unit.isdigit() and len(unit) < 5 else ""
        draft.wrong(entry, f"Dask reads {Bytes(size)}, which no job can live on{hint}")
        return None
    if size > LARGEST_BYTES:
        draft.wrong(entry, "is more memory than any machine has")
        return None
    return size


def _put_cores(job: _Job, processes: int, draft: Draft) -> None:
    if job.cpus is None or job.threads is None or job.cpus_from is None:
        return
    share, over = divmod(job.cpus, processes)
    if share == 0:
        few = f"{_count(processes, 'worker')} cannot share {_count(job.cpus, 'core')}: each has one of its own at least"
        draft.wrong(job.processes_from or job.cpus_from, few)
        return
    rest = f", {over} left over" if over else ""
    draft.put(
        "worker.cores",
        share,
        job.cpus_from,
        f"{_count(job.cpus, 'core')} for {_processes(processes)}: {share} each{rest}",
    )
    threads = job.threads // processes
    if threads not in (0, share):
        draft.put(
            "worker.threads",
            threads,
            job.cpus_from,
            f"cores: {job.threads} for {_processes(processes)}: {threads} each",
        )


def _put_memory(job: _Job, processes: int, draft: Draft) -> None:
    if job.memory is None or job.memory_from is None:
        return
    whole, place = job.memory, job.memory_from
    if job.node_memory is not None and job.node_memory < whole and job.node_memory_from is not None:
        whole, place = job.node_memory, job.node_memory_from
    share, exact = Bytes(whole).share(processes)
    told = f"{Bytes(whole)} for {_processes(processes)}: {share} each"
    if whole < job.memory:
        told += f"; memory says {Bytes(job.memory)}, the job asks for less"
    draft.put("worker.memory", str(share), place, told + ("" if exact else ", rounded down"))


def _put_node(job: _Job, processes: int, draft: Draft) -> None:
    """Hold the job to what dask-jobqueue's asked for, which may be all that a node has: what is around the workers has to fit
    in, or the job would wait for ever."""
    memory = job.node_memory or job.memory
    if job.cpus is None or memory is None or job.cpus_from is None or job.memory_from is None:
        return
    if min(memory, job.memory or memory) < 2 * (HEADROOM + processes * NANNY) or draft.get("worker.cores") is None:
        return  # too small to give anything away
    draft.put("node.cores", job.cpus, job.cpus_from)
    note = "no job asks for more than yours did; correct it if your nodes offer more"
    draft.put("node.memory", str(Bytes(memory)), job.node_memory_from or job.memory_from, note)


def _processes(count: int) -> str:
    return _count(count, "process")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
