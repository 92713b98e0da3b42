"""What PBS tells of its queues, nodes and limits, 14 to 23, in the text forms of ``qstat`` and ``pbsnodes``.

Sources: the reference guide's "Queue Attributes", "Server Attributes" and "Vnode Attributes", its format of limits
(``[u:ann=5]``, where ``PBS_GENERIC`` stands for whoever is not named), and the samples in tests/unit/batch/samples/pbs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from clusterhub_backends.batch.driver import Command, Output
from clusterhub_backends.batch.queues import Allowance, Bounds, Facts, Kind, Queue, Wish
from clusterhub_backends.pbs.reasons import bytes_of

UNUSABLE = ("down", "offline", "state-unknown", "stale", "unresolvable", "maintenance")
LIMIT = re.compile(r"(?P<kind>[ugpo]):\"?(?P<who>[^=\"\],]+)\"?\s*=\s*(?P<number>\d{1,12})")
COUNTED = frozenset({"ncpus", "mem", "ngpus", "vmem", "mpiprocs", "ompthreads"})
"""Resources of a chunk that are shared out, and no property of a node."""

AVAILABLE, CHUNK = "resources_available.", "default_chunk."

Record = Mapping[str, str]


def inquiries(wish: Wish) -> list[Command]:
    """All queues, since those behind a routing one count; the server; and the nodes."""
    server = next((f"@{name.partition('@')[2]}" for name in wish.queues if "@" in name), "")
    return [
        Command(("qstat", "-Q", "-f", *([server] if server else []))),
        Command(("qstat", "-B", "-f", *([server[1:]] if server else []))),
        Command(("pbsnodes", "-av", *(["-s", server[1:]] if server else []))),
    ]


def facts(wish: Wish, answers: Sequence[Output | None]) -> Facts:
    """What the answers to :func:`inquiries` come to."""
    queues, servers, nodes = (answer.stdout if answer is not None else "" for answer in answers)
    found = dict(_records(queues, "Queue: "))
    server = next((record for _, record in _records(servers, "Server: ")), {})
    names = [name.partition("@")[0] for name in wish.queues] or [server.get("default_queue", "")]
    meant = [name for name in names if name in found]
    ends = [end for name in meant for end in _destinations(name, found)]
    return Facts(
        queues=tuple(found),
        meant=tuple(_queue(name, found, server, wish) for name in meant),
        kinds=_kinds(nodes, [(end, found[end]) for end in ends], wish),
        allowance=_allowance([found[name] for name in dict.fromkeys((*meant, *ends))] + [server], wish),
        largest_array=min(
            (
                size
                for record in (server, *(found[name] for name in meant))
                if (size := _number(record, "max_array_size"))
            ),
            default=None,
        ),
        idle="the server starts no jobs at present (scheduling is off)" if server.get("scheduling") == "False" else "",
    )


def _records(text: str, head: str) -> Iterator[tuple[str, Record]]:
    """Each record, and what it is called; long lines go on behind a tab, or behind the blanks that became of it."""
    name, record, key = "", dict[str, str](), ""
    for line in text.split("\n"):
        if (head and line.startswith(head)) or (not head and line and not line[0].isspace()):
            if name:
                yield name, record
            name, record, key = line.removeprefix(head).strip(), {}, ""
        elif match := re.match(r"    ? ?(?P<key>[A-Za-z][\w.]*) = (?P<value>.*)", line):
            key = match["key"]
            record[key] = match["value"]
        elif key and line.startswith(("\t", "        ")):
            record[key] += line.strip("\t") if line.startswith("\t") else line[8:]
    if name:
        yield name, record


# Queues


def _destinations(name: str, found: Mapping[str, Record], seen: frozenset[str] = frozenset()) -> list[str]:
    """The queues that run the jobs of this one: itself, or those that it routes to."""
    if found[name].get("queue_type", "Execution") != "Route" or name in seen:
        return [name]
    wanted = [part.strip().partition("@")[0] for part in found[name].get("route_destinations", "").split(",")]
    return [end for part in wanted if part in found for end in _destinations(part, found, seen | {name})]


def _queue(name: str, found: Mapping[str, Record], server: Record, wish: Wish) -> Queue:
    record = found[name]
    enabled, started = record.get("enabled", "True"), record.get("started", "True")
    routes = record.get("queue_type") == "Route"
    ends = [found[end] for end in _destinations(name, found)] if routes else []
    words = [f"{'' if enabled == 'True' else 'not '}enabled", f"{'' if started == 'True' else 'not '}started"]
    return Queue(
        name=name,
        words=", ".join([*words, *([f"routes to {record.get('route_destinations', 'nothing')}"] if routes else [])]),
        takes=enabled == "True",
        starts=started == "True" and (not routes or any(end.get("started") == "True" for end in ends)),
        most=_most([record, server], ends),
        least=_bounds(record, "resources_min"),
        default_walltime=_default(record, server) if not routes else None,
        closed=_closed(record, wish),
        closed_by="queue",
    )


def _bounds(record: Record, what: str) -> Bounds:
    return Bounds(
        walltime=seconds_of(record.get(f"{what}.walltime", "")),
        cores=_number(record, f"{what}.ncpus"),
        memory=bytes_of(record.get(f"{what}.mem", "")),
        gpus=_number(record, f"{what}.ngpus"),
    )


def _most(records: Sequence[Record], ends: Sequence[Record]) -> Bounds:
    """The tightest of its own and the server's; of the queues behind a routing one, the widest."""

    def bound(what: str) -> float | None:
        limits = [getattr(_bounds(record, "resources_max"), what) for record in records]
        behind = [getattr(_bounds(record, "resources_max"), what) for record in ends]
        if behind and None not in behind:
            limits.append(max(behind))
        return min((limit for limit in limits if limit is not None), default=None)

    walltime, *counts = (bound(what) for what in ("walltime", "cores", "memory", "gpus"))
    return Bounds(walltime, *(None if count is None else int(count) for count in counts))


def _default(record: Record, server: Record) -> float | None:
    """The reference guide's order: the queue's default, the server's, the queue's greatest, the server's."""
    for what in ("resources_default", "resources_max"):
        for of in (record, server):
            if (seconds := seconds_of(of.get(f"{what}.walltime", ""))) is not None:
                return seconds
    return None


def _closed(record: Record, wish: Wish) -> str:
    """Why it does not take this user's jobs. Patterns of hosts behind users are not looked at."""
    for kind, ours in (("user", (wish.user,)), ("group", wish.groups)):
        names = [name.strip() for name in record.get(f"acl_{kind}s", "").split(",") if name.strip()]
        if record.get(f"acl_{kind}_enable") == "True" and ours and not _listed(names, ours):
            allowed = [name.lstrip("+") for name in names if not name.startswith("-")]
            shown = ", ".join(allowed[:5]) + (" and others" if len(allowed) > 5 else "")
            return f"is for the {kind}s {shown}" if shown else f"is for none of your {kind}s"
    if record.get("from_route_only") == "True":
        return "takes only what other queues route to it"
    return ""


def _listed(names: Iterable[str], ours: Sequence[str]) -> bool:
    """The first entry that matches decides; without one, nobody is let in."""
    for name in names:
        plain = name.lstrip("+-").partition("@")[0]
        if plain in ours or plain == "*":
            return not name.startswith("-")
    return False


def _number(record: Record, key: str) -> int | None:
    text = record.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def seconds_of(text: str) -> float | None:
    """``36:00:00``, ``10:00``, ``600``; None for what is no time."""
    match = re.fullmatch(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9})(?:\.\d+)?", text.strip(), re.ASCII)
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


# Limits


def limit_of(text: str, user: str) -> int | None:
    """What ``[u:PBS_GENERIC=4], [u:ann=5]`` means for one user: their own number before everybody's."""
    numbers = {match["who"].strip(): int(match["number"]) for match in LIMIT.finditer(text) if match["kind"] == "u"}
    return numbers.get(user, numbers.get("PBS_GENERIC"))


def _allowance(records: Sequence[Record], wish: Wish) -> Allowance:
    def least(key: str, old: str = "") -> int | None:
        limits = [limit_of(record.get(key, ""), wish.user) for record in records]
        limits += [_number(record, old) for record in records if old]
        return min((limit for limit in limits if limit is not None), default=None)

    return Allowance(least("max_queued"), least("max_run", "max_user_run"), least("max_run_res.ncpus"))


# Nodes


def _kinds(text: str, queues: Sequence[tuple[str, Record]], wish: Wish) -> tuple[Kind, ...] | None:
    """The hosts that these queues may use, those that are alike together; None where pbsnodes told of none."""
    hosts: dict[str, list[Record]] = {}
    properties: set[str] = set()
    for name, record in _records(text, ""):
        hosts.setdefault(record.get(f"{AVAILABLE}host", name), []).append(record)
        properties |= {key.removeprefix(AVAILABLE) for key in record if key.startswith(AVAILABLE)}
    if not hosts:
        return None
    # What no node speaks of is not decided by nodes: a licence, a resource of the server.
    looked_at = frozenset(properties) - COUNTED
    kinds: dict[tuple[int, int | None, int], list[int]] = {}
    for vnodes in hosts.values():
        if _serves(vnodes, queues, wish.resources, looked_at):
            counts = kinds.setdefault(_size(vnodes), [0, 0])
            counts[0] += 1
            counts[1] += all(not any(word in vnode.get("state", "") for word in UNUSABLE) for vnode in vnodes)
    return tuple(Kind(number, usable, *size) for size, (number, usable) in kinds.items())


def _size(vnodes: Sequence[Record]) -> tuple[int, int | None, int]:
    """Of a host: a chunk may take from several of its vnodes."""
    cores, gpus = (sum(_number(vnode, f"{AVAILABLE}{what}") or 0 for vnode in vnodes) for what in ("ncpus", "ngpus"))
    memory = [size for vnode in vnodes if (size := bytes_of(vnode.get(f"{AVAILABLE}mem", ""))) is not None]
    return cores, sum(memory) if memory else None, gpus


def _serves(
    vnodes: Sequence[Record], queues: Sequence[tuple[str, Record]], wanted: Record, looked_at: frozenset[str]
) -> bool:
    """Whether jobs of one of these queues may come here: by the node's ``queue``, and by what a chunk has to find."""
    bound = {vnode["queue"] for vnode in vnodes if "queue" in vnode}
    if bound and not bound & {name for name, _ in queues}:
        return False

    def offers(resources: Iterable[tuple[str, str]]) -> bool:
        return all(_has(vnodes, name, value) for name, value in resources if name in looked_at)

    chunks = [
        [(key.removeprefix(CHUNK), value) for key, value in record.items() if key.startswith(CHUNK)]
        for _, record in queues
    ]
    return offers(wanted.items()) and (not chunks or any(offers(chunk) for chunk in chunks))


def _has(vnodes: Sequence[Record], name: str, value: str) -> bool:
    """Whether a node has that property: one of several words, or, unsaid, none."""
    said = [vnode[f"{AVAILABLE}{name}"] for vnode in vnodes if f"{AVAILABLE}{name}" in vnode]
    if not said:
        return value.lower() in ("false", "0")
    words = {part.strip() for text in said for part in text.split(",")}
    return value in words or (value.isdigit() and any(word.isdigit() and int(word) >= int(value) for word in words))
