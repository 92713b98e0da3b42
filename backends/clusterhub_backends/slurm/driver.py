"""SLURM's commands, 20.11 and later: explicit fields rather than JSON, whose shape changed between versions.

Sources: squeue(1), sbatch(1), scontrol(1), sacct(1), and the "Job Reason Codes" of SLURM's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from clusterhub import ClusterhubError, QueueFull
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
from clusterhub_backends.slurm.reasons import NEVER, in_our_words

FORMAT = "%i|%F|%K|%T|%S|%N|%r|%j"
"""Id, array, index, state, start, nodes, reason and, last since it may hold anything, the name."""
FIELDS = 8
BULK = 200
"""Ids in one command line, which has a limit."""
DOWN = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection refused|Zero Bytes were transmitted"
    r"|Communication connection failure|Transport endpoint is not connected|slurmdbd.*(?:refused|timed out)",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"Invalid job id specified", re.IGNORECASE)
FULL = re.compile(r"SubmitJobs?(?:Per\w+)?Limit|temporarily unable to accept job|Resource temporarily unavailable")
REJECTIONS = (
    (r"Invalid partition name", "there is no such partition", "slurm.partition"),
    (r"Invalid account", "the account is unknown, or may not use that partition", "slurm.account"),
    (r"Invalid qos", "the qos is unknown, or not yours", "slurm.qos"),
    (r"Requested time limit is invalid", "the walltime is longer than the partition allows", "job.walltime"),
    (r"More processors requested", "no node has so many cores", "worker.cores"),
    (r"node configuration is not available", "no node has so much memory or so many cores", "worker"),
    (r"Node count specification invalid", "the partition allows no such number of nodes", "slurm.partition"),
    (r"Invalid generic resource", "there is no such generic resource", "slurm.gres"),
    (r"Invalid feature specification", "no node has those features", "slurm.constraint"),
    (r"equested reservation", "the reservation is not yours or not there", "slurm.reservation"),
    (r"Invalid node name", "there is no such node", "slurm.nodelist"),
    (r"Access/permission denied", "the host of the keeper may not submit to that partition", "slurm.partition"),
    (r"accounting/QOS policy", "your account's limits do not allow such a job", "slurm.account"),
)  # fmt: skip
STATES = {
    "PENDING": JobState.PENDING, "CONFIGURING": JobState.PENDING, "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING, "REQUEUE_FED": JobState.PENDING, "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING, "SUSPENDED": JobState.PENDING, "STOPPED": JobState.PENDING,
    "RUNNING": JobState.RUNNING, "SIGNALING": JobState.RUNNING, "STAGE_OUT": JobState.ENDING,
    "COMPLETING": JobState.ENDING,
}  # fmt: skip
"""All others are ends."""
ENDINGS = {
    "COMPLETED": Ending.OK, "TIMEOUT": Ending.WALLTIME, "DEADLINE": Ending.WALLTIME, "OUT_OF_MEMORY": Ending.MEMORY,
    "NODE_FAIL": Ending.NODE, "BOOT_FAIL": Ending.NODE, "CANCELLED": Ending.CANCELLED, "PREEMPTED": Ending.CANCELLED,
    "REVOKED": Ending.CANCELLED,
}  # fmt: skip


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
        """By sbatch, the script on its standard input."""
        array = (f"--array=0-{submission.count - 1}",) if submission.count > 1 else ()
        return Command(("sbatch", "--parsable", *array), stdin=submission.script)

    def submitted(self, submission: Submission, output: Output) -> str:
        """The id, which ``--parsable`` gives as ``30`` or, in a federation, ``30;cluster``."""
        _raise_if_down(output)
        if output.code == 0:
            return output.stdout.strip().splitlines()[-1].split(";")[0]
        words = output.words
        if FULL.search(words):
            raise QueueFull(source=words)
        if "Invalid job array specification" in words:
            raise ArrayTooLarge("the site takes smaller arrays only", source=words)
        for pattern, meaning, key in REJECTIONS:
            if re.search(pattern, words):
                raise Rejected(meaning, source=words, because=key)
        raise Rejected("SLURM refuses the job", source=words)

    def listing(self, user: str, arrays: Sequence[str]) -> Command:
        """By squeue, members of arrays apart, those that ended lately included."""
        which = ("--jobs", ",".join(arrays)) if arrays else ("--user", user)
        argv = ("squeue", "--noheader", "--array", "--states=all", "--format", FORMAT, *which)
        return Command(argv, environment={"SLURM_TIME_FORMAT": "%s"})

    def listed(self, output: Output) -> Sequence[Job]:
        """The jobs of a listing. One that was purged is missing from it; of that alone squeue makes an error."""
        _raise_if_down(output)
        if output.code != 0:
            if UNKNOWN.search(output.words):
                return ()
            raise SystemDown(f"squeue: {output.words}")
        return tuple(job for line in output.stdout.splitlines() for job in _jobs(line))

    def details(self, ids: Sequence[str]) -> Sequence[Command]:
        """The controller's memory, an array at a time; then accounting, where there is some."""
        arrays = dict.fromkeys(id_.split("_")[0] for id_ in ids)
        asked = [Command(("scontrol", "--oneliner", "show", "job", array)) for array in arrays]
        fields = "JobID,JobName,State,ExitCode,NodeList"
        bulks = [ids[start : start + BULK] for start in range(0, len(ids), BULK)]
        sacct = [Command(("sacct", "-n", "-P", "-X", "-j", ",".join(bulk), "-o", fields)) for bulk in bulks]
        return [*asked, *sacct]

    def detailed(self, output: Output) -> Mapping[str, Job]:
        """What the controller or accounting says; nothing where neither knows."""
        _raise_if_down(output)
        if output.code != 0:
            return {}  # purged, or no accounting here
        found = [_shown(line) if line.startswith("JobId=") else _accounted(line) for line in output.stdout.splitlines()]
        return {job.id: job for job in found if job is not None}

    def cancel(self, ids: Sequence[str]) -> Sequence[Command]:
        """By scancel, which takes many; those that are gone are no error to it."""
        return [Command(("scancel", *ids[start : start + BULK])) for start in range(0, len(ids), BULK)]

    def cancelled(self, output: Output) -> None:
        """Returns unless something is wrong that is not merely that a job is gone."""
        _raise_if_down(output)
        if output.code != 0 and not re.search(r"Invalid job id|already completing|Job/step already", output.words):
            raise ClusterhubError(f"scancel: {output.words}")

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


def _raise_if_down(output: Output) -> None:
    if output.code != 0 and DOWN.search(output.words):
        raise SystemDown(output.words)


def _jobs(line: str) -> Iterator[Job]:
    """The jobs of one line of a listing; none for what is no such line, such as a message of a plugin.

    It is one job, but for members of an array that were cancelled before SLURM had told them apart.
    """
    fields = line.split("|", FIELDS - 1)
    if len(fields) == FIELDS and fields[0][:1].isdigit():
        array, indices = fields[1].strip(), fields[2].strip()
        if indices[:1].isdigit():
            for index in _indices(indices):
                yield _job(f"{array}_{index}", index, fields)
        else:
            yield _job(array, 0, fields)


def _indices(text: str) -> Iterator[int]:
    """``0-1``, ``2,5-7%2``: the indices that are meant, without the limit on how many run at a time."""
    for part in text.split("%")[0].split(","):
        first, _, rest = part.strip().partition("-")
        last, _, step = rest.partition(":")
        if first.isdigit():
            yield from range(int(first), int(last) + 1 if last.isdigit() else int(first) + 1, int(step or 1))


def _job(id_: str, index: int, fields: Sequence[str]) -> Job:
    _, array, _, word, start, nodes, words, name = (field.strip() for field in fields)
    state = STATES.get(word, JobState.DONE)
    pending = state is JobState.PENDING
    return Job(
        id=id_,
        array=array,
        index=index,
        name=name,
        state=state,
        where=nodes,
        source=words if pending and words not in ("None", "") else "",
        reason=in_our_words(words) if pending else "",
        never=pending and words in NEVER,
        starts=_moment(start) if pending else None,
        exit=None,
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() and int(text) > 0 else None


def _shown(line: str) -> Job | None:
    """One line of ``scontrol --oneliner show job``."""
    fields = dict(_pairs(line))
    word = fields.get("JobState", "")
    if not word:
        return None
    array, task = fields.get("ArrayJobId", ""), fields.get("ArrayTaskId", "")
    if array and not task.isdigit():
        return None  # the members that still wait, as one
    state = STATES.get(word, JobState.DONE)
    return Job(
        id=f"{array}_{task}" if array else fields["JobId"],
        array=array or fields["JobId"],
        index=int(task) if task else 0,
        name=fields.get("JobName", ""),
        state=state,
        where=fields.get("NodeList", "").replace("(null)", ""),
        restarts=int(fields["Restarts"]) if fields.get("Restarts", "").isdigit() else 0,
        reason=in_our_words(fields.get("Reason", "")) if state is JobState.PENDING else "",
        exit=_exit(word, fields.get("ExitCode", ""), fields.get("Reason", "")) if state is JobState.DONE else None,
    )


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"(?:^|\s)(?P<key>[A-Za-z][\w:/]*)=(?P<value>\S*)", line):
        yield match["key"], match["value"]


def _accounted(line: str) -> Job | None:
    """One line of sacct."""
    fields = line.split("|")
    if len(fields) != 5 or not fields[0][:1].isdigit():
        return None
    id_, name, word, code, nodes = fields
    word = word.split()[0] if word else ""  # "CANCELLED by 1000"
    state = STATES.get(word, JobState.DONE)
    array, _, task = id_.partition("_")
    return Job(
        id=id_,
        array=array,
        index=int(task) if task.isdigit() else 0,
        name=name,
        state=state,
        where=nodes,
        reason="waits" if state is JobState.PENDING else "",
        exit=_exit(word, code, fields[2]) if state is JobState.DONE else None,
    )


def _exit(word: str, code: str, reason: str) -> Exit:
    """``ExitCode`` is the script's code and the signal that ended it, as ``127:0``."""
    status, _, number = code.partition(":")
    exit_code = int(status) if status.isdigit() else None
    signal = int(number) if number.isdigit() and number != "0" else None
    words = f"{word} {reason} {code}".strip()
    if word in ENDINGS:
        return Exit(ENDINGS[word], exit_code, signal, words)
    if signal == 53:  # by convention of slurmd: it could not set the job up, as with a log folder that it cannot write
        return Exit(Ending.LAUNCH, None, None, words, ran=False)
    if signal is not None:
        return Exit(Ending.SIGNAL, exit_code, signal, words)
    return Exit(Ending.EXIT, exit_code, None, words)
