"""Names are keys: decided before a submission, found again in the queue, and carried by the workers of each job.

A submission is called ``ch``, eight digits of the cluster's uid, ``g`` and its number: 15 characters at most, which is what old
PBS takes. Its workers are called by that, the index of their job, how often that was started anew, and, where several share a
job, Dask's own number: ``ch3f2a1c9dg2-17-r0-1``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_WORKER = re.compile(r"(?P<name>ch[0-9a-f]{8}g[0-9a-z]+)-(?P<index>\d+)-r(?P<restart>\d+)(-\d+)?")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One job of a cluster: the name of its submission, and its index there."""

    name: str
    index: int

    def __str__(self) -> str:
        return f"{self.name}-{self.index}"


def prefix_of(uid: str) -> str:
    """What the names of all submissions of one cluster begin with, and of no other."""
    return f"ch{uid[:8]}g"


def submission_name(uid: str, number: int) -> str:
    """The name of the cluster's submission of that number."""
    digits = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return prefix_of(uid) + (digits or "0")


@lru_cache(maxsize=8192)
def key_of_worker(name: str) -> Key | None:
    """The job that a worker of that name runs in; None for one that is not ours."""
    match = _WORKER.fullmatch(name)
    return Key(match["name"], int(match["index"])) if match else None
