"""Why a job ended badly: its script's own exit codes first, then the system's words, then the last lines of its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clusterhub import Failure
from clusterhub_backends.batch.driver import Ending, Exit, Job, JobState
from clusterhub_backends.batch.stages import MEANINGS, Stage

TAIL = 6
"""Lines of a log that a failure shows."""
READ = 16_384
"""Bytes of a log that are read to find them: tasks may have printed gigabytes."""

_SYSTEM = {
    Ending.WALLTIME: ("they reached their walltime", "job.walltime", "ask for longer, with job.walltime"),
    Ending.MEMORY: ("out of memory", "worker.memory", "give each worker more, with worker.memory, or fewer threads"),
    Ending.NODE: ("their node failed", "", "they are replaced; if it goes on, ask your site"),
    Ending.LAUNCH: (
        "the system could not start them",
        "storage.logs",
        "see that the folder of the logs exists and can be written on the nodes",
    ),
    Ending.CANCELLED: ("they were cancelled from outside", "", "ask who did it; scale() or wait() try again"),
    Ending.UNKNOWN: ("they are gone, and the system keeps no record of how", "", "see their logs"),
}

_UNSEEN = (
    "they left the queue before anybody saw them run, most likely cancelled from outside",
    "",
    "ask who did it; scale() or wait() try again",
)
"""Of a job that waited when it was last seen, and left no log.

SLURM keeps no record of a member of an array that is cancelled alone."""

_LOG = (
    (
        re.compile(r"ModuleNotFoundError: (No module named .*)"),
        "environment.python",
        "install it there, or name another",
    ),
    (
        re.compile(r"(Timed out (?:starting worker|trying to connect)[^\n]*)"),
        "network.interface",
        "name the one nodes reach",
    ),
    (
        re.compile(r"(?:OSError|IOError).*(No space left on device)"),
        "storage.scratch",
        "name a scratch folder with room",
    ),
    (re.compile(r"(Disk quota exceeded)"), "storage.scratch", "name a scratch folder with room"),
    (re.compile(r"(ssl\.SSL\w*Error: [^\n]*)"), "network.tls", "see that nodes and this host agree on the time"),
    (
        re.compile(r"(MemoryError|Cannot allocate memory|oom-kill[^\n]*)"),
        "worker.memory",
        "give each worker more memory",
    ),
)


def failure_of(job: Job, end: Exit, log: Path | None, lines: Sequence[str]) -> Failure:
    """The failure of one job, with its evidence. ``lines`` are the last ones of ``log``, which may not be there yet."""
    if end.ending is Ending.UNKNOWN and job.state is JobState.PENDING and not lines:
        summary, because, next_step = _UNSEEN
    else:
        summary, because, next_step = _cause(end, lines)
    return Failure(
        summary=summary,
        unit=job.id,
        exit_code=end.code,
        log_path=str(log) if log is not None else "",
        log_tail=tuple(lines[-TAIL:]),
        source=end.words,
        because=because,
        next_step=next_step,
    )


def never_came(unit: str, since: str, log: Path | None, lines: Sequence[str], *, came: bool) -> Failure:
    """The failure of a job that runs, and whose workers are not to be seen (any more, if they ``came``).

    ``since`` says for how long.
    """
    if came:
        summary, because = "they run, but their workers are gone", ""
        next_step = "their node may have failed; they are replaced"
    elif found := _in_log(lines):
        summary, because, next_step = found
    else:
        summary, because = "they run, but their workers never came", "network.interface"
        next_step = "see the log, and whether nodes reach the scheduler's address; job.startup_timeout is how long they may take"
    return Failure(
        summary=summary,
        unit=unit,
        log_path=str(log) if log is not None else "",
        log_tail=tuple(lines[-TAIL:]),
        source=since,
        because=because,
        next_step=next_step,
    )


def never_runs(job: Job) -> Failure:
    """The failure of a job of which the system says that it can never run as it was asked for."""
    return Failure(
        summary=f"the system can never run such a job: it {job.reason}",
        unit=job.id,
        source=job.source,
        because=job.because or "worker",
        next_step="ask for less, or for another queue or partition",
    )


def held(job: Job) -> Failure:
    """The failure of a job that the system has stopped trying to start."""
    return Failure(
        summary=f"the system does not start it any more: it {job.reason}",
        unit=job.id,
        source=job.source,
        because=job.because,
        next_step="it is ended and replaced; if it goes on, ask your site",
    )


def _cause(end: Exit, lines: Sequence[str]) -> tuple[str, str, str]:
    """What happened, the key of the profile that decides it, and what to do."""
    if end.ending is Ending.EXIT and end.code in set(Stage):
        meaning = MEANINGS[Stage(end.code)]
        return meaning.summary, meaning.because, meaning.next_step
    if end.ending in (Ending.WALLTIME, Ending.MEMORY, Ending.NODE):
        return _SYSTEM[end.ending]
    if found := _in_log(lines):
        return found
    if end.ending in _SYSTEM:
        return _SYSTEM[end.ending]
    if end.ending is Ending.SIGNAL and end.signal == 9:
        return (
            "they were killed, most likely out of memory",
            "worker.memory",
            "give each worker more, with worker.memory",
        )
    if end.ending is Ending.OK:
        return "they ended by themselves, and their workers never came", "", "see their logs"
    if end.code in (126, 127):
        return "a command of their script does not exist on the node", "environment.setup", "see the log for which"
    how = f"with exit code {end.code}" if end.code is not None else f"by signal {end.signal}"
    return f"they ended {how}", "", "see their logs"


def _in_log(lines: Sequence[str]) -> tuple[str, str, str] | None:
    for pattern, because, next_step in _LOG:
        for line in reversed(lines):
            if match := pattern.search(line):
                return match[1].strip(), because, next_step
    return None


def tail_of(log: Path) -> tuple[str, ...]:
    """The last lines of a log that say something; none where it is not there, or not yet: NFS and PBS bring them late."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - READ))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())
