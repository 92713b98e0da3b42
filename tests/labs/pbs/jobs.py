"""Nodes, queues and jobs, and their attributes as PBS shows them."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labs.pbs.submission import Asked, Chunk, clock, seconds_of, size_of


@dataclass
class Node:
    """An execution host: figures only, since all jobs run on this machine."""

    name: str
    ncpus: int
    mem: int
    up: bool = True
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each job that is here, its number, cores and bytes."""

    @property
    def free_cpus(self) -> int:
        return self.ncpus - sum(cpus for cpus, _ in self.slots.values()) if self.up else 0

    @property
    def free_mem(self) -> int:
        return self.mem - sum(mem for _, mem in self.slots.values()) if self.up else 0

    def takes(self, chunk: Chunk, cpus: int, mem: int) -> bool:
        """Whether one such chunk has room, besides what was given away in this round."""
        return (
            (not chunk.host or chunk.host == self.name)
            and self.free_cpus - cpus >= chunk.ncpus
            and self.free_mem - mem >= chunk.mem
        )


@dataclass
class Queue:
    """A queue and its limits."""

    name: str
    enabled: bool = True
    started: bool = True
    resources_max: dict[str, str] = field(default_factory=dict)
    resources_default: dict[str, str] = field(default_factory=dict)

    def violated_by(self, asked: Asked) -> bool:
        """Whether the job is larger than the queue allows."""
        for name, most in self.resources_max.items():
            if name == "walltime":
                wanted = seconds_of(asked.resources.get("walltime", "0"))
                if wanted is None or wanted > (seconds_of(most) or 0):
                    return True
            elif (name == "ncpus" and asked.ncpus > int(most)) or (name == "mem" and asked.mem > (size_of(most) or 0)):
                return True
        return False


@dataclass(eq=False)
class Run:
    """One job that can run: a job of its own, or a member of an array."""

    job: Job
    index: int | None
    state: str = "Q"
    substate: int = 10
    places: list[tuple[Node, int, Chunk]] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)
    """The attributes that it has from running."""
    comment: str | None = None
    count: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    verdict: int | None = None
    """Why the server ends it, as an exit status: 271 after qdel."""
    told: float = 0.0
    """When it was told to end."""
    stdout: str = ""
    stderr: str = ""
    files: list[tuple[str, str]] = field(default_factory=list)
    """What is to be delivered at its end, and where to."""
    finished: float = 0.0
    exit: int | None = None
    error: str = ""

    @property
    def id(self) -> str:
        return self.job.id if self.index is None else self.job.id.replace("[]", f"[{self.index}]")

    @property
    def over(self) -> bool:
        return self.state in "FX"

    @property
    def ran(self) -> bool:
        return bool(self.count)


@dataclass(eq=False)
class Job:
    """One submission."""

    number: int
    server: str
    asked: Asked
    queue: Queue
    owner: str
    host: str
    created: float
    runs: list[Run] = field(default_factory=list)
    comment: str | None = None
    began: float | None = None
    changed: float = 0.0
    held: str = "n"
    finished: float = 0.0

    def __post_init__(self) -> None:
        self.changed = self.created
        indices = self.asked.indices
        self.runs = [Run(self, None)] if indices is None else [Run(self, index) for index in indices]

    @property
    def is_array(self) -> bool:
        return self.asked.indices is not None

    @property
    def id(self) -> str:
        return f"{self.number}{'[]' if self.is_array else ''}.{self.server}"

    @property
    def over(self) -> bool:
        return bool(self.finished)

    @property
    def state(self) -> str:
        if self.over:
            return "F"
        if self.is_array and self.began is not None:
            return "B"
        if self.held != "n":
            return "H"
        if self.asked.begins is not None and self.asked.begins > time.time():
            return "W"
        return "Q" if self.is_array else self.runs[0].state

    @property
    def has_its_share(self) -> bool:
        """Whether as many of its members run as may at a time."""
        return self.asked.at_a_time is not None and sum(run.state in "RE" for run in self.runs) >= self.asked.at_a_time

    def member(self, index: int) -> Run | None:
        return next((run for run in self.runs if run.index == index), None)

    def path(self, kind: str, index: str) -> str:
        """Where its output goes: what was asked for, or in the folder of its submission, or at home."""
        asked, name = self.asked, self.asked.name
        given = asked.output if kind == "o" else asked.error
        if given is None:
            base = home(asked) if kind in asked.keep and "d" not in asked.keep else asked.cwd
            return f"{base}/{name}.{kind}{self.number}{f'.{index}' if self.is_array else ''}"
        given = given.partition(":")[2] if ":" in given.partition("/")[0] else given
        path = os.path.join(asked.cwd, given)  # noqa: PTH118 - which keeps a slash at the end
        return path + "/" if given.endswith("/") and not path.endswith("/") else path

    # Attributes

    def attributes(self) -> dict[str, str]:
        """Of the job, or of an array as such."""
        if not self.is_array:
            return self._run_attributes(self.runs[0])
        shown = self._common("^array_index^") | {
            "job_state": self.state,
            "Checkpoint": "u",
            "Hold_Types": self.held,
            "substate": str(self._substate()),
            "Submit_arguments": " ".join(self.asked.argv),
            "array": "True",
            "array_state_count": self._counts(),
            "array_indices_submitted": self._indices(),
            "array_indices_remaining": self._remaining(),
        }
        if self.began is not None:
            shown["stime"] = time.ctime(self.began)
        if self.comment is not None:
            shown["comment"] = self.comment
        ended = [run.exit for run in self.runs if run.exit is not None]
        if ended:
            shown |= {"Exit_status": "1" if any(ended) else "0", "Stageout_status": "1"}
        if self.over:
            shown |= {"obittime": time.ctime(self.finished), "history_timestamp": str(int(self.finished))}
        return shown

    def member_attributes(self, run: Run) -> dict[str, str]:
        """Of a member: of one that has not run, mostly those of its array."""
        if run.ran:
            shown = self._run_attributes(run)
            for name in ("Checkpoint", "Hold_Types", "Submit_arguments"):
                shown.pop(name, None)
            return shown | {"array_id": self.id, "array_index": str(run.index)}
        shown = self.attributes()
        gone = (
            "array",
            "array_state_count",
            "array_indices_submitted",
            "array_indices_remaining",
            "project",
            "Submit_Host",
        )
        for name in gone:
            shown.pop(name, None)
        shown["job_state"] = run.state if run.over else "Q" if self.state == "B" else self.state
        if run.comment is not None:
            shown["comment"] = run.comment
        return shown

    def _run_attributes(self, run: Run) -> dict[str, str]:
        index = "" if run.index is None else str(run.index)
        state = run.state if run.ran or run.over or self.is_array else self.state
        shown = self._common(index) | {
            "job_state": state,
            "Checkpoint": "u",
            "Hold_Types": self.held,
            "substate": str({"H": 22 if self.asked.depend else 20, "W": 30}.get(state, run.substate)),
            "Submit_arguments": " ".join(self.asked.argv),
        }
        comment = run.comment if run.ran or self.is_array or run.over else self.comment
        if comment is not None and state not in "HW":
            shown["comment"] = comment
        if run.count:
            shown["run_count"] = str(run.count)
        return shown | run.own

    def _common(self, index: str) -> dict[str, str]:
        asked, host = self.asked, f"{self.host}"
        created = time.ctime(self.created)
        shown = {
            "Job_Name": asked.name,
            "Job_Owner": f"{self.owner}@{host}",
            "queue": self.queue.name,
            "server": self.server,
            "ctime": created,
            "Error_Path": f"{host}:{self.path('e', index)}",
            "Join_Path": asked.join,
            "Keep_Files": asked.keep,
            "Mail_Points": asked.mail,
            "mtime": time.ctime(self.changed),
            "Output_Path": f"{host}:{self.path('o', index)}",
            "Priority": str(asked.priority),
            "qtime": created,
            "Rerunable": str(asked.rerunnable),
            "Variable_List": ",".join(f"{name}={_escaped(value)}" for name, value in self.variables().items()),
            "project": asked.project,
            "Submit_Host": host,
        }
        shown |= {f"Resource_List.{name}": value for name, value in asked.resources.items()}
        if asked.account is not None:
            shown["Account_Name"] = asked.account
        if asked.depend is not None:
            shown["depend"] = f"{asked.depend}@{self.server}"
        if asked.shell is not None:
            shown["Shell_Path_List"] = asked.shell
        if asked.begins is not None and self.state == "W":
            shown["Execution_Time"] = time.ctime(asked.begins)
        if self.state not in "HW":
            shown["etime"] = created
        return shown

    def variables(self) -> dict[str, str]:
        """Those that PBS makes of the submitter's, and those that were asked for."""
        theirs = self.asked.environment
        made = {
            "PBS_O_HOME": theirs.get("HOME"),
            "PBS_O_LANG": theirs.get("LANG"),
            "PBS_O_LOGNAME": theirs.get("LOGNAME", self.owner),
            "PBS_O_PATH": theirs.get("PATH"),
            "PBS_O_MAIL": theirs.get("MAIL"),
            "PBS_O_SHELL": theirs.get("SHELL"),
            "PBS_O_INTERACTIVE_AUTH_METHOD": "resvport",
            "PBS_O_INTERACTIVE_ENCRYPT_METHOD": "",
            "PBS_O_WORKDIR": self.asked.cwd,
            "PBS_O_SYSTEM": "Linux",
        }
        found = {name: value for name, value in made.items() if value is not None}
        return found | self.asked.variables | {"PBS_O_QUEUE": self.queue.name, "PBS_O_HOST": self.host}

    def _substate(self) -> int:
        if self.over:
            return 91 if all(run.verdict == 271 for run in self.runs) else 93 if any(r.exit for r in self.runs) else 92
        return {"B": 70, "H": 20, "W": 30}.get(self.state, 10)

    def _counts(self) -> str:
        states = [run.state for run in self.runs]
        counts = {"Queued": states.count("Q"), "Running": states.count("R"), "Exiting": states.count("E")}
        counts["Expired"] = sum(state in "FX" for state in states)
        return " ".join(f"{name}:{count}" for name, count in counts.items())

    def _indices(self) -> str:
        indices = self.asked.indices
        assert indices is not None
        return f"{indices[0]}-{indices[-1]}" + (f":{indices.step}" if indices.step > 1 else "")

    def _remaining(self) -> str:
        waiting = [run.index for run in self.runs if run.state == "Q" and run.index is not None]
        return ",".join(_spans(waiting)) or "-"


def home(asked: Asked) -> str:
    """Of the submitter, as the environment of the submission has it, so that a test may have one of its own."""
    return asked.environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir


def _spans(indices: list[int]) -> Iterator[str]:
    while indices:
        count = next((n for n in range(1, len(indices)) if indices[n] != indices[0] + n), len(indices))
        yield f"{indices[0]}-{indices[count - 1]}" if count > 1 else str(indices[0])
        indices = indices[count:]


def _escaped(value: str) -> str:
    return value.replace("\n", "\\n").replace(",", "\\,")


def queue_attributes(queue: Queue, states: Mapping[str, int]) -> dict[str, str]:
    """As ``qstat -Q -f`` shows them."""
    return {
        "queue_type": "Execution",
        "total_jobs": str(sum(states.values())),
        "state_count": state_count(states),
        **{f"resources_max.{name}": value for name, value in queue.resources_max.items()},
        **{f"resources_default.{name}": value for name, value in queue.resources_default.items()},
        "enabled": str(queue.enabled),
        "started": str(queue.started),
    }


def state_count(states: Mapping[str, int]) -> str:
    names = {"T": "Transit", "Q": "Queued", "H": "Held", "W": "Waiting", "R": "Running", "E": "Exiting", "B": "Begun"}
    return "".join(f"{name}:{states.get(letter, 0)} " for letter, name in names.items())


def used(seconds: float, cpu: float, rss: int, virtual: int, ncpus: int) -> dict[str, Any]:
    """What a job has used up."""
    return {
        "resources_used.cpupercent": str(int(100 * cpu / seconds) if seconds >= 1 else 0),
        "resources_used.cput": clock(cpu),
        "resources_used.mem": f"{rss // 1024}kb",
        "resources_used.ncpus": str(ncpus),
        "resources_used.vmem": f"{virtual // 1024}kb",
        "resources_used.walltime": clock(seconds),
    }
