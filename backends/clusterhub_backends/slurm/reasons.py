"""Why SLURM lets a job wait or refuses it for a limit, in our words: its "Job Reason Codes", as squeue and sbatch print them.

The codes are the table of src/common/job_state_reason.c; those of limits are composed, and read as such.
"""

from __future__ import annotations

import re

WORDS = {
    "Resources": "waits for enough free cores and memory",
    "Priority": "waits behind jobs of higher priority",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "waits for a job that can never end as it should",
    "BeginTime": "begins at a later time",
    "JobHeldUser": "is held by its user; scontrol release lets it go",
    "JobHeldAdmin": "is held by an administrator",
    "JobHoldMaxRequeue": "was started anew too often, and is held",
    "launch failed requeued held": "could not be started on its node, and is held",
    "user env retrieval failed requeued held": "could not be started for want of its user's environment, and is held",
    "job requeued in held state": "was put back into the queue, and is held",
    "job requeued in special exit state": "was put back into the queue for how it ended, and is held",
    "JobArrayTaskLimit": "waits for other jobs of its array",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs now",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "PartitionConfig": "its partition does not allow such a job",
    "BadConstraints": "no node can be as it asks",
    "Constraints": "no node can be as it asks",
    "MaxMemPerLimit": "asks for more memory than its partition allows",
    "NodeDown": "a node that it needs is down",
    "FrontEndDown": "the host that starts it is down",
    "ReqNodeNotAvail": "nodes that it needs are not available now",
    "Nodes": "nodes that it needs are down, drained or reserved",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
    "ReservationDeleted": "its reservation is gone",
    "ReservationInvalid": "its reservation cannot be used",
    "Prolog": "its node is being prepared",
    "Cleaning": "is being requeued",
    "SchedDefer": "is not looked at yet: the system is busy",
    "BurstBufferResources": "waits for space in the burst buffer",
    "BurstBufferStageIn": "its data are brought to the burst buffer",
    "PowerNotAvail": "waits for electrical power",
    "PowerReserved": "waits for electrical power that others reserved",
    "QOSUsageThreshold": "your account has used more than the QOS lets it",
    "AccountNotAllowed": "its partition does not take your account",
    "InvalidAccount": "its account is not valid any more",
    "QOSNotAllowed": "its partition does not take that QOS",
    "InvalidQOS": "its QOS is not valid any more",
    "AccountingPolicy": "a limit of your account or QOS is reached",
    "AssociationJobLimit": "you run as many jobs as you may",
    "AssociationResourceLimit": "you use as much as you may",
    "AssociationTimeLimit": "you have used up your time",
    "QOSJobLimit": "as many jobs of the QOS run as may",
    "QOSResourceLimit": "jobs of the QOS use as much as they may",
    "QOSTimeLimit": "jobs of the QOS have used up their time",
    "None": "was submitted just now",
    "": "was submitted just now",
}
IN_STATE = {
    "CONFIGURING": "its node is being started",
    "POWER_UP_NODE": "its node is being started",
    "REQUEUED": "is being requeued",
    "REQUEUE_FED": "is being requeued",
    "REQUEUE_HOLD": WORDS["job requeued in held state"],
    "SPECIAL_EXIT": WORDS["job requeued in special exit state"],
    "RESV_DEL_HOLD": "its reservation is gone, and it is held",
    "SUSPENDED": "is suspended, most likely for jobs of higher priority",
    "STOPPED": "is stopped",
}
"""What a state says where there is no reason."""
STUCK = frozenset(
    {
        "JobHoldMaxRequeue", "launch failed requeued held", "user env retrieval failed requeued held",
        "job requeued in held state", "job requeued in special exit state",
    }
)  # fmt: skip
"""Reasons of jobs that SLURM has stopped trying to start."""
NEVER = {
    "BadConstraints": "worker", "Constraints": "worker", "MaxMemPerLimit": "worker.memory",
    "PartitionNodeLimit": "slurm.partition", "PartitionTimeLimit": "job.walltime", "PartitionConfig": "slurm.partition",
    "DependencyNeverSatisfied": "slurm.directives", "ReservationDeleted": "slurm.reservation",
    "ReservationInvalid": "slurm.reservation", "AccountNotAllowed": "slurm.account", "InvalidAccount": "slurm.account",
    "QOSNotAllowed": "slurm.qos", "InvalidQOS": "slurm.qos",
}  # fmt: skip
"""Reasons that do not pass by waiting, each with the key of a profile that decides it; limits of one job are others."""

LIMIT = re.compile(
    r"(?P<whose>Assoc|QOS|)(?P<kind>Grp|Max|Min)"
    r"(?P<what>SubmitJobs?|Jobs|WallDuration|Wall|[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]+)"
    r"(?P<span>RunMinutes|RunMins|Minutes|Mins|)(?:Per(?P<per>Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)
"""``AssocGrpCPURunMinutesLimit``, ``QOSMaxGRESPerUser``, ``MaxCpuPerAccount``, ``QOSMinCpuNotSatisfied``."""
THINGS = {
    "cpu": ("cores", "worker.cores"), "mem": ("memory", "worker.memory"), "memory": ("memory", "worker.memory"),
    "gres": ("GPUs or the like", "worker.gpus"), "node": ("nodes", ""), "license": ("licences", ""),
    "bb": ("burst buffer", ""), "energy": ("energy", ""), "billing": ("billed units", ""),
}  # fmt: skip


def in_our_words(reason: str, state: str = "PENDING") -> str:
    """What ``reason`` means; never empty, since nobody is told "pending" without a why."""
    plain = _plain(reason)
    if plain in ("", "None") and state in IN_STATE:
        return IN_STATE[state]
    if plain in WORDS:
        return WORDS[plain]
    if "reserved" in plain.lower() and not plain.startswith("Nodes required"):
        return "nodes that it needs are reserved, for maintenance perhaps"
    word = _first(plain)
    if word in WORDS:
        return WORDS[word]
    if limit := LIMIT.fullmatch(word):
        return _of_limit(limit)
    return f"waits ({word})" if word else WORDS[""]


def decides(reason: str) -> str | None:
    """The key of a profile that lets a job of this ``reason`` wait in vain; None where waiting may help."""
    word = _first(_plain(reason))
    if word in NEVER:
        return NEVER[word]
    limit = LIMIT.fullmatch(word)
    if limit is None or not _is_of_one_job(limit):
        return None
    if limit["span"] or limit["what"].startswith("Wall"):
        return "job.walltime"
    return _thing(limit)[1] or ("slurm.account" if limit["whose"] == "Assoc" else "slurm.qos")


def is_stuck(reason: str) -> bool:
    """Whether SLURM has stopped trying to start a job of this ``reason``."""
    return _plain(reason) in STUCK


def _plain(reason: str) -> str:
    # scontrol puts underscores for the blanks that squeue leaves.
    plain = reason.strip().strip("()")
    return plain.replace("_", " ") if plain.replace("_", " ") in STUCK else plain


def _first(plain: str) -> str:
    """``ReqNodeNotAvail, UnavailableNodes:n2``: what stands behind the code is about this one job."""
    return re.split(r"[,\s]", plain, maxsplit=1)[0]


def _is_of_one_job(limit: re.Match[str]) -> bool:
    return limit["per"] in ("Job", "Node") or limit["kind"] == "Min"


def _thing(limit: re.Match[str]) -> tuple[str, str]:
    """What it limits, and the key of a profile that asks for it."""
    what = limit["what"].lower()
    return THINGS.get(what) or THINGS.get(what.removesuffix("s")) or ("resources", "")


def _of_limit(limit: re.Match[str]) -> str:
    thing = _thing(limit)[0]
    if limit["what"].startswith("Wall"):
        thing = "time"
    elif limit["span"]:
        thing = f"time on {thing}"
    if limit["kind"] == "Min":
        return f"the QOS demands more {thing} than it asks for"
    if limit["per"] == "Job":
        return f"asks for more {thing} than a job may have"
    if limit["per"] == "Node":
        return f"asks for more {thing} of a node than a job may have"
    return _of_many(limit, thing)


def _of_many(limit: re.Match[str], thing: str) -> str:
    """A limit on all jobs of somebody together."""
    if limit["per"] == "Account" or (limit["kind"] == "Grp" and limit["whose"] == "Assoc"):
        who, may, has, runs, uses = "your account", "it may", "has", "runs", "uses"
    elif limit["kind"] == "Grp":
        who, may, has, runs, uses = "all users of the QOS together", "they may", "have", "run", "use"
    else:
        who, may, has, runs, uses = "you", "you may", "have", "run", "use"
    if limit["what"].startswith("SubmitJob"):
        return f"{who} {has} as many jobs in the queue as {may}"
    if limit["what"] == "Jobs":
        return f"{who} {runs} as many jobs at a time as {may}"
    if limit["span"].startswith("Run"):
        return f"the jobs that {who} {runs} hold all the {thing} that {may}"
    if limit["span"] or limit["what"].startswith("Wall"):
        return f"{who} {has} used up all {thing} that {may}"
    return f"{who} {uses} all the {thing} that {may}"
