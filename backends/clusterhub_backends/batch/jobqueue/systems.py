"""Whose a section is: its name tells, or keys that only one batch system has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from clusterhub_backends.batch.jobqueue.reading import Section

BUILT_IN = ("htcondor", "local", "lsf", "moab", "oar", "pbs", "sge", "slurm")
"""The sections that dask-jobqueue looks for by itself; any other is named by ``config_name``."""
KEYS = {
    "slurm": {"job-cpu", "job-mem"},
    "htcondor": {"disk", "submit-command-extra", "cancel-command-extra"},
    "lsf": {"ncpus", "mem", "lsf-units", "use-stdin"},
    "oar": {"memory-per-core-property-name"},
}
"""Keys that only one of them has. A section of one's own has all of its system's, since dask-jobqueue demands them."""


def system_of(section: Section) -> str | None:
    """The batch system of the section; None where it does not tell."""
    if section.name in BUILT_IN:
        return section.name
    for system, keys in KEYS.items():
        if section.keys & keys:
            return system
    if re.search(r"\b(select|nodes)\s*=", _text(section, "resource-spec")):
        return "pbs"
    directives = "\n".join(_text(section, key) for key in ("job-extra-directives", "job-extra"))
    if re.search(r"^\s*--[a-z]", directives, re.MULTILINE):
        return "slurm"
    if re.search(r"^\s*-(W\s*\w+=|l\s*(select|place)=)", directives, re.MULTILINE):
        return "pbs"
    named = [system for system in BUILT_IN if system != "local" and system in section.name.lower()]
    return named[0] if len(named) == 1 else None


def _text(section: Section, key: str) -> str:
    entry = section.peek(key)
    value = entry.value if entry is not None else ""
    items: Iterable[object] = value if isinstance(value, list | tuple) else [value]
    return "\n".join(str(item) for item in items)
