"""A batch system and a scheduler in memory, for the control loop: what they say is decided by the test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clusterhub import Plan, QueueFull, SubmitRejected
from clusterhub.backend import NoOptions
from clusterhub.spec import ClusterSpec
from clusterhub_backends.batch.commands import Commands
from clusterhub_backends.batch.driver import (
    ArrayTooLarge,
    Command,
    Driver,
    Ending,
    Exit,
    Job,
    JobState,
    Output,
    Rejected,
    Submission,
    SystemDown,
)
from clusterhub_backends.batch.loop import Loop
from clusterhub_backends.batch.names import prefix_of

UID = "3f2a1c9d" + 24 * "0"


@dataclass(eq=False)
class Entry:
    """One job in the queue."""

    number: int
    index: int
    count: int
    name: str
    state: str = "pending"
    ending: str = ""
    code: int = 0
    never: bool = False
    limit: float | None = None
    restarts: int = 0

    @property
    def id(self) -> str:
        return f"{self.number}.{self.index}" if self.count > 1 else str(self.number)

    @property
    def alive(self) -> bool:
        return self.state != "done"


@dataclass
class Queue:
    """The batch system: answers commands, and keeps their count."""

    entries: list[Entry] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    limit: int | None = None
    tells_limit: bool = True
    largest: int = 1000
    down: str = ""
    """What it says of itself while it does not answer."""
    lose_answer: bool = False
    """The next submission is done, and the client hears nothing of it."""
    late: list[Callable[[], None]] = field(default_factory=list)
    refuses: str = ""
    on_submit: Callable[[list[Entry]], None] = lambda made: None
    """Told of jobs before they are there."""
    throttles: bool = True
    throttled: set[str] = field(default_factory=set)
    """Submissions of which only a few may run."""
    deaf: bool = False
    """It takes the end of jobs, and does nothing."""
    number: int = 0

    def __call__(self, command: Command) -> Output:
        what, *words = command.argv
        self.asked[what] += 1
        if self.down:
            return Output(1, "", self.down)
        return getattr(self, f"_{what}")(words, command.stdin or "")

    def _submit(self, words: Sequence[str], script: str) -> Output:
        count, name = int(words[0]), words[1]
        if words[2] and not self.throttles:
            return Output(1, "", "illegal value")
        if self.refuses:
            return Output(1, "", self.refuses)
        if count > self.largest:
            return Output(1, "", "array too large")
        if self.limit is not None and len(self.alive()) + count > self.limit:
            return Output(1, "", "over the limit")
        self.number += 1
        made = [Entry(self.number, index, count, name) for index in range(count)]
        if words[2]:
            self.throttled.add(str(self.number))
        self.on_submit(made)
        self.entries += made  # last, since the test looks from another thread
        if self.lose_answer:
            self.lose_answer = False
            return Output(1, "", "timed out")
        return Output(0, str(self.number), "")

    def _list(self, words: Sequence[str], _: str) -> Output:
        found = [e for e in self.entries if e.alive and (not words or str(e.number) in words)]
        return Output(0, json.dumps([vars(e) | {"id": e.id} for e in found]), "")

    def _detail(self, words: Sequence[str], _: str) -> Output:
        return Output(0, json.dumps([vars(e) | {"id": e.id} for e in self.entries if e.id in words]), "")

    def _cancel(self, words: Sequence[str], _: str) -> Output:
        for entry in [] if self.deaf else self.entries:
            if entry.alive and (entry.id in words or str(entry.number) in words):
                entry.state, entry.ending = "done", "cancelled"
        return Output(0, "", "")

    def _unthrottle(self, words: Sequence[str], _: str) -> Output:
        self.throttled.discard(words[0])
        return Output(0, "", "")

    def _limit(self, words: Sequence[str], _: str) -> Output:
        return Output(0, str(self.limit if self.tells_limit else ""), "")

    def alive(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.alive]


class FakeDriver(Driver):
    """Reads and writes what the queue above does."""

    system = "FAKE"
    commands = ("submit", "list")
    directive = "#FAKE"
    index_variable = "FAKE_INDEX"
    job_variable = "FAKE_JOB"
    largest_array = 1000

    def submit(self, submission: Submission) -> Command:
        throttle = str(submission.at_a_time or "")
        return Command(("submit", str(submission.count), submission.name, throttle), stdin=submission.script)

    def unthrottle(self, array: str) -> Command:
        return Command(("unthrottle", array))

    def submitted(self, submission: Submission, output: Output) -> str:
        self._raise_if_down(output)
        if "limit" in output.stderr:
            raise QueueFull(source=output.stderr)
        if "too large" in output.stderr:
            raise ArrayTooLarge(output.stderr)
        if output.code:
            raise (
                Rejected(output.stderr, because="fake.queue")
                if "queue" in output.stderr
                else SubmitRejected(output.stderr)
            )
        return str(int(output.stdout))

    def member(self, array: str, index: int, count: int) -> str:
        return f"{array}.{index}" if count > 1 else array

    def limits(self, user: str) -> Sequence[Command]:
        return [Command(("limit",))]

    def limited(self, full: QueueFull, submission: Submission, outputs: Sequence[Output]) -> QueueFull:
        return QueueFull(limit=int(outputs[0].stdout), source=full.source) if outputs[0].stdout else full

    def listing(self, user: str, arrays: Sequence[str]) -> Command:
        return Command(("list", *arrays))

    def listed(self, output: Output) -> Sequence[Job]:
        self._raise_if_down(output)
        return [_job(record) for record in json.loads(output.stdout)]

    def details(self, ids: Sequence[str]) -> Sequence[Command]:
        return [Command(("detail", *ids))]

    def detailed(self, output: Output) -> dict[str, Job]:
        self._raise_if_down(output)
        return {record["id"]: _job(record) for record in json.loads(output.stdout)}

    def cancel(self, ids: Sequence[str]) -> Sequence[Command]:
        return [Command(("cancel", *ids))]

    def cancelled(self, output: Output) -> None:
        self._raise_if_down(output)

    def version(self) -> Command:
        return Command(("version",))

    def _raise_if_down(self, output: Output) -> None:
        if "timed out" in output.stderr or "refused" in output.stderr:
            raise SystemDown(output.stderr, reached="refused" not in output.stderr)


def _job(record: dict[str, Any]) -> Job:
    state = JobState(record["state"])
    end = Exit(Ending(record["ending"]), code=record["code"]) if state is JobState.DONE and record["ending"] else None
    return Job(
        id=record["id"],
        array=str(record["number"]),
        index=record["index"],
        name=record["name"],
        state=state,
        where="n1" if state is not JobState.PENDING else "",
        reason="waits for its turn" if state is JobState.PENDING else "",
        never=record["never"],
        limit=record["limit"],
        restarts=record["restarts"],
        exit=end,
    )


class Link:
    """The line to a scheduler whose workers the test decides about."""

    def __init__(self) -> None:
        self.workers: dict[str, str] = {}
        self.target = 0
        self.stuck: set[str] = set()
        """Addresses of workers whose results nobody can take."""
        self.retired: list[str] = []
        self.running: dict[str, float] = {}
        self.warnings: list[str] = []

    async def names(self) -> dict[str, str]:
        return dict(self.workers)

    async def adaptive_target(self, duration: float) -> int:
        return self.target

    async def workers_to_close(self, n: int) -> list[str]:
        return list(self.workers)

    async def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        if function.__name__ == "processing":
            return dict(self.running)
        if function.__name__ == "warn_clients":
            self.warnings.append(arguments["message"])
        if function.__name__ == "still_to_do":
            return [key for key in arguments["keys"] if key in self.running]
        return {}

    async def retire(self, workers: Sequence[str]) -> frozenset[str]:
        gone = [address for address in workers if address not in self.stuck]
        self.retired += gone
        for address in gone:
            self.workers.pop(address, None)
        return frozenset(gone)


class World:
    """A loop, its queue and its scheduler."""

    def __init__(self, workers: Any, *, per_job: int = 1, walltime: str | None = None) -> None:
        job = {"workers_per_job": per_job, "startup_timeout": "30s"} | ({"walltime": walltime} if walltime else {})
        spec = ClusterSpec.model_validate({"backend": "fake", "workers": workers, "job": job})
        plan: Plan[Any] = Plan(name="eddies", backend="fake", spec=spec, options=NoOptions(), uid=UID)
        self.per_job = per_job
        self.queue = Queue()
        self.link = Link()
        self.loop = Loop(
            plan,
            FakeDriver(),
            self.link,  # type: ignore[arg-type]
            lambda name, count: f"{name} {count}",
            lambda member: None,
            Commands(self.queue),
        )

    def start(self, entries: Sequence[Entry] | None = None, *, workers: int | None = None) -> None:
        """These jobs run (all that wait, by default), and bring their workers."""
        for entry in self.queue.alive() if entries is None else entries:
            if entry.state == "pending":
                entry.state = "running"
                for number in range(self.per_job if workers is None else workers):
                    name = f"{entry.name}-{entry.index}-r{entry.restarts}-{number}"
                    self.link.workers[f"tcp://{entry.id}:{entry.restarts}{number}"] = name

    def end(self, entry: Entry, ending: str = "exit", code: int = 1) -> None:
        """This job ends, and its workers with it."""
        entry.state, entry.ending, entry.code = "done", ending, code
        self.leave(entry)

    def leave(self, entry: Entry) -> None:
        """Its workers go."""
        gone = [address for address in self.link.workers if address.startswith(f"tcp://{entry.id}:")]
        for address in gone:
            del self.link.workers[address]

    @property
    def states(self) -> Counter[str]:
        return Counter(str(member.state) for member in self.loop.roster)


def ours(name: str) -> bool:
    return name.startswith(prefix_of(UID))
