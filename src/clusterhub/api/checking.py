"""The doctor: goes through what a profile needs, step by step, and says of each whether it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Unpack

from clusterhub.api.connecting import kept_opening, new_name, planned
from clusterhub.backend import Plan, refuse_unsupported
from clusterhub.errors import ClusterhubError
from clusterhub.profile import Overrides, Resolved, resolve
from clusterhub.spec import ClusterSpec

Mark = Literal["ok", "warn", "fail"]

START_PATIENCE = 300.0
"""Seconds that the one worker of ``--start`` may take to come; a queue may well be longer, and is told as such."""


RESULT_PATIENCE = 60.0
"""Seconds for the sum of two numbers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing looked at: whether it is well, and what was seen."""

    mark: Mark
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that was looked at, in order."""

    profile: str
    backend: str
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings do not count."""
        return all(step.mark != "fail" for step in self.steps)

    def __str__(self) -> str:
        marks = {"ok": "✔", "warn": "!", "fail": "✘"}
        width = max((len(step.title) for step in self.steps), default=0)
        lines = [f"  {marks[step.mark]} {step.title:<{width}}  {step.text}" for step in self.steps]
        verdict = "everything works" if self.ok else "something is wrong; see the steps marked ✘"
        return "\n".join([f"{self.profile} · {self.backend}", *lines, verdict])


def check(
    profile: str | ClusterSpec | None = None,
    *,
    start: bool = False,
    on_step: Callable[[Step], None] | None = None,
    **overrides: Unpack[Overrides],
) -> CheckReport:
    """What a cluster of this profile would need, looked at without starting it; with ``start`` one worker really runs.

    ``on_step`` is called with each step as it comes. Raises ConfigError and BackendUnavailable, as ``connect`` does, for a
    profile that cannot be resolved at all.
    """
    resolved = resolve(profile, overrides)
    steps = []
    for step in _steps(resolved, start):
        steps.append(step)
        if on_step is not None:
            on_step(step)
    return CheckReport(resolved.profile, resolved.backend.name, tuple(steps))


def _steps(resolved: Resolved, start: bool) -> Iterator[Step]:
    spec, backend = resolved.spec, resolved.backend
    yield Step("ok", "config", f"resolved; see it with: clusterhub show {resolved.profile}")
    usable = True
    for step in (_step("backend", lambda: _loads(resolved)), _step("features", lambda: _honours(resolved))):
        usable = usable and step.mark == "ok"
        yield step
        if not usable:
            return
    for problem in backend.problems(spec, resolved.options):
        yield Step("warn", backend.name, problem)
    planned = _step("plan", lambda: _planned(resolved).summary)
    yield planned
    if start and planned.mark == "ok":
        yield from _one_worker(resolved)


def _step(title: str, look: Callable[[], str]) -> Step:
    try:
        return Step("ok", title, look())
    except ClusterhubError as error:
        return Step("fail", title, str(error))


def _loads(resolved: Resolved) -> str:
    from importlib.metadata import version

    backend = resolved.backend
    backend.load()
    if reason := backend.unusable():
        raise ClusterhubError(reason)
    return f"{backend.name} loads; dask {version('dask')}, distributed {version('distributed')} here"


def _honours(resolved: Resolved) -> str:
    refuse_unsupported(resolved.backend, resolved.spec, resolved.options, resolved.origins)
    return "all that is asked for can be honoured"


def _planned(resolved: Resolved, workers: int | None = None) -> Plan[Any]:
    if workers is not None:
        spec = resolved.spec.model_copy(update={"workers": type(resolved.spec.workers).exactly(workers)})
        resolved = replace(resolved, spec=spec)
    return planned(resolved, new_name(f"check-{resolved.profile}"))


def _one_worker(resolved: Resolved) -> Iterator[Step]:
    """Start one worker, compute on it, compare versions, end it; each stage with its time."""
    from clusterhub.cluster import Cluster, Opening
    from clusterhub.display.waiting import silent

    title, began = "one worker", time.monotonic()
    times = []

    def lap(what: str) -> None:
        nonlocal began
        now = time.monotonic()
        times.append(f"{what} {now - began:.1f} s")
        began = now

    try:
        one = _planned(resolved, workers=1)
        if resolved.spec.lifecycle.host == "job":
            opening = kept_opening(one, named=False, kept=False)
        else:
            opening = Opening(partial(resolved.backend.start, one))
        with Cluster(one, opening) as cluster:
            lap("scheduler up")
            cluster.wait(1, timeout=START_PATIENCE, display=silent())
            lap("connected")
            with cluster.get_client(set_as_default=False) as client:
                client.submit(sum, [1, 2]).result(timeout=RESULT_PATIENCE)
                lap("result")
                differences = version_differences(client.get_versions(packages=["xarray"]))
        lap("gone")
    except ClusterhubError as error:
        yield Step("fail", title, str(error))
        return
    except Exception as error:  # noqa: BLE001 - whatever Dask raises for a worker that cannot compute is what is told
        yield Step("fail", title, f"came, and could not compute: {type(error).__name__}: {error}")
        return
    yield Step("ok", title, " · ".join(times))
    if differences:
        yield Step("warn", "versions", f"{differences}; install the same in both")
    else:
        yield Step("ok", "versions", f"the worker has the same {', '.join(COMPARED)}")


COMPARED = {"python": 2, "dask": 3, "distributed": 3, "numpy": 2, "xarray": 3}
"""Packages whose versions are compared between here and the worker, and how many of a version's parts matter."""


def version_differences(versions: Mapping[str, Any]) -> str:
    """One clause for each package that differs in a way that matters, from ``Client.get_versions()``; or nothing."""
    here = versions["client"]["packages"]
    # One profile has one environment: the first worker speaks for all.
    there = next(iter(versions["workers"].values()), {"packages": here})["packages"]
    return "; ".join(
        f"{package} is {there.get(package) or 'missing'} on the worker and {here.get(package) or 'missing'} here"
        for package, parts in COMPARED.items()
        if _leading(here.get(package), parts) != _leading(there.get(package), parts)
    )


def _leading(version: str | None, parts: int) -> list[str]:
    return version.split(".")[:parts] if version else []
