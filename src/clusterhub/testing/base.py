"""What the parts of the suite share: how a cluster is made, and how long anything may take."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import clusterhub
from clusterhub.backend import Backend, UnitState
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.profile import Resolved, resolve


class Base:
    """The settings of a suite, and the few verbs its tests are written in."""

    backend: ClassVar[str]
    overrides: ClassVar[Mapping[str, Any]] = {}
    broken: ClassVar[Mapping[str, Any] | None] = None
    timeout: ClassVar[float] = 60.0

    def lose_worker(self, cluster: Cluster) -> None:
        """End one connected worker the hard way, as a failing node would."""
        with cluster.get_client(set_as_default=False) as client:
            pid = next(iter(client.run(os.getpid).values()))
        if pid == os.getpid():
            raise NotImplementedError("workers live in the test's own process: override lose_worker")
        os.kill(pid, signal.SIGKILL)

    @contextmanager
    def cluster(self, **overrides: Any) -> Iterator[Cluster]:
        """A cluster of the suite's backend with all workers connected; closed afterwards."""
        with self.unwaited(**overrides) as cluster:
            cluster.wait(timeout=self.timeout, display=silent())
            yield cluster

    @contextmanager
    def unwaited(self, **overrides: Any) -> Iterator[Cluster]:
        """The same without waiting for its workers."""
        with clusterhub.connect(self.backend, **{**self.overrides, **overrides}) as cluster:
            yield cluster

    def resolved(self, **overrides: Any) -> Resolved:
        """The suite's profile, resolved."""
        return resolve(self.backend, {**self.overrides, **overrides})

    def loaded(self) -> Backend[Any]:
        """The backend itself, loaded."""
        backend = self.resolved().backend
        backend.load()
        return backend

    def eventually(self, what: str, met: Callable[[], bool]) -> None:
        """Return once ``met()`` holds; fail, naming ``what``, when it does not in time."""
        deadline = time.monotonic() + self.timeout
        while not met():
            assert time.monotonic() < deadline, f"not in {self.timeout:g} s: {what}"
            time.sleep(0.1)

    def settled(self, cluster: Cluster, n: int) -> bool:
        """Whether exactly ``n`` workers are connected, and every unit that lives is connected."""
        report = cluster.report()
        trouble = (UnitState.LOST, UnitState.PENDING, UnitState.RUNNING, UnitState.SUBMITTING)
        return report.connected == n and not any(unit.state in trouble for unit in report.units)

    def per_unit(self) -> int:
        """Workers that come and go together on this backend."""
        return self.resolved().spec.packing.workers_per_job
