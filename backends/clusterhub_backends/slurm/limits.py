"""How many jobs a user may have in the queue. SLURM refuses by the name of a limit, and never says its figure.

The controller itself tells limits and what is used of them; which of several limits counts follows acct_policy_validate()
of src/slurmctld/acct_policy.c: those of the partition's QOS, then of the job's, then of the association, and of its accounts up
to the root. Sources: scontrol(1) "show assoc_mgr", sacctmgr(1), and the "Resource Limits" of SLURM's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clusterhub_backends.batch.driver import Command, Output

NORMAL = "normal"
"""The QOS of jobs that name none, where the user's association names none."""
ASSOCIATION = "account,partition,defaultqos,qos"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit on the number of jobs: how many there may be, and are."""

    most: int
    used: int

    @property
    def free(self) -> int:
        """How many more it allows."""
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True)
class Place:
    """What a job is submitted to, as far as its script says; the rest is the user's default."""

    account: str = ""
    qos: str = ""
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the controller knows of one user: its records as it prints them."""

    uid: str = ""
    default_account: str = ""
    accounts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The associations of whole accounts, by name."""
    mine: Sequence[Mapping[str, str]] = ()
    """The user's own associations."""
    qos: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def questions(user: str) -> tuple[Command, ...]:
    """What asks for the limits of ``user``: the controller for policy and partitions, accounting for the default QOS."""
    show = ("scontrol", "--oneliner", "show")
    mine = ("sacctmgr", "--noheader", "--parsable2", "show", "associations", "where", f"user={user}")
    return (
        Command((*show, "assoc_mgr", f"users={user}", "flags=users,assoc,qos")),
        Command((*show, "partition")),
        Command((*mine, f"format={ASSOCIATION}")),
    )


def tightest(script: str, outputs: Sequence[Output]) -> Limit | None:
    """The limit that leaves the least room to the job of ``script``; None where there is none, or none is told.

    ``outputs`` are those of :func:`questions`, in their order. One that failed, or was not waited for, says nothing.
    """
    texts = [output.stdout if output.code == 0 else "" for output in outputs]
    policy, partitions, associations = (*texts, "", "", "")[:3]
    limits = _limits(place_of(script), _policy(policy), partitions, associations)
    return min(limits, key=lambda limit: limit.free, default=None)


def is_told(outputs: Sequence[Output]) -> bool:
    """Whether the controller has told its policy at all."""
    return bool(outputs) and outputs[0].code == 0 and "ClusterName=" in outputs[0].stdout


def place_of(script: str) -> Place:
    """Where the directives of ``script`` send it; the last of several counts."""
    found = {"account": "", "qos": "", "partition": ""}
    pattern = r"^#SBATCH\s+(?:--(?P<long>account|qos|partition)(?:=|\s+)|-(?P<short>[Aqp])\s*)(?P<value>[^\s#]+)"
    for match in re.finditer(pattern, script, re.MULTILINE):
        name = match["long"] or {"A": "account", "q": "qos", "p": "partition"}[match["short"]]
        found[name] = match["value"].strip("\"'").lower() if name != "partition" else match["value"].strip("\"'")
    return Place(**found)


# Which limits count


def _limits(place: Place, policy: Policy, partitions: str, associations: str) -> Iterator[Limit]:
    account = place.account or policy.default_account
    partition, partition_qos = _partition(place.partition, partitions)
    qos = place.qos or _default_qos(account, partition, associations)
    yield from _effective(policy, account, partition, [name for name in (partition_qos, qos) if name])


def _effective(policy: Policy, account: str, partition: str, names: Iterable[str]) -> Iterator[Limit]:
    qos = [policy.qos[name] for name in dict.fromkeys(names) if name in policy.qos]
    own = [_of_user(record, policy.uid) for record in qos]
    of_account = [_of_account(record, account) for record in qos]
    of_all = [_figures(record.get("GrpSubmitJobs", "")) for record in qos]
    for kind in (own, of_account, of_all):
        yield from (limit for limit in kind if limit is not None)
    mine = _mine(policy, account, partition)
    if not any((*own, *of_account)) and (limit := _figures(mine.get("MaxSubmitJobs", ""))):
        yield limit
    if not any(of_all):
        chain = (mine, *_upwards(policy, account))
        yield from (limit for record in chain if (limit := _figures(record.get("GrpSubmitJobs", ""))))


def _mine(policy: Policy, account: str, partition: str) -> Mapping[str, str]:
    """The user's association with the account: that of the partition where there is one."""
    of_account = [record for record in policy.mine if record.get("Account") == account]
    by_partition = {record.get("Partition", ""): record for record in of_account}
    return by_partition.get(partition) or by_partition.get("") or {}


def _upwards(policy: Policy, account: str) -> Iterator[Mapping[str, str]]:
    """The account, and those above it."""
    seen: set[str] = set()
    while account in policy.accounts and account not in seen:
        seen.add(account)
        yield policy.accounts[account]
        account = policy.accounts[account].get("ParentAccount", "").split("(")[0]


def _partition(name: str, text: str) -> tuple[str, str]:
    """The partition's name, the default one's where there is none, and its QOS."""
    name = name.split(",")[0]
    for line in text.splitlines():
        record = _fields(line)
        if (record.get("PartitionName") == name) if name else (record.get("Default") == "YES"):
            qos = record.get("QoS", "N/A")
            return record.get("PartitionName", ""), "" if qos in ("N/A", "(null)") else qos
    return name, ""


def _default_qos(account: str, partition: str, text: str) -> str:
    """What accounting says that a job without one gets."""
    rows = [line.split("|") for line in text.splitlines()]
    mine = [row for row in rows if len(row) == 4 and row[0] == account and row[1] in ("", partition)]
    for _, _, default, allowed in sorted(mine, key=lambda row: row[1] != partition):
        return default or (allowed if allowed and "," not in allowed else NORMAL)
    return NORMAL


# What the controller prints


def _policy(text: str) -> Policy:
    accounts: dict[str, Mapping[str, str]] = {}
    mine: list[Mapping[str, str]] = []
    qos: dict[str, Mapping[str, str]] = {}
    uid = default = ""
    for line in text.splitlines():
        record = _fields(line)
        if line.startswith("UserName="):
            uid, default = record["UserName"].rpartition("(")[2].rstrip(")"), record.get("DefAccount", "")
        elif line.startswith("ClusterName=") and record.get("UserName"):
            mine.append(record)
        elif line.startswith("ClusterName="):
            accounts[record.get("Account", "")] = record
        elif line.startswith("QOS="):
            qos[record["QOS"].split("(")[0]] = record | _shares(line)
    return Policy(uid, default, accounts, mine, qos)


def _fields(line: str) -> dict[str, str]:
    """``Name=value`` by blanks; of a name that comes twice the first, for comments come last."""
    pairs = re.findall(r"(?:^|(?<=\s))([A-Za-z]\w*)=(\S*)", line)
    return dict(reversed(pairs))


def _shares(line: str) -> dict[str, str]:
    """What each account and user has of a QOS: ``Account Limits= ocean={…} User Limits= 0={…}``."""
    accounts, _, users = line.partition("Account Limits=")[2].partition("User Limits=")
    found = {}
    for kind, text in (("account", accounts), ("user", users)):
        for name, inner in re.findall(r"(\S+?)=\{([^}]*)\}", text):
            found[f"{kind} {name}"] = inner
    return found


def _of_user(record: Mapping[str, str], uid: str) -> Limit | None:
    for name, inner in record.items():
        if name == f"user {uid}" or (name.startswith("user ") and name.endswith(f"({uid})")):
            return _figures(_fields(inner).get("MaxSubmitJobsPU", ""))
    return None


def _of_account(record: Mapping[str, str], account: str) -> Limit | None:
    return _figures(_fields(record.get(f"account {account}", "")).get("MaxSubmitJobsPA", ""))


def _figures(text: str) -> Limit | None:
    """``80(4)``: the limit and what is used of it; ``N(4)`` is none."""
    match = re.fullmatch(r"(\d{1,9})\((\d{1,9})\)", text, re.ASCII)
    return Limit(int(match[1]), int(match[2])) if match else None
