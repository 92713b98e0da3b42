"""dask-jobqueue's sections for PBS: resource lists as qsub(1B) and pbs_resources(7B) read them."""

from __future__ import annotations

import os
import re
from typing import ClassVar

from clusterhub.profile.dask_config import DaskValue
from clusterhub_backends.batch.jobqueue import Booked, Dialect, Directive, Draft, Section
from clusterhub_backends.batch.jobqueue.dialect import LOGS, NAMES

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


class PbsDialect(Dialect):
    """PBS Professional and OpenPBS."""

    system = "PBS"
    mark = "#PBS"
    queue = "queue"
    options: ClassVar = {"-q": "queue", "-A": "account", "-P": "project"}
    ours: ClassVar = {
        "-N": NAMES,
        "-J": "clusterhub submits jobs as arrays by itself",
        "-o": LOGS,
        "-e": LOGS,
        "-j": LOGS,
        "-k": f"{LOGS}; see pbs.live_logs",
        "-S": "jobs run bash here",
    }
    foreign = frozenset({"job-cpu", "job-mem"})
    login = True  # PBS starts the shell that it gives the script to as one

    def seconds(self, text: str) -> float | None:
        """``[[HH:]MM:]SS[.mmm]``; a number alone is seconds."""
        match = re.fullmatch(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d+)?)", text)
        if match is None:
            return None
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)

    def account_elsewhere(self) -> DaskValue | None:
        """``PBS_ACCOUNT`` in the environment."""
        account = os.environ.get("PBS_ACCOUNT")
        return DaskValue("PBS_ACCOUNT", account, "$PBS_ACCOUNT") if account else None

    def book(self, section: Section, draft: Draft, booked: Booked) -> None:
        """``resource-spec``, which stands in place of what dask-jobqueue would ask for."""
        if (entry := section.take("resource-spec")) is not None and (text := draft.text(entry)) is not None:
            for resources in re.split(r"\s+-l\s*", text.removeprefix("-l ").strip()):
                _ResourceList(self, entry, draft, booked).take(resources)

    def directive(self, directive: Directive, draft: Draft, booked: Booked) -> bool:
        """``-l``, in which the shape of the job may hide."""
        if directive.flag != "-l":
            return False
        _ResourceList(self, directive.entry, draft, booked).take(directive.value)
        return True


class _ResourceList:
    """What follows ``-l``: ``select=1:ncpus=24:mem=120gb,place=excl,walltime=12:00:00``."""

    def __init__(self, dialect: PbsDialect, entry: DaskValue, draft: Draft, booked: Booked) -> None:
        self._dialect = dialect
        self._entry = entry
        self._draft = draft
        self._booked = booked

    def take(self, text: str) -> None:
        """Each resource of the list."""
        for item in text.split(","):
            name, _, value = (part.strip() for part in item.partition("="))
            if name == "select":
                self._select(value)
            elif name == "nodes":
                self._nodes(value)
            elif name == "place":
                self._dialect.option("place", value, self._entry, self._draft)
            elif name == "walltime":
                self._dialect.walltime(value, self._entry, self._draft)
            elif name == "ncpus":
                self._cpus(value)
            elif name == "mem":
                self._memory(value)
            else:
                self._draft.add("pbs.directives", f"-l {item.strip()}", self._entry)

    def _select(self, statement: str) -> None:
        """Workers run in the first chunk; what else is asked for comes along as further chunks."""
        first, *others = (chunk.strip() for chunk in statement.split("+"))
        count, resources = _chunk(first)
        if count is None:
            self._draft.wrong(self._entry, "is no select statement of PBS; write select=1:ncpus=4:mem=16gb")
            return
        for name, value in resources.items():
            if name == "ncpus":
                self._cpus(value)
            elif name == "mem":
                self._memory(value)
            elif re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
                self._draft.put(f"pbs.resources.{name}", value, self._entry)
            else:
                self._draft.wrong(self._entry, f"{name} is no name of a resource of PBS")
        if count > 1:
            others.insert(0, ":".join([str(count - 1), *first.split(":")[1 if first[0].isdigit() else 0 :]]))
        for chunk in others:
            self._draft.add("pbs.chunks", chunk, self._entry)

    def _nodes(self, statement: str) -> None:
        """Torque's form, which PBS still takes: ``nodes=1:ppn=24``."""
        match = re.fullmatch(r"1(?::ppn=(\d{1,6}))?", statement)
        if match is None:
            self._draft.lose(
                self._entry, f"nodes={statement}: all workers of a job are on one node; write a select statement"
            )
        elif match[1]:
            self._cpus(match[1])

    def _cpus(self, value: str) -> None:
        if value.isascii() and value.isdigit() and 0 < int(value[:9]) <= 10**6:
            self._booked.cpus, self._booked.cpus_from = int(value[:9]), self._entry
        else:
            self._draft.wrong(self._entry, f"ncpus={value}: must be a whole number")

    def _memory(self, value: str) -> None:
        """PBS counts in powers of 1024, whatever it calls them."""
        match = re.fullmatch(r"(\d{1,15})([kmgtp]?)b?", value.lower(), re.ASCII)
        size = int(match[1]) * _UNITS[match[2]] if match else 0
        if 2**20 <= size <= 2**60:
            self._booked.memory, self._booked.memory_from = size, self._entry
        else:
            self._draft.wrong(self._entry, f"mem={value}: is no amount of memory that PBS can mean; write it as 120gb")


def _chunk(text: str) -> tuple[int | None, dict[str, str]]:
    """How many like chunks, and the resources of each; no number where it is no chunk."""
    fields = text.split(":")
    count = int(fields.pop(0)) if re.fullmatch(r"\d{1,6}", fields[0], re.ASCII) else 1
    pairs = [field.partition("=") for field in fields]
    if count == 0 or any(not (name and sign and value) for name, sign, value in pairs):
        return None, {}
    return count, {name: value for name, _, value in pairs}
