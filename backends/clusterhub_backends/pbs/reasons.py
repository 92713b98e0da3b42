"""Why PBS lets a job wait, in our words: the comments that its scheduler writes, and what a state says without one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clusterhub import Bytes

NEVER = "Can Never Run"
UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}
"""PBS counts in powers of 1024, whatever its units look like."""
COUNTED = {"ncpus": "cores", "ngpus": "GPUs", "nodect": "nodes", "mpiprocs": "processes"}

_PREFIX = re.compile(r"^(?:Not Running|Can Never Run)\s*:\s*", re.IGNORECASE)
_SHORT = re.compile(
    r"Insufficient amount of (?:queue |server )?resource:\s*(?P<what>\S+)"
    r"\s*\(R:\s*(?P<asked>\S+)\s+A:\s*(?P<free>\S+)(?:\s+T:\s*(?P<total>[^\s)]+))?"
)
_UNMATCHED = re.compile(r"Insufficient amount of \w*\s*resource:\s*(?P<what>\S+)\s*\((?P<value>.*?) !=")
_INSUFFICIENT = re.compile(r"Insufficient amount of \w*\s*resource:\s*(?P<what>\S+)")
_WORDS = (
    (r"Queue not started", "its queue is stopped; it starts when the site starts the queue"),
    (r"Queue not an execution queue", "its queue runs no jobs"),
    (r"User has reached queue (?P<queue>\S+) running", "you have as many running jobs as the queue {queue} allows"),
    (r"User has reached server running|Server job limit reached for user", "you have as many running jobs as the site allows"),
    (r"Queue (?P<queue>\S+) job limit reached for user", "you have as many running jobs as the queue {queue} allows"),
    (r"(?P<who>Group|Project) has reached", "your {who} has as many running jobs as the site allows"),
    (r"job limit reached for (?P<who>group|project)", "your {who} has as many running jobs as the site allows"),
    (r"Queue (?P<queue>\S+) job limit has been reached", "the queue {queue} runs as many jobs as it may"),
    (r"Server job limit has been reached", "the site runs as many jobs as it may"),
    (r"limit(?: reached)? on resource (?P<what>\S+)", "all the {what} that you, or your queue, may use at once are in use"),
    (r"Not enough free nodes", "not enough nodes are free; some may be down"),
    (r"Not enough total nodes", "needs more nodes than there are"),
    (r"Not enough of the right type of nodes", "not enough nodes are as it asks"),
    (r"ineligible state", "nodes that it could run on are down or set aside"),
    (r"exclusive node and node is in use", "needs a node of its own, and all are in use"),
    (r"Node has reached \w+ run limit", "its nodes run as many jobs as they may"),
    (r"interfere with|conflict with reservation", "would delay a reservation, or a job whose turn is before its own"),
    (r"strict (?:sorted|fifo) order", "waits behind jobs of higher priority"),
    (r"dedicated time", "waits for the end of the site's dedicated time"),
    (r"pack placement", "no single node has room for it"),
    (r"placement set|set .* has too few", "no group of nodes has room for it"),
    (r"concurrent running subjobs", "waits for other jobs of its array"),
    (r"zero shares for fairshare", "your share of the machine is zero; ask your site"),
    (r"threshold value", "its priority is too low to be started now"),
    (r"Draining system", "the site makes room for a job that waited too long"),
    (r"too many failed attempts", "is held by PBS, which failed to start it many times; ask your site"),
    (r"PBS Error", "PBS failed to start it, and tries again"),
    (r"^Job Array Began", "waits for its turn in its array"),
    (r"^Job run at", "was put back into the queue, and waits for the scheduler's next look"),
)  # fmt: skip
_HOLDS = {
    "u": "is held by you; qrls lets it go",
    "o": "is held by an operator",
    "p": "is held for a bad password",
    "s": "is held by the system",
}


def in_our_words(comment: str, state: str = "Q", record: Mapping[str, str] | None = None) -> str:
    """What keeps a job waiting; never empty, since nobody is told "pending" without a why."""
    text = _PREFIX.sub("", " ".join(comment.split()))
    never = comment.lstrip().lower().startswith(NEVER.lower())
    if state == "H" and "too many failed" not in text:
        return _held(record or {})
    if state == "W":
        when = (record or {}).get("Execution_Time", "")
        return f"waits until {when}" if when else "begins at a later time"
    if state in "SU":
        return "is suspended by the system"
    if state in "TM":
        return "is on its way to another queue or server"
    if not text:
        return "waits for the scheduler's next look"
    return _lacking(text, never=never) or _known(text) or f"waits ({text})"


def _held(record: Mapping[str, str]) -> str:
    if "depend" in record:
        return "waits for another job"
    for kind in record.get("Hold_Types", ""):
        if kind in _HOLDS:
            return _HOLDS[kind]
    return "is held"


def _lacking(text: str, *, never: bool) -> str:
    """What it lacks, with the figures that PBS gives: R is asked for, A is free, T is there in all."""
    if match := _SHORT.search(text):
        what, asked, free, total = match["what"], match["asked"], match["free"], match["total"]
        if what in COUNTED:
            name = COUNTED[what]
            if never:
                return f"needs {asked} {name}, and there are {total or free}"
            return f"needs {asked} free {name}, {free} {'is' if free == '1' else 'are'} free"
        if what in ("mem", "vmem"):
            if never:
                return f"needs {_memory(asked)} of memory, and there is {_memory(total or free)}"
            return f"needs {_memory(asked)} of free memory, {_memory(free)} is free"
        return f"needs {asked} of {what}, {free} is {'there' if never else 'free'}"
    if match := _UNMATCHED.search(text):
        return f"needs {match['what']} {match['value']}, which no node {'has' if never else 'offers now'}"
    if match := _INSUFFICIENT.search(text):
        name = COUNTED.get(match["what"], match["what"])
        return f"needs more {name} than there {'are' if never else 'are free'}"
    return ""


def _known(text: str) -> str:
    for pattern, words in _WORDS:
        if match := re.search(pattern, text, re.IGNORECASE):
            found = {name: value.lower() if name == "who" else value for name, value in match.groupdict().items()}
            if "what" in found:
                found["what"] = COUNTED.get(found["what"], found["what"])
            return words.format(**found)
    return ""


def bytes_of(text: str) -> int | None:
    """``100gb`` as PBS means it; None for what is no size."""
    match = re.fullmatch(r"(?P<number>\d{1,18})(?P<unit>[kmgtp]?b)?", text.strip().lower(), re.ASCII)
    return int(match["number"]) * UNITS[match["unit"] or "b"] if match else None


def _memory(text: str) -> str:
    amount = bytes_of(text)
    return str(Bytes(amount)) if amount is not None else text
