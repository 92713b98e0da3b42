"""The contract between the control loop and one batch system: commands as data, and pure functions that read their output.

A driver runs nothing. The loop runs what it is given (off the event loop, with a time limit), and hands the output back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from clusterhub import ClusterhubError, QueueFull, SubmitRejected
from clusterhub_backends.batch.queues import Facts, Wish


@dataclass(frozen=True, slots=True)
class Command:
    """One call of a program of the batch system; never through a shell."""

    argv: tuple[str, ...]
    stdin: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables besides our own environment, such as ``LC_ALL=C`` or the format of times."""
    bare: bool = False
    """Whether it sees nothing of our environment but what it needs to run: the system hands on to jobs what it sees."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command left: its texts decoded with errors replaced, since systems pass on whatever bytes users wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """What it said about its failure, on whichever stream, as one line."""
        return " ".join((self.stderr.strip() or self.stdout.strip()).split())


class SystemDown(ClusterhubError):
    """The batch system does not answer: no news, neither good nor bad. Nothing is submitted anew or declared lost."""

    def __init__(self, message: str, *, reached: bool = True) -> None:
        self.reached = reached
        """Whether what was asked of it may have been done all the same; not where nobody took the call."""
        super().__init__(message)


class ArrayTooLarge(SubmitRejected):
    """The site takes smaller arrays only; ``largest`` is how many jobs one may hold, where it says so."""

    def __init__(self, message: str, *, source: str = "", largest: int | None = None) -> None:
        self.largest = largest
        super().__init__(message, source=source)


class Rejected(SubmitRejected):
    """A refusal, and ``because`` the key of a profile that decides it."""

    def __init__(self, message: str, *, source: str = "", because: str = "") -> None:
        self.because = because
        super().__init__(message, source=source)


class JobState(StrEnum):
    """Where the batch system says that a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    """Told to end, or past its end, and not yet wholly gone: it neither works nor frees its place."""
    DONE = "done"
    """Gone; ``Exit`` says how."""


class Ending(StrEnum):
    """How a job ended, as far as the batch system itself knows."""

    OK = "ok"
    EXIT = "exit"
    """By an exit code of its script's own."""
    SIGNAL = "signal"
    WALLTIME = "walltime"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    """From outside, or by us: only the loop knows which."""
    NODE = "node"
    """Its node failed."""
    LAUNCH = "launch"
    """It could not be started at all, as with a log folder that is not writable."""
    UNKNOWN = "unknown"
    """It is gone, and the system keeps no record of how."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How one job ended."""

    ending: Ending
    code: int | None = None
    """The exit code of the script, 0 to 255, where it had one."""
    signal: int | None = None
    words: str = ""
    """The system's own words."""
    ran: bool = True
    """Whether it had been started at all."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job (a member of an array counts as one), as the batch system tells of it."""

    id: str
    """The system's own id of this one job: ``30_4``, ``27[4].pbshost``, ``31``."""
    array: str
    """The id of its submission: ``30``, ``27[].pbshost``; that of the job itself where it is no member of an array."""
    index: int
    """Its index in its array, 0 for a job of its own."""
    name: str
    """The name it was submitted under: the loop's key."""
    state: JobState
    where: str = ""
    """The node that it runs on."""
    source: str = ""
    """The system's own words for why it waits: ``Not Running: Insufficient amount of resource: ncpus``."""
    reason: str = ""
    """The same in our words: ``needs 24 free cores, 6 are free``; never empty for a pending job."""
    never: bool = False
    """Whether the system says that it can never run as it was asked for."""
    because: str = ""
    """The key of a profile that decides ``never``, where there is one."""
    stuck: bool = False
    """Whether the system has stopped trying to start it, as after a failure of its node: another may do better."""
    starts: datetime | None = None
    """When the system expects to start it; with a time zone."""
    started: datetime | None = None
    """When it began to run; with a time zone."""
    limit: float | None = None
    """Seconds for which it may run, as the system granted them: a queue's default where nobody asked."""
    restarts: int = 0
    """How often the system has started it anew under the same id."""
    exit: Exit | None = None
    """How it ended, once it is DONE and as far as a listing says."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is submitted at once: ``count`` like jobs, as one array where there is more than one."""

    name: str
    """At most 15 characters, which is what PBS takes: letters and digits, a letter first. The key it is found again by."""
    count: int
    script: str
    """The whole text of the job script, with its directives."""
    at_a_time: int | None = None
    """How many of them may run at a time, until :meth:`Driver.unthrottle`; None for all."""


class Driver(ABC):
    """One batch system. Every method is pure: it reads nothing but its arguments."""

    system: ClassVar[str]
    """What people call it: PBS, SLURM."""
    commands: ClassVar[tuple[str, ...]]
    """The programs that have to be on PATH."""
    directive: ClassVar[str]
    """What a directive in a script begins with: ``#PBS``, ``#SBATCH``."""
    index_variable: ClassVar[str]
    """What expands in a job to its index in its array, and to nothing outside of one: ``PBS_ARRAY_INDEX``."""
    job_variable: ClassVar[str]
    """What expands in a job to its id."""
    restarts_variable: ClassVar[str] = ""
    """What expands in a job to how often it was started anew, where the system counts that."""
    largest_array: ClassVar[int]
    """The most jobs in one submission; a site may allow fewer, which :meth:`submitted` finds out."""

    @abstractmethod
    def submit(self, submission: Submission) -> Command:
        """Submits it."""

    @abstractmethod
    def submitted(self, submission: Submission, output: Output) -> str:
        """The id of what was submitted (``Job.array``).

        Raises SubmitRejected (permanent; in our words with the system's as ``source``), QueueFull (a limit on the number of
        jobs; transient), SystemDown.
        """

    @abstractmethod
    def unthrottle(self, array: str) -> Command:
        """Lets all jobs of ``array`` run at a time, which was submitted with fewer (``Submission.at_a_time``)."""

    def limits(self, user: str) -> Sequence[Command]:
        """What asks how many jobs ``user`` may have, after a QueueFull without figures; none where no system tells."""
        return ()

    def limited(self, full: QueueFull, submission: Submission, outputs: Sequence[Output]) -> QueueFull:
        """``full`` with its figures, as far as the answers to :meth:`limits` tell; ``submission`` is what was refused.

        The answers are in the order of the questions; the last may be missing, where they were not waited for.
        Raises SubmitRejected where the answers show that it was refused for something else, which no waiting mends.
        """
        return full

    @abstractmethod
    def member(self, array: str, index: int, count: int) -> str:
        """The id of one job of the submission ``array``, which has ``count`` of them."""

    @abstractmethod
    def listing(self, user: str, arrays: Sequence[str]) -> Command:
        """Lists the jobs of ``arrays``, or of ``user`` where there are none, briefly: one command, whatever their number."""

    @abstractmethod
    def listed(self, output: Output) -> Sequence[Job]:
        """The jobs of a listing, the members of arrays apart. Those that ended may be missing. Raises SystemDown."""

    @abstractmethod
    def details(self, ids: Sequence[str]) -> Sequence[Command]:
        """What asks how these jobs ended; several ways, the best first: accounting may be off, history purged."""

    @abstractmethod
    def detailed(self, output: Output) -> Mapping[str, Job]:
        """The jobs that the answer tells of, by id; those that the system has forgotten are missing. Raises SystemDown."""

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> Sequence[Command]:
        """Ends these jobs or arrays, pending and running alike; as few commands as the system allows."""

    @abstractmethod
    def cancelled(self, output: Output) -> None:
        """Returns where the jobs are ending or were gone already. Raises SystemDown, else ClusterhubError with what it said."""

    def inside(self, environ: Mapping[str, str]) -> str:
        """The id of the job whose processes have the environment ``environ``, and end with it; empty outside of any."""
        return environ.get(self.job_variable, "")

    def tenure(self, id_: str) -> Command | None:
        """Asks when a running job will have to end; None where the system cannot be asked."""
        return None

    def ends(self, output: Output) -> datetime | None:
        """When the job that :meth:`tenure` asked about has to end, with a time zone; None where that is not known."""
        return None

    @abstractmethod
    def version(self) -> Command:
        """Asks for the version, for ``check``; its words are shown as they are."""

    def inquiries(self, wish: Wish) -> Sequence[Command]:
        """Ask what can be known before anything is submitted: of queues, nodes, and this user's limits. Nothing by default."""
        return ()

    def facts(self, wish: Wish, answers: Sequence[Output | None]) -> Facts:
        """What the answers to :meth:`inquiries` come to, each None where its command is missing or did not end."""
        return Facts()
