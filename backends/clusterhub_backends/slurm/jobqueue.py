"""dask-jobqueue's sections for SLURM: options, sizes and times as sbatch(1) reads them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

from clusterhub.profile.dask_config import DaskValue
from clusterhub_backends.batch.jobqueue import Booked, Dialect, Directive, Draft, Section
from clusterhub_backends.batch.jobqueue.dialect import LOGS, NAMES

_UNITS = {"k": 2**10, "": 2**20, "m": 2**20, "g": 2**30, "t": 2**40}
_ARRAYS = "clusterhub submits jobs as arrays by itself"


class SlurmDialect(Dialect):
    """SLURM."""

    system = "SLURM"
    mark = "#SBATCH"
    queue = "partition"
    options: ClassVar = {
        "-p": "partition", "--partition": "partition",
        "-A": "account", "--account": "account",
        "-q": "qos", "--qos": "qos",
        "-C": "constraint", "--constraint": "constraint",
        "--gres": "gres",
        "--reservation": "reservation",
        "-w": "nodelist", "--nodelist": "nodelist",
        "-x": "exclude", "--exclude": "exclude",
    }  # fmt: skip
    ours: ClassVar = {
        "-J": NAMES, "--job-name": NAMES,
        "-a": _ARRAYS, "--array": _ARRAYS,
        "-o": LOGS, "--output": LOGS, "-e": LOGS, "--error": LOGS, "--open-mode": LOGS,
    }  # fmt: skip
    foreign = frozenset({"resource-spec"})
    login = False  # and our jobs start with an empty environment (--export=NIL)

    def seconds(self, text: str) -> float | None:
        """``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` and ``D-H:M:S``; a number alone is minutes."""
        match = re.fullmatch(r"(?:(\d{1,6})-)?(\d{1,6})(?::(\d{1,6}))?(?::(\d{1,6}))?", text, re.ASCII)
        if match is None:
            return None
        days, *parts = (int(part) if part is not None else None for part in match.groups())
        one, two, three = parts
        assert one is not None
        if days is not None or three is not None:
            return (days or 0) * 86400 + one * 3600 + (two or 0) * 60 + (three or 0)
        return one * 60 + (two or 0)

    def walltime(self, text: str, entry: DaskValue, draft: Draft) -> None:
        """Words for no limit at all stay what they are."""
        if text.upper() in ("UNLIMITED", "INFINITE") or text in ("0", "-1"):
            draft.add("slurm.directives", "--time=UNLIMITED", entry)
        else:
            super().walltime(text, entry, draft)

    def misread(self, entry: DaskValue) -> str | None:
        """A time without quotes, which is a number of seconds to Dask, and that number one of minutes to SLURM."""
        typed = entry.typed
        if not isinstance(entry.value, int) or not isinstance(typed, str) or ":" not in typed:
            return None
        return f"Dask reads {typed} without quotes as the number {entry.value}, which SLURM takes for minutes; put it in quotes"

    def book(self, section: Section, draft: Draft, booked: Booked) -> None:
        """``job-cpu`` and ``job-mem``, which stand in place of ``cores`` and ``memory`` in what is asked for."""
        if (entry := section.take("job-cpu")) is not None and (cpus := draft.number(entry)) is not None:
            booked.cpus, booked.cpus_from = cpus, entry
        if (entry := section.take("job-mem")) is not None and (text := draft.text(entry)) is not None:
            _book_memory(text, entry, draft, booked)

    def directive(self, directive: Directive, draft: Draft, booked: Booked) -> bool:
        """What tells the shape of the job, its time or its folder."""
        value, entry = directive.value.strip("\"'"), directive.entry
        if directive.flag in ("-t", "--time") and value:
            self.walltime(value, entry, draft)
        elif directive.flag in ("-c", "--cpus-per-task") and re.fullmatch(r"[1-9]\d{0,5}", value, re.ASCII):
            booked.cpus, booked.cpus_from = int(value), entry
        elif directive.flag == "--mem" and value != "0":  # 0 is all that the node has, whatever that is
            _book_memory(value, entry, draft, booked)
        elif directive.flag in ("-D", "--chdir") and value:
            draft.put("environment.directory", value, entry)
        elif directive.flag in ("-n", "--ntasks", "-N", "--nodes") and value == "1":
            draft.need_not(replace(entry, value=str(directive)), "a job is one task on one node here")
        elif directive.flag in ("--mem-per-cpu", "--mem-per-gpu"):
            told = "jobs ask for --mem here, which sbatch takes no other word for memory beside; say it as memory"
            draft.lose(replace(entry, value=str(directive)), told)
        else:
            return False
        return True


def _book_memory(text: str, entry: DaskValue, draft: Draft, booked: Booked) -> None:
    """SLURM counts in powers of 1024, and in MiB where no unit is given."""
    match = re.fullmatch(r"(\d{1,15})\s*([kmgt]?)b?", text.lower(), re.ASCII)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if 2**20 <= size <= 2**60:
        booked.memory, booked.memory_from = size, entry
    else:
        draft.wrong(entry, f"{text}: is no amount of memory that SLURM can mean; write it as 120G")
