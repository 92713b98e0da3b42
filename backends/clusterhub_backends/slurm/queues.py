"""What SLURM tells of its partitions, nodes and limits, 20.11 to 25: explicit fields, or ``Key=value`` on one line.

Sources: scontrol(1) "show partition", sinfo(1), sacctmgr(1), slurm.conf(5), and samples: tests/unit/batch/samples/slurm/queues.
What is unlimited reads ``UNLIMITED`` or ``INFINITE`` there, and nothing at all in sacctmgr.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from clusterhub_backends.batch.driver import Command, Output
from clusterhub_backends.batch.queues import Allowance, Bounds, Facts, Kind, Queue, Wish

MIB = 2**20
NODES = "%D|%c|%m|%t|%G|%R"
"""Number, cores and MiB of one node, state, generic resources, partition: of nodes that are wholly alike."""
ASSOCIATIONS = (
    "Cluster",
    "Account",
    "Partition",
    "QOS",
    "DefaultQOS",
    "MaxJobs",
    "MaxSubmitJobs",
    "MaxWall",
    "GrpTRES",
)
LIMITS = ("Name", "MaxJobsPU", "MaxSubmitPU", "MaxWall", "MaxTRESPU")
STATES = {"UP": (True, True), "DOWN": (True, False), "DRAIN": (False, True), "INACTIVE": (False, False)}
"""Whether a partition in that state takes jobs, and whether it starts them."""
UNUSABLE = ("down", "drain", "drng", "drained", "fail", "failg", "error", "unk", "inval", "futr", "maint")
ENFORCED = ("associations", "limits", "qos", "safe", "wckeys")
"""Words of ``AccountingStorageEnforce`` that make SLURM refuse whoever has no association; the others imply the first."""

Record = Mapping[str, str]
N = TypeVar("N", int, float)


def inquiries(wish: Wish) -> list[Command]:
    """Partitions, nodes, configuration, and, where there is accounting, this user's associations and the QOS."""
    sacctmgr = ("sacctmgr", "--noheader", "--parsable2", "--readonly", "show")
    return [
        # With those that are hidden, or closed to us: there is a difference to what does not exist.
        Command(("scontrol", "--all", "--oneliner", "show", "partition")),
        Command(("sinfo", "--all", "--noheader", "--exact", f"--format={NODES}")),
        Command(("scontrol", "show", "config")),
        Command((*sacctmgr, "assoc", f"user={wish.user}", f"format={','.join(ASSOCIATIONS)}")),
        Command((*sacctmgr, "user", wish.user, "format=DefaultAccount")),
        Command((*sacctmgr, "qos", f"format={','.join(LIMITS)}")),
    ]


def facts(wish: Wish, answers: Sequence[Output | None]) -> Facts:
    """What the answers to :func:`inquiries` come to."""
    partitions, nodes, config, associations, user, qos = (_text(answer) for answer in answers)
    found = [dict(_fields(line)) for line in partitions.splitlines() if line.startswith("PartitionName=")]
    names = wish.queues or tuple(p["PartitionName"] for p in found if p.get("Default") == "YES")
    meant = [p for name in names for p in found if p["PartitionName"] == name]
    settings = dict(_settings(config))
    mine = list(_associations(associations, settings.get("ClusterName", "")))
    # Without any, or where they decide nothing, they are no news.
    matters = any(word in settings.get("AccountingStorageEnforce", "") for word in ENFORCED)
    known = matters and answers[3] is not None and answers[3].code == 0
    account = wish.account or user.strip()
    of_account = [a for a in mine if a["Account"] == account and a["Partition"] in ("", *names)]
    ours = sorted(of_account, key=lambda a: a["Partition"] == "")
    limits = [*_of_qos(wish, ours, meant, qos), *ours] if known else []
    return Facts(
        queues=tuple(p["PartitionName"] for p in found),
        meant=tuple(_queue(p, wish, account) for p in meant),
        kinds=_kinds(nodes, tuple(p["PartitionName"] for p in meant)),
        allowance=_allowance(limits),
        longest=_first(seconds_of(limit["MaxWall"]) for limit in limits),
        accounts=tuple(dict.fromkeys(a["Account"] for a in mine)) if known else None,
        default_account=user.strip() if known else "",
        qos=tuple(name for a in ours for name in a["QOS"].split(",") if name) if known and ours else None,
        largest_array=_array(settings.get("MaxArraySize", "")),
    )


def _text(answer: Output | None) -> str:
    return answer.stdout if answer is not None and answer.code == 0 else ""


# Partitions


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """``PartitionName=CPU nodes AllowGroups=ALL …``: names may hold blanks, other values do not."""
    for match in re.finditer(r"(?P<key>\w+)=(?P<value>.*?)(?=\s+\w+=|\s*$)", line):
        yield match["key"], match["value"]


def _queue(p: Record, wish: Wish, account: str) -> Queue:
    state = p.get("State", "UP")
    takes, starts = STATES.get(state, (True, True))
    closed, by = next(_closed(p, wish, account), ("", ""))
    memory = _number(p.get("MaxMemPerNode", ""))
    least = _number(p.get("MinNodes", "")) or 0
    if least > 1:
        closed, by = f"is for jobs of {least} nodes and more, and a job of ours is on one", "partition"
    default = seconds_of(p.get("DefaultTime", ""))
    longest = seconds_of(p.get("MaxTime", ""))
    return Queue(
        name=p["PartitionName"],
        words=state.lower(),
        takes=takes,
        starts=starts,
        most=Bounds(longest, _number(p.get("MaxCPUsPerNode", "")), memory * MIB if memory else None),
        # slurm.conf(5): where there is no DefaultTime, MaxTime is used.
        default_walltime=default if default is not None else longest,
        closed=closed,
        closed_by=by,
    )


def _closed(p: Record, wish: Wish, account: str) -> Iterator[tuple[str, str]]:
    """Why it does not take this user's jobs, and the option that decides it."""
    if p.get("RootOnly") == "YES" and wish.user != "root":
        yield "is for root alone", "partition"
    if p.get("DisableRootJobs") == "YES" and wish.user == "root":
        yield "takes no jobs of root", "partition"
    allowed = _names(p.get("AllowGroups", "ALL"))
    if allowed and wish.groups and wish.user != "root" and not allowed & set(wish.groups):
        yield f"is for the groups {', '.join(sorted(allowed))}", "partition"
    for kind, option, ours in (("Accounts", "account", account), ("Qos", "qos", wish.qos)):
        allowed, denied = _names(p.get(f"Allow{kind}", "ALL")), _names(p.get(f"Deny{kind}", ""))
        if ours and allowed and ours not in allowed:
            yield f"is for the {option} {' or '.join(sorted(allowed))}", option
        if ours in denied:
            yield f"takes no jobs of the {option} {ours}", option


def _names(text: str) -> set[str]:
    return set() if text in ("ALL", "(null)", "N/A", "") else set(text.split(","))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def seconds_of(text: str) -> float | None:
    """``1-00:00:00``, ``02:00:00``, ``05:00``, ``60`` (minutes); None for what is unlimited, or no time."""
    match = re.fullmatch(r"(?:(\d{1,6})-)?(\d{1,9})(?::(\d\d))?(?::(\d\d))?", text.strip(), re.ASCII)
    if match is None:
        return None
    days, first, second, third = match.groups()
    if days is None and second is None:
        return 60.0 * int(first)
    if days is None and third is None:
        return 60.0 * int(first) + int(second)
    return 86400.0 * int(days or 0) + 3600 * int(first) + 60 * int(second or 0) + int(third or 0)


# Nodes


def _kinds(text: str, partitions: Sequence[str]) -> tuple[Kind, ...] | None:
    """The nodes of these partitions, those that are alike together; None where sinfo told of none."""
    kinds: dict[tuple[int, int | None, int], list[int]] = {}
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) != 6 or fields[5].strip() not in partitions or not fields[0].isdigit():
            continue
        number, cores, memory, state, gres, _ = (field.strip() for field in fields)
        size = _number(memory)
        # RealMemory=1 is what nodes have whose memory nobody wrote down; then it is not looked at, either.
        key = (_number(cores) or 0, size * MIB if size and size > 1 else None, _gpus(gres))
        usable = re.sub(r"[^a-z]", "", state.lower()) not in UNUSABLE and not state.endswith("*")
        counts = kinds.setdefault(key, [0, 0])
        counts[0] += int(number)
        counts[1] += int(number) if usable else 0
    if not kinds:
        return None
    return tuple(Kind(number, usable, *key) for key, (number, usable) in kinds.items())


def _gpus(gres: str) -> int:
    """``gpu:a100:4(S:0-1),lustre:1``."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", gres))


# Accounting


def _settings(config: str) -> Iterator[tuple[str, str]]:
    for line in config.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _array(text: str) -> int | None:
    """``MaxArraySize`` is one more than the largest index."""
    size = _number(text)
    return size if size and size > 1 else None


def _associations(text: str, cluster: str) -> Iterator[Record]:
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == len(ASSOCIATIONS) and (not cluster or fields[0] == cluster.lower()):
            yield dict(zip(ASSOCIATIONS, fields, strict=True))


def _of_qos(wish: Wish, ours: Sequence[Record], meant: Sequence[Record], text: str) -> Iterator[Record]:
    """The limits of the QOS that jobs would have: the partition's, then the one that was asked for or is the default."""
    defaults = [a["DefaultQOS"] or (a["QOS"] if "," not in a["QOS"] else "") for a in ours]
    names = [*(p.get("QoS", "") for p in meant if len(meant) == 1), wish.qos or next(iter(defaults), "")]
    rows = [[field.strip() for field in line.split("|")] for line in text.splitlines()]
    known = {row[0]: row for row in rows if len(row) == len(LIMITS)}
    for name in names:
        if name in known:
            _, jobs, submit, wall, tres = known[name]
            yield {"Name": name, "MaxJobs": jobs, "MaxSubmitJobs": submit, "MaxWall": wall, "GrpTRES": tres}


def _allowance(limits: Sequence[Record]) -> Allowance:
    return Allowance(
        jobs=_first(_number(limit["MaxSubmitJobs"]) for limit in limits),
        running=_first(_number(limit["MaxJobs"]) for limit in limits),
        cores=_first(_cores(limit["GrpTRES"]) for limit in limits),
    )


def _first(values: Iterable[N | None]) -> N | None:
    """Limits override one another rather than add up: SLURM's "Resource Limits", "Hierarchy"."""
    return next((value for value in values if value is not None), None)


def _cores(tres: str) -> int | None:
    """``cpu=40,mem=1T``."""
    match = re.search(r"(?:^|,)cpu=(\d{1,9})(?:,|$)", tres)
    return int(match[1]) if match else None
