"""Why jobs wait, are refused and fail: every cause that the backends of batch systems know, by running what tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tables import table

from clusterhub import Failure
from clusterhub_backends.batch.causes import failure_of, held, never_came, never_runs
from clusterhub_backends.batch.driver import Ending, Exit, Job, JobState
from clusterhub_backends.batch.stages import Stage
from clusterhub_backends.pbs import driver as pbs_driver
from clusterhub_backends.pbs import reasons as pbs_reasons
from clusterhub_backends.slurm import reasons as slurm_reasons
from clusterhub_backends.slurm import refusals as slurm_refusals

LOG_LINES: Mapping[str, str] = {
    "ModuleNotFoundError: No module named 'xarray'": "a package is missing in the workers' Python",
    "OSError: Timed out trying to connect to tls://10.3.0.7:8786": "a worker found no way to the scheduler",
    "OSError: [Errno 28] No space left on device: '/tmp/dask-scratch'": "the scratch folder is full",
    "OSError: [Errno 122] Disk quota exceeded": "your quota is used up",
    "ssl.SSLCertVerificationError: certificate is not yet valid": "the clocks of node and login host disagree",
    "MemoryError: Unable to allocate 3.00 GiB": "a task asked for more memory than there is",
}
"""Last lines of logs, as they are met, and what they mean."""


def _job(**other: object) -> Job:
    return Job("27[0]", "27[]", 0, "ch0g0", JobState.RUNNING, **other)  # type: ignore[arg-type]


def endings() -> Iterator[tuple[str, Failure]]:
    """Each way in which a job can end badly, with the failure that people are told."""
    for stage in Stage:
        yield f"exit code {stage.value}", failure_of(_job(), Exit(Ending.EXIT, code=stage.value), None, ())
    yield "exit code 126, 127", failure_of(_job(), Exit(Ending.EXIT, code=127), None, ())
    yield "any other exit code", failure_of(_job(), Exit(Ending.EXIT, code=1), None, ())
    yield "signal 9", failure_of(_job(), Exit(Ending.SIGNAL, signal=9), None, ())
    yield "any other signal", failure_of(_job(), Exit(Ending.SIGNAL, signal=11), None, ())
    for ending, seen in (
        (Ending.MEMORY, "ended for its memory"),
        (Ending.WALLTIME, "ended at its walltime"),
        (Ending.NODE, "its node failed"),
        (Ending.LAUNCH, "could not be started"),
        (Ending.CANCELLED, "cancelled, not by us"),
        (Ending.OK, "ended well"),
        (Ending.UNKNOWN, "no record of it"),
    ):
        yield seen, failure_of(_job(), Exit(ending), None, ())
    waited = Job("27[0]", "27[]", 0, "ch0g0", JobState.PENDING)
    yield "gone from the queue", failure_of(waited, Exit(Ending.UNKNOWN), None, ())
    yield "runs for 3 min", never_came("27[0]", "", None, (), came=False)
    yield "runs, after its workers went", never_came("27[0]", "", None, (), came=True)
    yield "can never run", never_runs(_job(reason="needs 64 cores, and there are 24"))
    yield "started again and again", held(_job(reason="could not be started on its node, and is held"))


def job_causes() -> str:
    """What ends a job badly: what is seen of it, what people are told, and which key decides it."""
    rows = [(seen, failure.summary, _key(failure.because), failure.next_step) for seen, failure in endings()]
    for line, meaning in LOG_LINES.items():
        failure = failure_of(_job(), Exit(Ending.EXIT, code=1), None, (line,))
        rows.append((f"log: `{line}`", meaning, _key(failure.because), failure.next_step))
    return table(("what is seen of the job", "what it says", "the key that decides", "what to do"), rows)


def waiting(system: str) -> str:
    """What a pending job can be told to wait for."""
    if system == "pbs":
        words = [*(words for _, words in pbs_reasons._WORDS), *pbs_reasons._HOLDS.values()]
        return table(("a job waits, since it says",), ((_words(each),) for each in dict.fromkeys(words)))
    known = {**slurm_reasons.WORDS, **slurm_reasons.IN_STATE}
    by_words: dict[str, list[str]] = {}
    for code, words in known.items():
        if code:
            by_words.setdefault(words, []).append(code)
    rows = [
        (
            ", ".join(f"`{code}`" for code in codes),
            words,
            f"`{key}`" if (key := slurm_reasons.decides(codes[0])) else "",
        )
        for words, codes in by_words.items()
    ]
    return table(("SLURM's reason", "it says", "where waiting does not help, the key that decides"), rows)


def rejections(system: str) -> str:
    """What a batch system refuses a job for."""
    rules: Sequence[tuple[str, str, str]] = pbs_driver.REJECTIONS if system == "pbs" else slurm_refusals.REJECTIONS
    told = dict.fromkeys((meaning, key) for _, meaning, key in rules)
    return table(("it says", "the key that decides"), ((meaning, _key(key)) for meaning, key in told))


def _key(key: str) -> str:
    return f"`{key}`" if key else "none"


def _words(text: str) -> str:
    """With what is put in at run time shown as an ellipsis."""
    return re.sub(r"\{\w+\}", "…", text)
