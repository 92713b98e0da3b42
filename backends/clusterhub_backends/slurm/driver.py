"""SLURM's commands, 20.11 and later: explicit fields rather than JSON, whose shape changed between versions.

Sources: squeue(1), sbatch(1), scontrol(1), sacct(1) and the "Job State Codes" of SLURM's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from clusterhub import ClusterhubError, QueueFull
from clusterhub_backends.batch.driver import (
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
from clusterhub_backends.batch.queues import Facts, Wish
from clusterhub_backends.slurm import queues
from clusterhub_backends.slurm.limits import is_told, questions, tightest
from clusterhub_backends.slurm.reasons import decides, in_our_words, is_stuck
from clusterhub_backends.slurm.refusals import DOWN, away, names_its_limit, refusal_of

FORMAT = "%i|%F|%K|%T|%S|%l|%N|%r|%j"
"""Id, array, index, state, start, time limit, nodes, reason and, last since it may hold anything, the name."""
FIELDS = 9
BULK = 200
"""Ids in one command line, which has a limit."""
TIMES = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
"""Seconds, and lists of indices in full: longer ones than 64 characters would end in dots."""
ID = re.compile(r"(?:Submitted batch job )?(?P<id>\d+)(?:;\S+| on cluster \S+)?", re.ASCII)
"""As ``--parsable`` gives it, with its cluster in a federation, or as a wrapper around sbatch says it all the same."""
UNKNOWN = re.compile(r"Invalid job id specified", re.IGNORECASE)
GONE = re.compile(
    r"Invalid job id|already (?:completing|finished|completed)|not pending nor running|no longer pending|not running",
    re.IGNORECASE,
)
"""Of a job that is not there to be cancelled any more."""
STATES = {
    **dict.fromkeys(
        (
            "PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
            "SPECIAL_EXIT", "SUSPENDED", "STOPPED",
        ),
        JobState.PENDING,
    ),
    **dict.fromkeys(("RUNNING", "SIGNALING", "RESIZING", "EXPEDITING", "UPDATE_DB"), JobState.RUNNING),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT"), JobState.ENDING),
}  # fmt: skip
HELD = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT"})
ENDINGS = {
    "COMPLETED": Ending.OK, "TIMEOUT": Ending.WALLTIME, "DEADLINE": Ending.WALLTIME, "OUT_OF_MEMORY": Ending.MEMORY,
    "NODE_FAIL": Ending.NODE, "BOOT_FAIL": Ending.NODE, "CANCELLED": Ending.CANCELLED, "PREEMPTED": Ending.CANCELLED,
    "REVOKED": Ending.CANCELLED, "LAUNCH_FAILED": Ending.LAUNCH, "RECONFIG_FAIL": Ending.LAUNCH,
}  # fmt: skip
ENDS = frozenset({*ENDINGS, "FAILED"})
SETUP_FAILED = 53
"""The signal that slurmd names where it could not set a job up, as with a log folder that it cannot write."""


class SlurmDriver(Driver):
    """Pure: arguments in, meaning of outputs out."""

    system = "SLURM"
    commands = ("sbatch", "squeue", "scancel", "scontrol")
    directive = "#SBATCH"
    index_variable = "SLURM_ARRAY_TASK_ID"
    job_variable = "SLURM_JOB_ID"
    restarts_variable = "SLURM_RESTART_COUNT"
    largest_array = 1000

    def submit(self, submission: Submission) -> Command:
        """By sbatch, the script on its standard input; see ``--export`` in the directives for why it is run bare.

        Variables such as ``SBATCH_QOS`` would go before what the script says.
        """
        throttle = f"%{submission.at_a_time}" if submission.at_a_time is not None else ""
        array = (f"--array=0-{submission.count - 1}{throttle}",) if submission.count > 1 else ()
        return Command(("sbatch", "--parsable", *array), stdin=submission.script, bare=True)

    def submitted(self, submission: Submission, output: Output) -> str:
        """The id, in the last line that holds one: sites greet before, and some after."""
        if output.code != 0:
            raise refusal_of(output.words)
        for line in reversed(output.stdout.splitlines()):
            if match := ID.fullmatch(line.strip()):
                return match["id"]
        raise SystemDown(f"sbatch gave no id: {output.words or 'it said nothing'}")

    def unthrottle(self, array: str) -> Command:
        """By scontrol, to which 0 means all."""
        return Command(("scontrol", "update", f"JobId={array}", "ArrayTaskThrottle=0"))

    def limits(self, user: str) -> Sequence[Command]:
        """The controller's view of the user's associations and QOS, with what is used of each."""
        return questions(user)

    def limited(self, full: QueueFull, submission: Submission, outputs: Sequence[Output]) -> QueueFull:
        """With the limit that leaves the least room. Older versions do not say for which kind of limit they refuse."""
        limit = tightest(submission.script, outputs)
        room = limit is None or limit.free >= submission.count
        if room and not names_its_limit(full.source) and is_told(outputs):
            raise Rejected("your account's limits do not allow such a job", source=full.source, because="slurm.account")
        return full if limit is None else QueueFull(limit=limit.most, used=limit.used, source=full.source)

    def member(self, array: str, index: int, count: int) -> str:
        """``30_4``; a single job is no array."""
        return f"{array}_{index}" if count > 1 else array

    def listing(self, user: str, arrays: Sequence[str]) -> Command:
        """By squeue, members of arrays apart, those that ended lately included."""
        which = ("--jobs", ",".join(arrays)) if arrays else ("--user", user)
        argv = ("squeue", "--noheader", "--array", "--states=all", "--format", FORMAT, *which)
        return Command(argv, environment=TIMES)

    def listed(self, output: Output) -> Sequence[Job]:
        """The jobs of a listing. One that was purged is missing from it; of that alone squeue makes an error."""
        _raise_if_down(output)
        if output.code != 0:
            if UNKNOWN.search(output.words):
                return ()
            raise SystemDown(f"squeue: {output.words}")
        return tuple(job for line in output.stdout.splitlines() for job in _jobs(line))

    def details(self, ids: Sequence[str]) -> Sequence[Command]:
        """The controller's memory, an array at a time; then accounting, where there is some.

        Of members that were cancelled together there is one record, which their own ids do not find.
        """
        arrays = list(dict.fromkeys(id_.split("_")[0] for id_ in ids))
        show = ("scontrol", "--oneliner", "show", "job")
        fields = "JobID,JobName,State,ExitCode,NodeList"
        sacct = ("sacct", "--noheader", "--parsable2", "--allocations", "--format", fields, "--jobs")
        bulks = [arrays[start : start + BULK] for start in range(0, len(arrays), BULK)]
        return [
            *(Command((*show, array), environment=TIMES) for array in arrays),
            *(Command((*sacct, ",".join(bulk)), environment=TIMES) for bulk in bulks),
        ]

    def detailed(self, output: Output) -> Mapping[str, Job]:
        """What the controller or accounting says; nothing where neither knows.

        Accounting that is off or away is no outage: the controller does without it, and so do we.
        """
        if output.code != 0 and not output.words.startswith("sacct:"):
            _raise_if_down(output)
        if output.code != 0:
            return {}
        found = [
            job
            for line in output.stdout.splitlines()
            for job in (_shown(line) if line.startswith("JobId=") else _accounted(line))
        ]
        return {job.id: job for job in found}

    def cancel(self, ids: Sequence[str]) -> Sequence[Command]:
        """By scancel, which takes many; those that are gone are no error to it."""
        bulks = [ids[start : start + BULK] for start in range(0, len(ids), BULK)]
        return [Command(("scancel", *bulk)) for bulk in bulks]

    def cancelled(self, output: Output) -> None:
        """Returns unless something is wrong that is not merely that a job is gone."""
        _raise_if_down(output)
        lines = [line for line in output.stderr.splitlines() if line.strip() and not GONE.search(line)]
        if output.code != 0 and (lines or not output.stderr.strip()):
            raise ClusterhubError(f"scancel: {' '.join(' '.join(lines).split()) or f'it ended with {output.code}'}")

    def inside(self, environ: Mapping[str, str]) -> str:
        """By what slurmd sets: the shell of a plain ``salloc`` knows the job too, and runs on the login node beside it."""
        return environ.get(self.job_variable, "") if environ.get("SLURMD_NODENAME") else ""

    def tenure(self, id_: str) -> Command:
        """By squeue."""
        argv = ("squeue", "--noheader", "--jobs", id_, "--format", "%e")
        return Command(argv, environment={"SLURM_TIME_FORMAT": "%s"})

    def ends(self, output: Output) -> datetime | None:
        """Seconds since the epoch; words where the job has no limit."""
        return _moment(output.stdout.strip()) if output.code == 0 else None

    def version(self) -> Command:
        """As ``slurm 22.05.8``."""
        return Command(("sbatch", "--version"))

    def inquiries(self, wish: Wish) -> Sequence[Command]:
        """Of partitions, nodes, limits and accounts; see :mod:`clusterhub_backends.slurm.queues`."""
        return queues.inquiries(wish)

    def facts(self, wish: Wish, answers: Sequence[Output | None]) -> Facts:
        """What they come to."""
        return queues.facts(wish, answers)


def _raise_if_down(output: Output) -> None:
    if output.code != 0 and DOWN.search(output.words):
        raise away(output.words)


# Listings


def _jobs(line: str) -> Iterator[Job]:
    """The jobs of one line of a listing; none for what is no such line, such as a message of a plugin.

    It is one job, but for members of an array that were cancelled before SLURM had told them apart. What ended without a node
    and without an index is left out: it may be a job, or what is left of an array whose members were cancelled one by one.
    """
    fields = line.split("|", FIELDS - 1)
    if len(fields) < FIELDS or not fields[0][:1].isdigit():
        return
    array, indices, word, nodes = (fields[column].strip() for column in (1, 2, 3, 6))
    if indices[:1].isdigit():
        for index in _indices(indices):
            yield _job(f"{array}_{index}", index, fields)
    elif nodes or word not in ENDS:
        yield _job(array, 0, fields)


def _indices(text: str) -> Iterator[int]:
    """``0-1``, ``2,5-7%2``: the indices that are meant, without the limit on how many run at a time."""
    for part in text.split("%")[0].split(","):
        match = re.fullmatch(r"(\d{1,8})(?:-(\d{1,8})(?::(\d{1,8}))?)?", part.strip(), re.ASCII)
        if match:
            yield from range(int(match[1]), int(match[2] or match[1]) + 1, max(1, int(match[3] or 1)))


def _state(word: str, nodes: str) -> JobState:
    """One that this does not know yet is that of a job which is there: only ends that are known are ends."""
    if word in ENDS:
        return JobState.DONE
    return STATES.get(word, JobState.RUNNING if nodes else JobState.PENDING)


def _job(id_: str, index: int, fields: Sequence[str]) -> Job:
    _, array, _, word, start, limit, nodes, words, name = (field.strip() for field in fields)
    state = _state(word, nodes)
    started = _moment(start) if state is JobState.RUNNING else None
    job = Job(id_, array, index, name, state, where=nodes, started=started, limit=_seconds(limit))
    return _waiting(job, word, words, start) if state is JobState.PENDING else job


def _waiting(job: Job, word: str, words: str, start: str) -> Job:
    because = decides(words)
    return replace(
        job,
        source=words if words not in ("None", "") else "" if word == "PENDING" else word,
        reason=in_our_words(words, word),
        never=because is not None,
        because=because or "",
        stuck=is_stuck(words) or word in HELD,
        starts=_moment(start),
    )


def _seconds(text: str) -> float | None:
    """``1-02:00:00``, ``12:00:00``, ``1:00``; None for ``UNLIMITED``, ``NOT_SET`` and what is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text, re.ASCII)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if re.fullmatch(r"[1-9]\d{0,10}", text, re.ASCII) else None


# How jobs ended


def _shown(line: str) -> Iterator[Job]:
    """The jobs of one line of ``scontrol --oneliner show job``: members that were cancelled together share one."""
    fields = _pairs(line)
    word, reason = fields.get("JobState", ""), fields.get("Reason", "")
    nodes = fields.get("NodeList", "").replace("(null)", "")
    if not word:
        return
    state = _state(word, nodes)
    array, task = fields.get("ArrayJobId", ""), fields.get("ArrayTaskId", "")
    for index in _indices(task) if array else (0,):
        job = Job(
            id=f"{array}_{index}" if array else fields["JobId"],
            array=array or fields["JobId"],
            index=index,
            name=fields.get("JobName", ""),
            state=state,
            where=nodes,
            restarts=int(fields["Restarts"]) if fields.get("Restarts", "").isdecimal() else 0,
            exit=exit_of(word, fields.get("ExitCode", ""), reason, ran=bool(nodes)) if state is JobState.DONE else None,
        )
        yield _waiting(job, word, reason, fields.get("StartTime", "")) if state is JobState.PENDING else job


def _pairs(line: str) -> dict[str, str]:
    """``Name=value`` by blanks; of a name that comes twice the first, for what users write comes last."""
    pairs = re.findall(r"(?:^|(?<=\s))([A-Za-z][\w:/]*)=(\S*)", line)
    return dict(reversed(pairs))


def _accounted(line: str) -> Iterator[Job]:
    """The jobs of one line of sacct that ended. Whether one lives is not for accounting to say: it hears late."""
    fields = line.split("|")
    if len(fields) != 5 or not fields[0][:1].isdigit():
        return
    id_, name, said, code, nodes = fields
    word = said.split()[0] if said else ""  # "CANCELLED by 1000"
    if word not in ENDS:
        return
    where = "" if nodes == "None assigned" else nodes
    array, _, task = id_.partition("_")
    for index in _indices(task.strip("[]")) if task else (0,):
        yield Job(
            id=f"{array}_{index}" if task else id_,
            array=array,
            index=index,
            name=name,
            state=JobState.DONE,
            where=where,
            exit=exit_of(word, code, said.removeprefix(word).strip(), ran=bool(where)),
        )


def exit_of(word: str, code: str, reason: str, *, ran: bool) -> Exit:
    """How a job of the final state ``word`` ended. ``code`` is the script's and the signal that ended it, as ``127:0``."""
    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", code, re.ASCII)
    status, signal = (int(match[1]), int(match[2])) if match else (None, 0)
    words = " ".join(part for part in (word, reason, code) if part)
    if signal == SETUP_FAILED:
        return Exit(Ending.LAUNCH, None, None, words, ran=False)
    if word in ENDINGS:
        return Exit(ENDINGS[word], status, signal or None, words, ran=ran)
    if signal:
        return Exit(Ending.SIGNAL, status, signal, words, ran=ran)
    return Exit(Ending.EXIT, status, None, words, ran=ran)
