"""One side of a comparison on a batch system: a process on its login host that does as it is told, a line of JSON at a time.

``python -m benchmarks.sides hub FOLDER``, or ``jobqueue``, or ``queue``. Processes of their own, since importing dask_jobqueue
replaces the handler of SIGINT, and since neither is to share the other's interpreter. With a number of workers behind it, it
is a script instead: it makes its cluster, says when they were there, and ends. All times are Unix times, as in SLURM's log.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

CORES, MEMORY = 1, "512 MiB"
"""Of a worker, which has a job to itself."""
LOGIN, NODE = "bridge0", "eth0"
"""The interfaces of the lab's login host, and of its nodes."""
LOST = 1.0
"""Seconds after which dask-jobqueue ends the job of a worker that is gone."""
NO_PYTHON = "/no/such/python"
PATIENCE = 180.0
"""Seconds that workers which can come may take."""
LOOK = 0.1
"""Seconds between two looks at the queue by who only watches: rare enough to be no burden to either side."""


class Side(ABC):
    """A cluster of one kind, and what is measured of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster: Any = None
        self._client: Any = None
        os.environ["DASK_CONFIG"] = str(folder / "dask")  # none, on either side

    @abstractmethod
    def make(self, workers: int, python: str = sys.executable, memory: str = MEMORY) -> Any:
        """A cluster with so many workers asked for."""

    def start(self, workers: int, wait: bool = True, memory: str = MEMORY) -> tuple[float, float]:
        """When the making of a cluster began, and when it was over: with ``wait``, when all its workers were connected."""
        began = time.time()
        self.cluster = self.make(workers, memory=memory)
        if wait:
            self.cluster.wait_for_workers(workers, timeout=PATIENCE)
        return began, time.time()

    def script(self, workers: int) -> tuple[float, float]:
        """The same in a new interpreter, from its start on."""
        began = time.time()
        argv = [sys.executable, "-m", "benchmarks.sides", _name(type(self)), str(self.folder), str(workers)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return began, float(done.stdout)

    def scale(self, workers: int) -> float:
        """When it was told to have so many."""
        began = time.time()
        self.cluster.scale(workers)
        return began

    def reach(self, workers: int) -> tuple[float, float]:
        """When it was told to have so many, and when they were connected."""
        began = time.time()
        self.cluster.scale(workers)
        self.cluster.wait_for_workers(workers, timeout=PATIENCE)
        return began, time.time()

    def notice(self, workers: int, timeout: float) -> dict[str, Any]:
        """When a cluster whose python does not exist was asked for; when that was told; when the wait ended, and how."""
        began = time.time()
        self.cluster = self.make(workers, python=NO_PYTHON)
        named = self.named()
        try:
            self.cluster.wait_for_workers(workers, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - which one it is, and when, is what is measured
            return {"began": began, "named": named, "ended": time.time(), "words": f"{type(error).__name__}: {error}"}
        raise AssertionError("workers came of a python that does not exist")

    def be_forgetful(self) -> None:
        """See :data:`benchmarks.analyses.FORGETFUL`; for clusters that are made from now on."""
        import dask

        from .analyses import FORGETFUL

        dask.config.set(FORGETFUL)

    def work(self, analysis: str) -> tuple[float, float, str]:
        """What one of the analyses (:mod:`benchmarks.analyses`) takes on the cluster."""
        from distributed import Client

        from .analyses import ANALYSES, timed

        if self._client is None:
            self._client = Client(self.cluster, set_as_default=False)
        return timed(ANALYSES[analysis], self._client)

    def named(self) -> float | None:
        """When the cluster told of a job that failed; None where it tells of none."""
        return None

    def close(self) -> None:
        """End the cluster, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None


class Hub(Side):
    """clusterhub's, in a keeper."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "clusterhub.yaml").write_text("{}\n")
        os.environ["CLUSTERHUB_CONFIG"] = str(folder / "clusterhub.yaml")
        os.environ["CLUSTERHUB_STATE"] = str(folder / "state")
        import distributed  # noqa: F401 - a notebook has imported it, as the other side must

        import clusterhub

        self._connect = clusterhub.connect

    def make(self, workers: int, python: str = sys.executable, memory: str = MEMORY) -> Any:
        """``connect``."""
        return self._connect(
            "slurm",
            workers=workers,
            worker={"cores": CORES, "memory": memory},
            job={"walltime": "1h"},
            environment={"python": python},
            storage={"logs": str(self.folder / "logs")},
        )

    def named(self) -> float:
        """When the report had a cause for a job that failed."""
        deadline = time.monotonic() + PATIENCE
        while not any(unit.failure for unit in self.cluster.units()):
            assert time.monotonic() < deadline, self.cluster.report()
            time.sleep(LOOK)
        return time.time()

    def keeper_seconds(self) -> float:
        """Seconds of CPU that the cluster's keeper has used so far, its commands not counted."""
        import psutil

        from clusterhub.keeper.records import Store

        record = Store.here().read(self.cluster.name)
        assert record.keeper is not None
        used = psutil.Process(record.keeper.pid).cpu_times()
        return float(used.user + used.system)


class JobQueue(Side):
    """dask-jobqueue's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # Once a worker has been gone for that long, the job of its name is ended: a new one, if the name was given again
        # meanwhile. 15 s by default, within which we scale up again (distributed.deploy.spec, _update_worker_status).
        os.environ["DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT"] = f"{LOST}s"
        import dask_jobqueue

        self._cluster = dask_jobqueue.SLURMCluster

    def make(self, workers: int, python: str = sys.executable, memory: str = MEMORY) -> Any:
        """``SLURMCluster`` and ``scale``: encrypted and without dashboards of the workers, as ours; Bokeh is slow to import."""
        cluster = self._cluster(
            cores=CORES,
            processes=1,
            memory=memory,
            walltime="01:00:00",
            python=python,
            interface=NODE,
            scheduler_options={"interface": LOGIN, "dashboard_address": "127.0.0.1:0"},
            worker_extra_args=["--no-dashboard"],
            security=True,
            shared_temp_directory=str(self.folder),
            log_directory=str(self.folder / "logs"),
        )
        cluster.scale(workers)
        return cluster


class Queue:
    """Neither: it only watches, for both. What matters it reads in the log of SLURM's controller, which nobody waits for."""

    SUBMITTED = re.compile(r"\[(?P<when>\S+)\] _slurm_rpc_submit_batch_job: JobId=(?P<id>\d+) ")
    FAILED = re.compile(r"\[(?P<when>\S+)\] _job_complete: JobId=(?P<id>\d+)\S* .*WEXITSTATUS [1-9]")

    def __init__(self, folder: Path) -> None:
        self._log = Path(os.environ["CLUSTERHUB_SLURM_LAB"]) / "log" / "slurmctld.log"

    def newest(self) -> int:
        """The number of the latest submission; 0 where there is none."""
        return max((number for _, number in self._logged(self.SUBMITTED)), default=0)

    def submitted(self, jobs: int, after: int, timeout: float = 300.0) -> tuple[float, int]:
        """When SLURM had so many jobs of submissions later than ``after``, and how many submissions those are."""
        self._until(lambda: sum(array > after for array in self._jobs()) >= jobs, f"{jobs} jobs", timeout)
        times = [when for when, number in self._logged(self.SUBMITTED) if number > after]
        return max(times), len(times)

    def failed(self, after: int, timeout: float = 60.0) -> float:
        """When SLURM knew of the first job of a submission later than ``after`` that had failed."""

        def times() -> list[float]:
            return [when for when, number in self._logged(self.FAILED) if number > after]

        self._until(lambda: bool(times()), "a failed job", timeout)
        return min(times())

    def emptied(self, jobs: int, timeout: float = 300.0) -> None:
        """Return when no more than so many jobs are pending, running or ending."""
        self._until(lambda: len(self._jobs()) <= jobs, f"no more than {jobs} jobs", timeout)

    @staticmethod
    def _until(reached: Callable[[], bool], what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the queue did not come to {what} within {timeout:g} s")
            time.sleep(LOOK)

    def _logged(self, pattern: re.Pattern[str]) -> Iterator[tuple[float, int]]:
        for found in pattern.finditer(self._log.read_text(errors="replace")):
            yield datetime.fromisoformat(found["when"]).timestamp(), int(found["id"])

    @staticmethod
    def _jobs() -> list[int]:
        argv = ["squeue", "--noheader", "--array", "--format=%F"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
        return [int(array) for array in listed.split()]

    def close(self) -> None:
        """Nothing is left of it."""


SIDES: dict[str, Callable[[Path], Side | Queue]] = {"hub": Hub, "jobqueue": JobQueue, "queue": Queue}


def _name(kind: type) -> str:
    return next(name for name, side in SIDES.items() if side is kind)


def main(kind: str, folder: Path) -> None:
    """Answer every line of standard input, until it ends."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
        side = SIDES[kind](folder)
        try:
            _say(answers, value="ready")
            for line in sys.stdin:
                _answer(side, json.loads(line), answers)
        finally:
            side.close()


def _answer(side: Side | Queue, request: dict[str, Any], answers: TextIO) -> None:
    try:
        value = getattr(side, request.pop("do"))(**request)
    except Exception as error:  # noqa: BLE001 - told to who asked
        _say(answers, error=f"{type(error).__name__}: {error}")
    else:
        _say(answers, value=value)


def _say(answers: TextIO, **answer: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), file=answers, flush=True)


def once(kind: str, folder: Path, workers: int) -> None:
    """Make a cluster, say when its workers were there, and end it."""
    side = SIDES[kind](folder)
    assert isinstance(side, Side)
    _, over = side.start(workers)
    print(over, flush=True)
    side.close()


# Guarded, since processes that are spawned import this module.
if __name__ == "__main__":
    if len(sys.argv) > 3:
        once(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
