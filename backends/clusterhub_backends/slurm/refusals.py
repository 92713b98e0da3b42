"""What sbatch refuses with: a system that is away, a queue that is full, or a mistake and the key of a profile behind it.

The words are the table of src/common/slurm_errno.c, which grew over the versions and changed little.
"""

from __future__ import annotations

import re

from clusterhub import ClusterhubError, QueueFull
from clusterhub_backends.batch.driver import ArrayTooLarge, Rejected, SystemDown
from clusterhub_backends.slurm.reasons import decides, in_our_words

DOWN = re.compile(
    r"Unable to contact slurm controller|controller in standby|Rate limit exceeded|Socket timed out|Connection refused"
    r"|Connection timed out|Connection forced closed|Connection reset|Zero Bytes were transmitted"
    r"|(?:Communication|Message send|Message receive).*failure|Transport endpoint is not connected|socket error"
    r"|Unable to process incoming|Unexpected message received|Header lengths are longer|Insane message length"
    r"|is shutting down|Incompatible versions of client"
    r"|authentication error|Invalid authentication credential|Munge (?:en|de)code failed|I/O error writing script",
    re.IGNORECASE,
)
"""Of a controller that does not answer, or a host that cannot prove who asks."""
UNREACHED = re.compile(r"\(connect failure\)|Connection refused|controller in standby|Rate limit", re.IGNORECASE)
"""Nobody took the call, so nothing was done."""
FULL = re.compile(
    r"(?-i:SubmitJobs?(?:Per(?:User|Account))?(?:Limit)?\b)|MaxJobCount limit|job queue full"
    r"|temporarily unable to accept job|Unable to create job record|Resource temporarily unavailable|submissions disabled"
    r"|job creation temporarily disabled",
    re.IGNORECASE,
)
"""Of the user's limits on jobs, or the whole system's; or of a system that takes none from anybody now."""
POLICY = "accounting/QOS policy"
"""Refused by a limit: of the jobs that one may have, or of what one job may be. Newer versions name it in a line before."""
REASON = re.compile(r"sbatch: error: (?P<reason>(?:Assoc|QOS|Max)\w+)")
REJECTIONS = (
    (r"Invalid partition name|No partition specified", "there is no such partition", "slurm.partition"),
    (r"group not permitted", "your group may not use that partition", "slurm.partition"),
    (r"artition (?:not available|in DOWN state)|partition configuration not available",
     "the partition takes no such jobs now", "slurm.partition"),
    (r"Invalid account", "the account is unknown, or may not use that partition", "slurm.account"),
    (r"Invalid qos", "the qos is unknown, or not yours", "slurm.qos"),
    (r"QOS usage threshold", "your account has used more than the qos lets it", "slurm.qos"),
    (r"Requested time limit is invalid", "the walltime is longer than the partition allows", "job.walltime"),
    (r"Memory specification can not be satisfied|Memory required by task", "no node has so much memory", "worker.memory"),
    (r"More processors requested|CPU count specification", "no node has so many cores", "worker.cores"),
    (r"node configuration is not available", "no node has so much memory, so many cores or GPUs", "worker"),
    (r"Node count specification invalid", "the partition allows no such number of nodes", "slurm.partition"),
    (r"Invalid generic resource|Trackable RESource", "there is no such generic resource", "slurm.gres"),
    (r"Invalid feature specification", "no node has those features", "slurm.constraint"),
    (r"equested reservation", "the reservation is not yours or not there", "slurm.reservation"),
    (r"Invalid node name", "there is no such node", "slurm.nodelist"),
    (r"nodes not in this partition", "the nodes are not of that partition", "slurm.nodelist"),
    (r"Required node not available", "the nodes are down, drained or reserved", "slurm.nodelist"),
    (r"Invalid wckey|Invalid license|nrecognized option|Invalid --", "SLURM does not take a directive", "slurm.directives"),
    (r"DOS line breaks", "the script has line ends of Windows; see the lines of your own", "environment.setup"),
    (r"Access/permission denied", "SLURM does not let you submit such a job, or not from this host", ""),
)  # fmt: skip


def refusal_of(words: str) -> ClusterhubError:
    """The error that a refused submission is: SystemDown, QueueFull, or a SubmitRejected with the key that decides it."""
    if DOWN.search(words):
        return away(words)
    if FULL.search(words):
        return QueueFull(source=words)
    if "Invalid job array specification" in words:
        return ArrayTooLarge("the site takes smaller arrays only", source=words)
    if POLICY in words:
        return of_policy(words)
    for pattern, meaning, key in REJECTIONS:
        if re.search(pattern, words):
            return Rejected(meaning, source=words, because=key)
    return Rejected("SLURM refuses the job", source=words)


def away(words: str) -> SystemDown:
    """That nobody answers, and whether what was asked may have been done all the same."""
    return SystemDown(words, reached=UNREACHED.search(words) is None)


def of_policy(words: str) -> ClusterhubError:
    """By what the line before says; where there is none, by the likeliest: whether it is so, only the limits tell."""
    if (found := REASON.search(words)) is None:
        return QueueFull(source=words)
    reason = found["reason"]
    return Rejected(in_our_words(reason), source=words, because=decides(reason) or "slurm.account")


def names_its_limit(words: str) -> bool:
    """Whether a refusal for a limit says which one."""
    return POLICY not in words or REASON.search(words) is not None
