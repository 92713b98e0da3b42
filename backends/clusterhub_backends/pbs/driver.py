"""The commands of PBS Professional and OpenPBS, 14 to 23: their text forms, which are the same in all of these.

JSON came with 19, and has traps: one line of releases answers several ids with the first job only, others write what is no
JSON. Sources: qsub(1B), qstat(1B), qdel(1B), the reference guide's "Job Exit Status" and "Job Attributes", and a real OpenPBS,
whose answers are in tests/unit/batch/samples/pbs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

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
from clusterhub_backends.batch.queues import Facts, Wish
from clusterhub_backends.pbs import queues
from clusterhub_backends.pbs.limits import tightest
from clusterhub_backends.pbs.reasons import NEVER, bytes_of, in_our_words

Record = Mapping[str, str]

BULK = 200
"""Ids in one command line, which has a limit."""
FEW = 4
"""Members of one array that are asked for one by one: qstat connects anew for each id. More are asked for with their array."""
MANY = 20
"""Submissions up to which each is asked for by its id."""
IDENTIFIER = re.compile(r"(?P<number>\d+)(?P<member>\[(?P<index>\d*)\])?(?P<server>\.\S+)?", re.ASCII)
DOWN = re.compile(
    r"cannot connect to server|connection refused|(?<!, or )unknown host|server shutting down|connection table full"
    r"|no free connections|batch protocol error|invalid credential|server internal error|system error"
    r"|failed to save job|end of file|timed? ?out|communication failure|pbs_iff",
    re.IGNORECASE,
)
UNREACHED = re.compile(r"cannot connect to server|connection refused|unknown host", re.IGNORECASE)
"""Nobody took the call, so nothing was done."""
UNKNOWN = re.compile(
    r"unknown job id|job has finished|request invalid for state of job|request invalid for finished array subjob"
    r"|delete already in progress|not configured to maintain job history",
    re.IGNORECASE,
)
"""Of a job that is gone, or going."""
FULL = re.compile(
    r"would exceed (?!.*resource limits).*limit|maximum number of jobs|resource temporarily unavailable", re.IGNORECASE
)
REJECTIONS = (
    (r"unknown queue", "there is no such queue", "pbs.queue"),
    (r"queue is not enabled", "the queue takes no jobs", "pbs.queue"),
    (r"access to queue is denied", "you may not use that queue", "pbs.queue"),
    (r"no default queue", "the site has no default queue; name one", "pbs.queue"),
    (r"rejected by all possible destinations", "none of the queues behind that one takes such a job", "pbs.queue"),
    (r"violates queue and/or server resource limits",
     "the queue allows no such job: less walltime, cores or memory, which one PBS does not say", "pbs.queue"),
    (r"unknown resource", "the site has no such resource", "pbs.resources"),
    (r"cannot be used with|cannot have \"place\"|invalid in \"select\"",
     "resources of old and new style do not go together", "pbs.resources"),
    (r"Resource_List\.walltime", "PBS does not take that walltime", "job.walltime"),
    (r"illegal attribute or resource value", "PBS does not take a value that was asked for", "pbs.resources"),
    (r"account", "the account is unknown, or not yours", "pbs.account"),
    (r"project", "the project is unknown, or not yours", "pbs.project"),
    (r"bad gid", "you are not in that group", "pbs.directives"),
    (r"bad uid", "PBS runs no jobs of this user, as of root", ""),
    (r"directive error|invalid option|illegal -\w value|name is too long", "PBS does not take a directive", "pbs.directives"),
    (r"script contains cr", "the script has line ends of Windows; see the lines of your own", "environment.setup"),
    (r"jobscript size", "the script is larger than the site allows", "environment.setup"),
    (r"access from host not allowed", "the host of the keeper may not submit jobs", "lifecycle.host"),
    (r"unauthorized request", "the site does not let you submit", ""),
    (r"hook|qsub: request rejected", "a rule of the site refuses the job", ""),
)  # fmt: skip
STATES = {
    "Q": JobState.PENDING, "H": JobState.PENDING, "W": JobState.PENDING, "T": JobState.PENDING, "M": JobState.PENDING,
    "S": JobState.PENDING, "U": JobState.PENDING, "R": JobState.RUNNING, "B": JobState.RUNNING, "E": JobState.ENDING,
    "F": JobState.DONE, "X": JobState.DONE, "C": JobState.DONE,
}  # fmt: skip
VERDICTS = {
    -4: Ending.NODE, -5: Ending.NODE, -6: Ending.NODE, -20: Ending.NODE,  # its node started anew, or was lost
    -11: Ending.CANCELLED, -12: Ending.CANCELLED,  # put back into the queue, or checkpointed
    -26: Ending.MEMORY, -27: Ending.MEMORY, -29: Ending.WALLTIME,
}  # fmt: skip
"""The server's own verdicts. Of the others, those from -24 on are limits on processor time, the rest failed to start."""
LIMITS = (-24, -25, -28, -30)
EXCEEDED = re.compile(r"exceeded resource (?P<what>\w+)")
TERMINATED = re.compile(r"and terminated by \S+@\S+")
TERM, KILL = 15, 9
PLAIN = 128
"""Above which a shell means a signal, and twice of which PBS does."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TIME = re.compile(r"\w{3} (?P<month>\w{3}) +(?P<day>\d+) (?P<clock>\d+:\d+:\d+) (?P<year>\d{4})", re.ASCII)
ROW = re.compile(
    r"(?P<id>\d+(?:\[\d*\])?(?:\.\S+)?)\s+\S+\s+\S+\s+(?P<name>\S+)\s.*\s(?P<state>[A-Z])\s+\S+\s*", re.ASCII
)
"""A row of ``qstat -a``: id, user, queue, name, figures, state, time."""
SHOWN = 30
"""Characters of an id that ``qstat -a -w`` shows."""


class PbsDriver(Driver):
    """Pure: arguments in, meaning of outputs out."""

    system = "PBS"
    commands = ("qsub", "qstat", "qdel")
    directive = "#PBS"
    index_variable = "PBS_ARRAY_INDEX"
    job_variable = "PBS_JOBID"
    largest_array = 1000

    def submit(self, submission: Submission) -> Command:
        """By qsub, the script on its standard input. An array has two members at least: ``-J 0-0`` is refused."""
        throttle = f"%{submission.at_a_time}" if submission.at_a_time is not None else ""
        array = ("-J", f"0-{submission.count - 1}{throttle}") if submission.count > 1 else ()
        return Command(("qsub", *array), stdin=submission.script)

    def submitted(self, submission: Submission, output: Output) -> str:
        """The id, the last line of the answer that is one: hooks of a site may greet before."""
        if output.code == 0:
            for line in reversed(output.stdout.splitlines()):
                if IDENTIFIER.fullmatch(line.strip()):
                    return line.strip()
            raise SystemDown(f"qsub gave no id: {output.words or 'it said nothing'}")
        words = output.words.split(" usage: ")[0]  # which it prints after a mistake
        if FULL.search(words):
            raise _full(words)
        _raise_if_down(output)
        if "Array job exceeds" in words:
            raise ArrayTooLarge("the site takes smaller arrays only", source=words)
        for pattern, meaning, key in REJECTIONS:
            if re.search(pattern, words, re.IGNORECASE):
                raise Rejected(meaning, source=words, because=key)
        raise Rejected("PBS refuses the job", source=words)

    def member(self, array: str, index: int, count: int) -> str:
        """``27[4].pbshost`` of ``27[].pbshost``; a single job is no array."""
        return array.replace("[]", f"[{index}]") if count > 1 else array

    def unthrottle(self, array: str) -> Command:
        """By qalter, to more than any array holds."""
        return Command(("qalter", "-W", f"max_run_subjobs={self.largest_array}", array))

    def limits(self, user: str) -> Sequence[Command]:
        """The server's limits, and those of all queues."""
        return (Command(("qstat", "-B", "-f")), Command(("qstat", "-Q", "-f")))

    def limited(self, full: QueueFull, submission: Submission, outputs: Sequence[Output]) -> QueueFull:
        """With the strictest limit that counts for that submission, see :func:`limits.tightest`."""
        limit = tightest(submission.script, outputs)
        return full if limit is None else QueueFull(limit=limit, source=full.source)

    def listing(self, user: str, arrays: Sequence[str]) -> Command:
        """Everything of these, members of arrays included. Without history: where a site keeps none, ``-x`` hides all jobs.

        ``qstat -f`` takes no user, and connects anew for each id; so the jobs of one, and those of many submissions, are a table,
        with the comments below them. It is wide, since the narrow one cuts names.
        """
        if 0 < len(arrays) <= MANY:
            return Command(("qstat", "-f", "-t", *arrays))
        return Command(("qstat", "-s", "-w", "-t", "-u", user))

    def listed(self, output: Output) -> Sequence[Job]:
        """What was answered. qstat goes on after an id that is unknown or finished, and tells of it by its exit code."""
        _raise_unless_gone("qstat", output)
        if re.search(r"^Job Id:", output.stdout, re.MULTILINE):
            return tuple(_jobs(records(output.stdout)))
        return tuple(_rows(output.stdout.splitlines()))

    def details(self, ids: Sequence[str]) -> Sequence[Command]:
        """The history; then, since a site may keep none, the same without."""
        members: dict[str, list[str]] = {}
        for id_ in ids:
            members.setdefault(_array_of(id_), []).append(id_)
        asked = [id_ for array, of in members.items() for id_ in (of if len(of) <= FEW else [array])]
        bulks = [asked[start : start + BULK] for start in range(0, len(asked), BULK)]
        return [Command(("qstat", "-f", *how, *bulk)) for how in (("-x", "-t"), ("-t",)) for bulk in bulks]

    def detailed(self, output: Output) -> Mapping[str, Job]:
        """Whatever it knows; nothing of those that it has forgotten."""
        _raise_unless_gone("qstat", output)
        return {job.id: job for job in _jobs(records(output.stdout))}

    def cancel(self, ids: Sequence[str]) -> Sequence[Command]:
        """By qdel, which takes many, and neighbours in an array as a range."""
        operands = list(_ranges(ids))
        return [Command(("qdel", *operands[start : start + BULK])) for start in range(0, len(operands), BULK)]

    def cancelled(self, output: Output) -> None:
        """Returns unless something is wrong that is not merely that a job is gone or going."""
        _raise_if_down(output)
        lines = [line for line in output.stderr.splitlines() if line.strip() and not UNKNOWN.search(line)]
        # A member that ended is "invalid" to some versions, as one that never was.
        if output.code != 0 and any(not re.search(r"Invalid request \d+\[", line) for line in lines):
            raise ClusterhubError(f"qdel: {' '.join(' '.join(lines).split())}")

    def tenure(self, id_: str) -> Command:
        """By what is asked for, and when it began."""
        return Command(("qstat", "-f", id_))

    def ends(self, output: Output) -> datetime | None:
        """``stime`` and the walltime; None where the job has none."""
        for _, record in records(output.stdout):
            walltime, began = _seconds(record.get("Resource_List.walltime", "")), _moment(record.get("stime", ""))
            if walltime is not None and began is not None:
                return began + timedelta(seconds=walltime)
        return None

    def version(self) -> Command:
        """As ``pbs_version = 23.06.06``."""
        return Command(("qstat", "--version"))

    def inquiries(self, wish: Wish) -> Sequence[Command]:
        """Of queues, nodes and limits; see :mod:`clusterhub_backends.pbs.queues`."""
        return queues.inquiries(wish)

    def facts(self, wish: Wish, answers: Sequence[Output | None]) -> Facts:
        """What they come to."""
        return queues.facts(wish, answers)


# Failures


def _raise_if_down(output: Output) -> None:
    if output.code != 0 and DOWN.search(output.stderr):
        raise SystemDown(output.words, reached=UNREACHED.search(output.stderr) is None)


def _raise_unless_gone(command: str, output: Output) -> None:
    """Whatever it complains of but jobs that are gone is no news: half an answer must not make jobs look lost."""
    _raise_if_down(output)
    lines = [line for line in output.stderr.splitlines() if line.strip()]
    if output.code != 0 and not (lines and all(UNKNOWN.search(line) for line in lines)):
        raise SystemDown(f"{command}: {output.words or f'it ended with {output.code} and said nothing'}")


def _full(words: str) -> QueueFull:
    """PBS itself names no figures; hooks of sites do."""
    limit = re.search(r"limit (?:of|is|=|:)?\s*(?P<limit>\d+)", words)
    return QueueFull(limit=int(limit["limit"]) if limit else None, source=words)


# Ids


def _array_of(id_: str) -> str:
    return re.sub(r"\[\d+\]", "[]", id_)


def _ranges(ids: Iterable[str]) -> Iterator[str]:
    """``27[4].host`` and its neighbours as ``27[4-9].host``; the others as they are."""
    indices: dict[tuple[str, str], set[int]] = {}
    for id_ in dict.fromkeys(ids):
        match = IDENTIFIER.fullmatch(id_)
        if match is None or not match["index"]:
            yield id_
        else:
            indices.setdefault((match["number"], match["server"] or ""), set()).add(int(match["index"]))
    for (number, server), found in indices.items():
        for first in sorted(index for index in found if index - 1 not in found):
            last = first
            while last + 1 in found:
                last += 1
            yield f"{number}[{first}-{last}]{server}" if last > first else f"{number}[{first}]{server}"


# Records


def records(text: str) -> Iterator[tuple[str, Record]]:
    """The id and attributes of each job of ``qstat -f``, whose long lines go on behind a tab."""
    id_, record, name = "", dict[str, str](), ""
    for line in text.split("\n"):
        if line.startswith("Job Id: "):
            if id_:
                yield id_, record
            id_, record, name = line.removeprefix("Job Id: ").strip(), {}, ""
        elif line.startswith("\t"):
            if name:
                record[name] += line[1:]
        elif line.startswith("    ") and " = " in line:
            name, _, value = line[4:].partition(" = ")
            record[name] = value
    if id_:
        yield id_, record


def _jobs(found: Iterable[tuple[str, Record]]) -> Iterator[Job]:
    """The jobs; an array itself is none, its members are."""
    for id_, record in found:
        match = IDENTIFIER.fullmatch(id_)
        if match is not None and match["index"] != "" and record.get("job_state", "") in STATES:
            yield _job(id_, int(match["index"] or 0), record)


def _job(id_: str, index: int, record: Record) -> Job:
    letter = record["job_state"]
    state = STATES[letter]
    pending = state is JobState.PENDING
    comment = record.get("comment", "")
    runs = record.get("run_count", "")
    return Job(
        id=id_,
        array=_array_of(id_),
        index=index,
        name=record.get("Job_Name", ""),
        state=state,
        where=_nodes(record.get("exec_host", "")),
        source=comment if pending else "",
        reason=in_our_words(comment, letter, record) if pending else "",
        never=pending and comment.startswith(NEVER),
        starts=_moment(record.get("estimated.start_time") or record.get("Execution_Time", "")) if pending else None,
        started=_moment(record.get("stime", "")) if state is JobState.RUNNING else None,
        limit=_limit(record),
        restarts=max(0, int(runs) - 1) if _is_number(runs) else 0,
        exit=exit_of(record) if state is JobState.DONE else None,
    )


def _nodes(places: str) -> str:
    """``pbshost/6+pbsn1/0*2`` are the processors of two nodes."""
    return ",".join(dict.fromkeys(place.split("/")[0] for place in places.split("+") if place))


def _rows(lines: Sequence[str]) -> Iterator[Job]:
    """The jobs of a table; below a row stands the comment of its job, further in."""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        comment = below.strip().removeprefix("--").strip() if below.startswith("   ") else ""
        if (job := _row(line, comment)) is not None:
            yield job


def _row(line: str, comment: str) -> Job | None:
    match = ROW.fullmatch(line)
    found = IDENTIFIER.fullmatch(match["id"].rstrip("*")) if match else None
    if match is None or found is None or found["index"] == "" or match["state"] not in STATES:
        return None
    # The name of the server is cut where it is too long; without any, the default server is meant.
    cut = len(match["id"]) >= SHOWN or match["id"].endswith("*")
    id_ = f"{found['number']}{found['member'] or ''}{'' if cut else found['server'] or ''}"
    state = STATES[match["state"]]
    pending = state is JobState.PENDING
    return Job(
        id=id_,
        array=_array_of(id_),
        index=int(found["index"] or 0),
        name=match["name"].rstrip("*"),
        state=state,
        source=comment if pending else "",
        reason=in_our_words(comment, match["state"]) if pending else "",
        never=pending and comment.startswith(NEVER),
    )


def _moment(text: str) -> datetime | None:
    """``Sun Nov 22 09:21:00 2026``, in the server's zone, which is ours; older versions give seconds."""
    if _is_number(text):
        return datetime.fromtimestamp(int(text), UTC) if 0 < int(text) < 2**32 else None
    match = TIME.fullmatch(text.strip())
    if match is None or match["month"] not in MONTHS:
        return None
    try:
        hour, minute, second = (int(part) for part in match["clock"].split(":"))
        month = MONTHS.index(match["month"]) + 1
        return datetime(int(match["year"]), month, int(match["day"]), hour, minute, second).astimezone()
    except (ValueError, OverflowError):
        return None


def _limit(record: Record) -> float | None:
    seconds = _seconds(record.get("Resource_List.walltime", ""))
    return float(seconds) if seconds is not None else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12


# Ends


def exit_of(record: Record) -> Exit:
    """How a job that is done ended.

    A job deleted while it waited has no ``Exit_status``, or, in an array, its parent's: only one that was on a node has its own.
    """
    comment = record.get("comment", "")
    text = record.get("Exit_status", "")
    if "exec_host" not in record and "resources_used.walltime" not in record:
        return Exit(Ending.CANCELLED, words=comment or "deleted before it ran", ran=False)
    if not re.fullmatch(r"-?\d{1,6}", text, re.ASCII):
        ending = Ending.CANCELLED if record.get("substate") == "91" or "terminated" in comment else Ending.UNKNOWN
        return Exit(ending, words=comment)
    status = int(text)
    words = f"{comment} (Exit_status {status})".strip()
    if record.get("Stageout_status") == "0":
        words += "; its log could not be delivered"
    if status < 0:
        return _verdict(status, words)
    return _over(record, status, words) or _ended(comment, status, words)


def _verdict(status: int, words: str) -> Exit:
    if status in VERDICTS:
        return Exit(VERDICTS[status], words=words)
    if status in LIMITS:
        return Exit(Ending.SIGNAL, signal=TERM, words=words)
    return Exit(Ending.LAUNCH, words=words, ran=False)


def _over(record: Record, status: int, words: str) -> Exit | None:
    """A limit that was passed, where PBS tells of it by a comment, or only by the figures: older ones send a mere signal."""
    exceeded = EXCEEDED.search(record.get("comment", ""))
    what = exceeded["what"] if exceeded else ""
    if not what and status in (2 * PLAIN + TERM, 2 * PLAIN + KILL) and not TERMINATED.search(words):
        used, asked = (_seconds(record.get(f"{key}.walltime", "")) for key in ("resources_used", "Resource_List"))
        what = "walltime" if used is not None and asked is not None and used >= asked else ""
        used, asked = (bytes_of(record.get(f"{key}.mem", "")) for key in ("resources_used", "Resource_List"))
        what = what or ("mem" if used is not None and asked is not None and used >= asked else "")
    endings = {"walltime": Ending.WALLTIME, "mem": Ending.MEMORY, "vmem": Ending.MEMORY}
    return Exit(endings[what], words=words) if what in endings else None


def _ended(comment: str, status: int, words: str) -> Exit:
    if status == 2 * PLAIN + TERM and TERMINATED.search(comment):
        return Exit(Ending.CANCELLED, signal=TERM, words=words)
    if status > 2 * PLAIN:
        return Exit(Ending.SIGNAL, signal=status - 2 * PLAIN, words=words)
    if PLAIN < status <= PLAIN + 64:
        return Exit(Ending.SIGNAL, signal=status - PLAIN, words=words)
    return Exit(Ending.EXIT if status else Ending.OK, code=status, words=words)


def _seconds(text: str) -> int | None:
    """``00:10:00``."""
    match = re.fullmatch(r"(\d{1,6}):(\d\d):(\d\d)", text, re.ASCII)
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]) if match else None
