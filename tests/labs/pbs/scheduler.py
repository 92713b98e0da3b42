"""First come, first served where there is room; and why a job waits, in the words of PBS's scheduler."""

from __future__ import annotations

from collections.abc import Sequence

from labs.pbs.jobs import Job, Node
from labs.pbs.submission import Chunk, size_text

Placement = list[tuple[Node, Chunk]]


def place(job: Job, nodes: Sequence[Node]) -> Placement | str:
    """Where one run of the job goes, or why it goes nowhere."""
    chunks = [chunk for chunk in job.asked.chunks for _ in range(chunk.count)]
    if reason := _hopeless(job, nodes):
        return reason
    if not any(node.up for node in nodes):
        return "Not Running: Not enough free nodes available"
    for what, asked, free, total in _sums(job, nodes):
        if asked > free:
            return _lacking("Not Running", what, asked, free, total)
    how = job.asked.resources.get("place", "free").partition(":")[0]
    found = _fit(chunks, nodes, how)
    if found is not None:
        return found
    # There is enough in all, but not on any one node.
    wanted = max(chunks, key=lambda chunk: (chunk.ncpus, chunk.mem))
    best = max((node for node in nodes if node.up), key=lambda node: node.free_cpus)
    if best.free_cpus < wanted.ncpus:
        return _lacking("Not Running", "ncpus", wanted.ncpus, best.free_cpus, best.ncpus)
    most = max(node.free_mem for node in nodes)
    if most < wanted.mem:
        return _lacking("Not Running", "mem", wanted.mem, most, max(node.mem for node in nodes))
    return "Not Running: Not enough free nodes available"


def _sums(job: Job, nodes: Sequence[Node]) -> list[tuple[str, int, int, int]]:
    return [
        ("ncpus", job.asked.ncpus, sum(n.free_cpus for n in nodes), sum(n.ncpus for n in nodes)),
        ("mem", job.asked.mem, sum(n.free_mem for n in nodes), sum(n.mem for n in nodes)),
    ]


def _hopeless(job: Job, nodes: Sequence[Node]) -> str:
    for what, asked, _, total in _sums(job, nodes):  # it counts the empty machine
        if asked > total:
            return _lacking("Can Never Run", what, asked, total, total)
    for chunk in job.asked.chunks:
        if chunk.host and not any(node.name == chunk.host for node in nodes):
            names = ",".join(node.name for node in nodes)
            return f"Can Never Run: Insufficient amount of resource: host ({chunk.host} != {names})"
        for what, asked, most in (
            ("ncpus", chunk.ncpus, max(node.ncpus for node in nodes)),
            ("mem", chunk.mem, max(node.mem for node in nodes)),
        ):
            if asked > most:
                return _lacking("Can Never Run", what, asked, most, most)
    return ""


def _lacking(verdict: str, what: str, asked: int, free: int, total: int) -> str:
    text = str if what == "ncpus" else size_text
    return f"{verdict}: Insufficient amount of resource: {what} (R: {text(asked)} A: {text(free)} T: {text(total)})"


def _fit(chunks: Sequence[Chunk], nodes: Sequence[Node], how: str) -> Placement | None:
    taken: dict[str, tuple[int, int]] = {}
    found: Placement = []
    for chunk in chunks:
        for node in nodes:
            cpus, mem = taken.get(node.name, (0, 0))
            elsewhere = how == "pack" and found and found[0][0] is not node
            twice = how in ("scatter", "vscatter") and node.name in taken
            if node.takes(chunk, cpus, mem) and not elsewhere and not twice:
                taken[node.name] = (cpus + chunk.ncpus, mem + chunk.mem)
                found.append((node, chunk))
                break
        else:
            return None
    return found


def exec_host(places: Sequence[tuple[Node, int, Chunk]]) -> str:
    """``pbshost/0*2+pbsn1/1``."""
    return "+".join(f"{n.name}/{slot}{f'*{chunk.ncpus}' if chunk.ncpus > 1 else ''}" for n, slot, chunk in places)


def exec_vnode(places: Sequence[tuple[Node, int, Chunk]]) -> str:
    """``(pbshost:ncpus=2:mem=524288kb)``."""
    parts = [
        f"({node.name}:ncpus={chunk.ncpus}{f':mem={chunk.mem // 1024}kb' if chunk.asks_mem else ''})"
        for node, _, chunk in places
    ]
    return "+".join(parts)
