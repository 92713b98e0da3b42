"""The doctor: goes through what a profile needs, thing by thing, and says of each whether it is well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from clusterhub.api.connecting import new_name, planned
from clusterhub.api.trial import START_PATIENCE, Trial
from clusterhub.backend import Finding, Plan, refuse_unsupported
from clusterhub.display.words import counted
from clusterhub.errors import ClusterhubError
from clusterhub.profile import Overrides, Resolved, resolve
from clusterhub.spec import ClusterSpec

Step = Finding
"""A step of the doctor is a finding, whoever made it."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that was looked at, in order."""

    profile: str
    backend: str
    steps: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings do not count."""
        return all(finding.mark != "fail" for finding in self.steps)

    @property
    def verdict(self) -> str:
        """``everything works``, ``everything works, with 1 remark``, ``2 problems``."""
        problems, remarks = (sum(found.mark == mark for found in self.steps) for mark in ("fail", "warn"))
        if problems:
            return counted(problems, "problem")
        return "everything works" + (f", with {counted(remarks, 'remark')}" if remarks else "")

    def __str__(self) -> str:
        marks = {"ok": "✔", "warn": "!", "fail": "✘"}
        width = max((len(found.title) for found in self.steps), default=0)
        under = "\n" + " " * (width + 6)
        rows = [f"  {marks[f.mark]} {f.title:<{width}}  {under.join(f.text.splitlines())}" for f in self.steps]
        head = " · ".join(dict.fromkeys((self.profile, self.backend)))
        return "\n".join([head, *rows, self.verdict])


def check(
    profile: str | ClusterSpec | None = None,
    *,
    start: bool = False,
    patience: float = START_PATIENCE,
    on_step: Callable[[Finding], None] | None = None,
    on_news: Callable[[str], None] | None = None,
    **overrides: Unpack[Overrides],
) -> CheckReport:
    """What a cluster of this profile would need, looked at without starting it; with ``start`` one worker really runs.

    That worker may wait in a queue for ``patience`` seconds; nothing is left of it in the end, however that is.
    ``on_step`` is called with each step as it is made, ``on_news`` with what is waited for meanwhile. Raises ConfigError
    and BackendUnavailable, as ``connect`` does, for a profile that cannot be resolved at all.
    """
    resolved = resolve(profile, overrides)
    steps = []
    for step in _steps(resolved, Trial(profile, overrides, patience, on_news) if start else None):
        steps.append(_with_origin(step, resolved))
        if on_step is not None:
            on_step(steps[-1])
    return CheckReport(resolved.profile, resolved.backend.name, tuple(steps))


def _steps(resolved: Resolved, trial: Trial | None) -> Iterator[Finding]:
    yield Finding("ok", "config", f"{_files(resolved.origins)}, no problem")
    backend = _looked_at("backend", lambda: _loads(resolved))
    yield backend
    if backend.mark != "ok":
        return
    if refused := _refused(resolved):
        yield refused
        return
    failed = False
    for finding in _of_backend(resolved):
        failed = failed or finding.mark == "fail"
        yield finding
    planned = _looked_at("plan", lambda: _planned(resolved).summary or "says nothing of what it would send")
    yield planned
    if trial is not None and planned.mark == "ok":
        if failed:
            yield Finding("warn", "one worker", "not started, for what is wrong above")
        else:
            yield from trial.findings(resolved)


def _looked_at(title: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", title, look())
    except ClusterhubError as error:
        return Finding("fail", title, str(error))


def _files(origins: Mapping[str, str]) -> str:
    """``2 files``: those that say anything of the profile."""
    places = (re.fullmatch(r"(?P<file>.+):\d+", origin) for origin in origins.values())
    files = {place["file"] for place in places if place is not None}
    return counted(len(files), "file") if files else "no file"


def _loads(resolved: Resolved) -> str:
    from importlib.metadata import version

    backend = resolved.backend
    backend.load()
    if reason := backend.unusable():
        raise ClusterhubError(reason)
    return f"{backend.name}; dask {version('dask')}, distributed {version('distributed')} here"


def _refused(resolved: Resolved) -> Finding | None:
    """What is asked for and cannot be honoured; what can needs no words."""
    try:
        refuse_unsupported(resolved.backend, resolved.spec, resolved.options, resolved.origins)
    except ClusterhubError as error:
        return Finding("fail", "features", str(error))
    return None


def _of_backend(resolved: Resolved) -> Iterator[Finding]:
    """What only the backend can look at. A plugin that fails at it is no reason to look at nothing else."""
    name = resolved.backend.name
    try:
        for found in resolved.backend.problems(resolved.spec, resolved.options):
            yield Finding("warn", name, found) if isinstance(found, str) else found
    except ClusterhubError as error:
        yield Finding("fail", name, str(error))


def _planned(resolved: Resolved) -> Plan[Any]:
    return planned(resolved, new_name(f"check-{resolved.profile}"))


def _with_origin(finding: Finding, resolved: Resolved) -> Finding:
    """A backend names the key that decides it; where that was written, only we know."""
    leaf = next((leaf for leaf in resolved.leaves() if leaf.path == finding.because), None)
    if leaf is None or finding.mark == "ok":
        return finding
    return replace(finding, text=f"{finding.text}\nbecause  {leaf.origin}  {leaf.path} = {leaf.text}")
