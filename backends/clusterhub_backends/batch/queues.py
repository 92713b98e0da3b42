"""What can be known of queues, nodes and limits before anything is submitted: plain facts, as a driver reads them."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wish:
    """Where jobs are to go, in the system's own words, and who submits them."""

    user: str
    groups: tuple[str, ...] = ()
    """The user's groups; the first is the one that jobs run in."""
    queues: tuple[str, ...] = ()
    """The queues that may be taken; none is the system's default one."""
    account: str = ""
    qos: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)
    """What nodes have to have, as ``model=bro``."""

    @classmethod
    def of_us(
        cls,
        queues: tuple[str, ...],
        *,
        account: str | None = None,
        qos: str | None = None,
        resources: Mapping[str, str] | None = None,
    ) -> Wish:
        """The wish of whoever runs this process."""
        return cls(pwd.getpwuid(os.getuid()).pw_name, _our_groups(), queues, account or "", qos or "", resources or {})


def _our_groups() -> tuple[str, ...]:
    names = []
    for number in dict.fromkeys((os.getegid(), *os.getgroups())):
        with contextlib.suppress(KeyError):  # a group without a name
            names.append(grp.getgrgid(number).gr_name)
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one job may ask for; None where nothing is said."""

    walltime: float | None = None
    """Seconds."""
    cores: int | None = None
    memory: int | None = None
    """Bytes."""
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue (to SLURM, a partition)."""

    name: str
    words: str = ""
    """Its state in the system's own words: ``enabled, started``."""
    takes: bool = True
    """Whether it takes new jobs."""
    starts: bool = True
    """Whether it starts those that it took."""
    most: Bounds = Bounds()
    least: Bounds = Bounds()
    default_walltime: float | None = None
    """Seconds that a job gets which asks for none."""
    closed: str = ""
    """Why this user may not use it, as far as it says: ``is for the accounts ocean, tides``."""
    closed_by: str = ""
    """The option that decides that: ``account``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Nodes that are alike."""

    number: int
    usable: int
    """How many of them are neither down nor set aside."""
    cores: int
    memory: int | None = None
    """Bytes of one node that jobs may ask for."""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one user may have at a time, all jobs together; None where nothing is said."""

    jobs: int | None = None
    """Jobs that wait or run."""
    running: int | None = None
    """Jobs that run."""
    cores: int | None = None
    """Cores of those that run."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a batch system told; whatever it did not tell is empty, or None."""

    queues: tuple[str, ...] = ()
    """The names of all."""
    meant: tuple[Queue, ...] = ()
    """Those that jobs would go to."""
    kinds: tuple[Kind, ...] | None = None
    """The nodes of those; None where that is not known."""
    allowance: Allowance = Allowance()
    longest: float | None = None
    """Seconds that this user's jobs may run, whatever the queue says."""
    accounts: tuple[str, ...] | None = None
    """Those that this user may charge; None where that is not known, or does not matter."""
    default_account: str = ""
    qos: tuple[str, ...] | None = None
    """Likewise the qualities of service."""
    largest_array: int | None = None
    """Jobs in one submission, at most."""
    idle: str = ""
    """Why the system starts nothing at present, whatever the queue: ``scheduling is off``."""

    @property
    def open(self) -> tuple[Queue, ...]:
        """The queues among those meant that take jobs of this user."""
        return tuple(queue for queue in self.meant if queue.takes and not queue.closed)
