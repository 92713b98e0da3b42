"""Whether a job fits what a batch system offers, told with the key of a profile that decides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clusterhub import Bytes, ClusterSpec, Duration
from clusterhub_backends.batch.queues import Facts, Kind, Queue
from clusterhub_backends.batch.script import Shape


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a job will not be taken or never start, and the key of a profile that decides it."""

    text: str
    because: str


def misfits(spec: ClusterSpec, shape: Shape, facts: Facts) -> tuple[Misfit, ...]:
    """Why none of the queues takes such a job; nothing where one does, or where too little is known to say."""
    found = [tuple(_in_queue(spec, shape, queue, facts)) for queue in facts.open or facts.meant]
    # Of several queues one has to fit; the last reasons are as good as any.
    in_queues = found[-1] if found and all(found) else ()
    return (*in_queues, *_on_nodes(spec, shape, facts.kinds or ()))


def _in_queue(spec: ClusterSpec, shape: Shape, queue: Queue, facts: Facts) -> Iterator[Misfit]:
    most, least, walltime = queue.most, queue.least, spec.job.walltime
    longest = min((limit for limit in (most.walltime, facts.longest) if limit is not None), default=None)
    if walltime is not None and longest is not None and walltime > longest:
        whose = f"{queue.name} allows" if longest == most.walltime else "your limits allow"
        yield Misfit(f"asks for {walltime}, and {whose} {span(longest)}", "job.walltime")
    if walltime is not None and least.walltime is not None and walltime < least.walltime:
        text = f"asks for {walltime}, and {queue.name} is for jobs of {span(least.walltime)} and more"
        yield Misfit(text, "job.walltime")
    for what, asked in (("cores", shape.cores), ("memory", shape.memory), ("gpus", shape.gpus)):
        upper, lower = getattr(most, what), getattr(least, what)
        if upper is not None and asked > upper:
            text = f"asks for {amount(what, asked)}, and {queue.name} allows {amount(what, upper)}"
            yield Misfit(text, _key(spec, what, upper))
        if lower is not None and asked < lower:
            text = f"asks for {amount(what, asked)}, and {queue.name} is for jobs of {amount(what, lower)} and more"
            yield Misfit(text, _key(spec, what, lower))


def _on_nodes(spec: ClusterSpec, shape: Shape, kinds: Sequence[Kind]) -> Iterator[Misfit]:
    if not kinds or any(fits(shape, kind) for kind in kinds):
        return
    told = False
    for what, asked in (("cores", shape.cores), ("memory", shape.memory), ("gpus", shape.gpus)):
        sizes = [getattr(kind, what) for kind in kinds]
        if None not in sizes and asked > (largest := max(sizes)):
            told = True
            has = f"the largest node has {amount(what, largest)}" if largest else "no node has any"
            yield Misfit(f"asks for {amount(what, asked)} on one node, and {has}", _key(spec, what, largest))
    if not told:
        parts = ", ".join(
            amount(what, getattr(shape, what)) for what in ("cores", "memory", "gpus") if getattr(shape, what)
        )
        yield Misfit(f"asks for {parts} on one node, and no node has all of that", "worker")


def fits(shape: Shape, kind: Kind) -> bool:
    """Whether such a node, empty, has room for the job."""
    enough = kind.memory is None or shape.memory <= kind.memory
    return enough and shape.cores <= kind.cores and shape.gpus <= kind.gpus


def _key(spec: ClusterSpec, what: str, bound: int) -> str:
    """What is to be changed: the worker's size, or else how many of them share a job."""
    if getattr(spec.worker, what) > bound or spec.packing.workers_per_job == 1:
        return f"worker.{what}"
    if spec.job.workers_per_job is not None:
        return "job.workers_per_job"
    return f"node.{what}"


# In people's words


def span(seconds: float) -> str:
    """``1h``, ``12h``, ``2d``."""
    return str(Duration(round(seconds)))


def amount(what: str, number: float) -> str:
    """``4 cores``, ``16 GiB``, ``1 GPU``."""
    if what == "memory":
        return Bytes(int(number)).about()
    noun = {"cores": "core", "gpus": "GPU"}[what]
    return f"{number:g} {noun if number == 1 else noun + 's'}"


def described(kind: Kind, number: int | None = None) -> str:
    """``4 nodes of 8 cores and 3.91 GiB``."""
    count = kind.number if number is None else number
    parts = [amount("cores", kind.cores)]
    if kind.memory is not None:
        parts.append(amount("memory", kind.memory))
    if kind.gpus:
        parts.append(amount("gpus", kind.gpus))
    size = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{count} {'node' if count == 1 else 'nodes'} of {size}"
