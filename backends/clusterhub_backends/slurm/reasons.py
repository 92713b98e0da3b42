"""Why SLURM lets a job wait, in our words: its "Job Reason Codes" as squeue prints them."""

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
    "JobArrayTaskLimit": "waits for other jobs of its array",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs now",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "PartitionConfig": "its partition does not allow such a job",
    "BadConstraints": "no node can be as it asks",
    "NodeDown": "a node that it needs is down",
    "ReqNodeNotAvail": "nodes that it needs are not available now",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
    "Cleaning": "is being requeued",
    "None": "was submitted just now",
    "": "was submitted just now",
    "Nodes": "nodes that it needs are down, drained or reserved",
}
NEVER = frozenset(
    {
        "BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit", "PartitionConfig", "DependencyNeverSatisfied",
        "AssocMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit", "AssocMaxWallDurationPerJobLimit", "AssocMaxMemPerJob",
        "QOSMaxCpuPerJobLimit", "QOSMaxNodePerJobLimit", "QOSMaxWallDurationPerJobLimit", "QOSMaxMemoryPerJob",
        "AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS",
    }
)  # fmt: skip
"""Reasons that do not pass by waiting."""


def in_our_words(reason: str) -> str:
    """What ``reason`` means; never empty, since nobody is told "pending" without a why."""
    plain = reason.strip().strip("()")
    word = re.split(r"[,\s]", plain, maxsplit=1)[0]
    if word in WORDS:
        return WORDS[word]
    if limit := re.fullmatch(r"(Assoc|QOS)(\w*?)Limit", word):
        whose = "your account's" if limit[1] == "Assoc" else "the QOS's"
        return f"{whose} limit is reached ({word})"
    return f"waits ({word})" if word else WORDS[""]
