"""One worker, really started, watched through every stage, computed on and ended: what no looking can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clusterhub.api.connecting import prepare
from clusterhub.backend import Finding, Leaf, Unit, UnitState
from clusterhub.errors import ClusterGone, ClusterhubError, Failure, WorkersFailed
from clusterhub.quantities import Duration
from clusterhub.versions import COMPARED, differences

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster
    from clusterhub.display import Report
    from clusterhub.profile import Resolved
    from clusterhub.spec import ClusterSpec

START_PATIENCE = 300.0
"""Seconds that the one worker may wait in a queue, and as many until it is there once its unit runs."""
RESULT_PATIENCE = 60.0
"""Seconds for the sum of two numbers."""
PAUSE = 0.1
"""Seconds between two looks: stages are short."""
LASTING = 2.0
"""Seconds for which something is waited for before it is told: most waits are shorter."""
TITLE = "one worker"
STAGES = {UnitState.PENDING: "submitted", UnitState.RUNNING: "running", UnitState.CONNECTED: "connected"}


class Laps:
    """How long each stage took, one after the other."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.texts: list[str] = []

    def lap(self, what: str) -> None:
        """``what`` is reached now."""
        self.texts.append(f"{what} {_seconds(time.monotonic() - self._began)}")
        self.resume()

    def resume(self, remark: str = "") -> None:
        """The next stage begins only now; ``remark`` is on the one before."""
        self.texts[-1:] = [text + remark for text in self.texts[-1:]]
        self._began = time.monotonic()


def _seconds(span: float) -> str:
    """``12 ms``, ``3.1 s``."""
    return f"{1000 * span:.0f} ms" if span < 0.0995 else f"{span:.1f} s"


class Trial:
    """The start of one worker of a profile, as ``connect`` with the same arguments would start it."""

    def __init__(
        self,
        profile: str | ClusterSpec | None,
        overrides: Mapping[str, Any],
        patience: float,
        on_news: Callable[[str], None] | None,
    ) -> None:
        self._profile = profile
        self._overrides = {**overrides, "workers": 1}
        self._patience = patience
        self._on_news = on_news
        self._seen: tuple[object, float] = (None, 0.0)
        self._told: object = None

    def findings(self, resolved: Resolved) -> Iterator[Finding]:
        """What came of it. Nothing is left running, however it ends."""
        laps = Laps()
        try:
            versions = self._run(resolved, laps)
        except WorkersFailed as failed:
            yield Finding("fail", TITLE, str(failed))
        except ClusterhubError as error:
            yield Finding("fail", TITLE, " · ".join([*laps.texts, str(error)]))
        except Exception as error:  # noqa: BLE001 - whatever Dask raises for a worker that cannot compute is what is told
            yield Finding("fail", TITLE, f"came, and could not compute: {type(error).__name__}: {error}")
        else:
            yield Finding("ok", TITLE, " · ".join(laps.texts))
            if different := version_differences(versions):
                yield Finding("warn", "versions", f"{different}; install the same in both")
            else:
                yield Finding("ok", "versions", f"the worker has the same {', '.join(COMPARED)}")

    def _run(self, resolved: Resolved, laps: Laps) -> Mapping[str, Any]:
        """The versions that client and worker have; raises what kept the worker from coming or computing."""
        from clusterhub.cluster import Cluster

        prepared = prepare(self._profile, None, False, self._overrides, start=True)
        with Cluster(prepared.plan, prepared.opening()) as cluster:
            laps.lap("scheduler up")
            self._await(cluster, resolved, laps)
            with cluster.get_client(set_as_default=False) as client:
                laps.resume(_via(client) if resolved.backend.remote else "")
                client.submit(sum, [1, 2]).result(timeout=RESULT_PATIENCE)
                laps.lap("result")
                versions: Mapping[str, Any] = client.get_versions(packages=["xarray"])
            laps.resume()
        laps.lap("gone")
        return versions

    def _await(self, cluster: Cluster, resolved: Resolved, laps: Laps) -> None:
        """Return once the worker is connected. Raises WorkersFailed at the first sign of a cause, and gives up in the end."""
        seen = [UnitState.SUBMITTING]
        deadline = time.monotonic() + self._patience
        while True:
            report = self._look(cluster)
            unit = report.units[0] if report.units else None
            for state, word in STAGES.items():
                if unit is not None and unit.state is state and state not in seen:
                    seen.append(state)
                    laps.lap(word)
                    if state is UnitState.RUNNING:
                        deadline = time.monotonic() + self._patience
            if report.connected:
                if UnitState.CONNECTED not in seen:
                    laps.lap("connected")
                return
            _raise_cause(report, resolved)
            if unit is not None:
                self._tell(unit, report.unit_noun)
            if time.monotonic() > deadline:
                raise ClusterhubError(self._given_up(unit, report.unit_noun, resolved.profile))
            time.sleep(PAUSE)

    def _look(self, cluster: Cluster) -> Report:
        """The cluster as it is. A scheduler that is busy for a moment is no reason to give up."""
        deadline = time.monotonic() + RESULT_PATIENCE
        while True:
            try:
                return cluster.report()
            except ClusterGone as gone:
                if gone.final or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)

    def _tell(self, unit: Unit, noun: str) -> None:
        """What is waited for, once it lasts."""
        essence = (unit.name, unit.state, unit.reason)
        if essence != self._seen[0]:
            self._seen = (essence, time.monotonic())
        elif self._on_news is not None and essence != self._told and time.monotonic() - self._seen[1] > LASTING:
            self._told = essence
            self._on_news(f"{noun} {unit.name} is {unit.state}{_why(unit)}")

    def _given_up(self, unit: Unit | None, noun: str, profile: str) -> str:
        patience = Duration(round(self._patience, 1))
        longer = (
            f"wait longer with: clusterhub check {profile} --start --timeout {Duration(max(60, 2 * int(patience)))}"
        )
        if unit is None:
            return f"nothing was started within {patience}; {longer}"
        starts = f"\nexpected to start at {unit.starts.astimezone():%a %d %b %H:%M}" if unit.starts else ""
        return (
            f"{noun} {unit.name} is still {unit.state} after {patience}{_why(unit)}{starts}\nit was withdrawn; {longer}"
        )


def _why(unit: Unit) -> str:
    source = f" ({unit.source})" if unit.source and unit.source not in unit.reason else ""
    return f": {unit.reason}{source}" if unit.reason else ""


def _raise_cause(report: Report, resolved: Resolved) -> None:
    """The first evidence is enough: a cluster would try again, a doctor tells."""
    evidence = next((unit.failure for unit in report.units if unit.failure is not None), None)
    if failure := report.failure or evidence:
        raise WorkersFailed(
            _with_origin(failure, resolved.leaves()), cluster=resolved.profile, support=resolved.spec.support
        )


def _with_origin(failure: Failure, leaves: list[Leaf]) -> Failure:
    leaf = next((leaf for leaf in leaves if leaf.path == failure.because), None)
    return failure if leaf is None else replace(failure, because=f"{leaf.origin}  {leaf.path} = {leaf.text}")


def _via(client: Any) -> str:
    """`` via 10.12.0.2``: the address of the scheduler that the worker reached; nothing where it is not known."""

    def way(dask_worker: Any) -> str:  # made here, so it travels by value to workers that have no clusterhub
        return str(dask_worker.scheduler.address)

    with suppress(OSError, AttributeError):  # a worker that cannot tell is none the worse for it
        address = next(iter(client.run(way).values()))
        if host := urlsplit(address).hostname:
            return f" via {host}"
    return ""


def version_differences(versions: Mapping[str, Any]) -> str:
    """One clause for each package that differs in a way that matters, from ``Client.get_versions()``; or nothing."""
    ours = versions["client"]["packages"]
    # One profile has one environment: the first worker speaks for all.
    theirs = next(iter(versions["workers"].values()), {"packages": ours})["packages"]
    return differences(ours, theirs)
