"""What the stories of a SLURM need besides those of any batch system (:mod:`live.faults`)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusterhub.backend import Unit, UnitState
from clusterhub.cluster import Cluster
from clusterhub.keeper.records import Store

LAB = Path(__file__).parents[1] / "labs" / "slurm" / "lab"


def lab(*words: str) -> None:
    """A command of the lab, from within."""
    subprocess.run([str(LAB), *words], check=True, timeout=120)


def quiet_python(folder: Path) -> str:
    """A python that is found to have all that a worker needs, and whose workers live and say nothing: hundreds fit here."""
    path = folder / "python"
    path.write_text("#!/bin/bash\n[[ $1 == -c ]] && exit 0\nexec sleep 600\n")
    path.chmod(0o755)
    return str(path)


class Submissions:
    """Every call of sbatch with its exit code, by a command of that name that is found first."""

    def __init__(self, folder: Path, real: str) -> None:
        self._log = folder / "submissions"
        shim = folder / "sbatch"
        shim.write_text(f'#!/bin/bash\n{real} "$@"\ncode=$?\necho "$code $*" >>{self._log}\nexit $code\n')
        shim.chmod(0o755)

    @property
    def all(self) -> list[str]:
        """``0 --parsable --array=0-9``, in their order."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def refused(self) -> list[str]:
        """Those that were refused."""
        return [line for line in self.all if not line.startswith("0 ")]


@contextmanager
def forgetful_controller() -> Iterator[None]:
    """It knows nothing of a job soon after its end, which it looks for every ten seconds."""
    lab("configure", "MinJobAge=2")
    try:
        yield
    finally:
        lab("configure", "MinJobAge=300")


def is_forgotten(job: str) -> bool:
    """Whether the controller does not know of it any more."""
    asked = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=False)
    return "Invalid job id" in asked.stderr or "not found" in asked.stdout + asked.stderr


@contextmanager
def stopped_keeper(name: str) -> Iterator[None]:
    """The keeper of that cluster sees nothing of what happens meanwhile."""
    keeper = Store.here().read(name).keeper
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(keeper.pid, signal.SIGCONT)


def names(cluster: Cluster) -> set[str]:
    """What the system calls the jobs of the cluster."""
    return {unit.name for unit in cluster.units()}


def failed(cluster: Cluster, reason: str) -> dict[str, Unit]:
    """The jobs that failed, by name; none as long as one of them is not told with that reason."""
    found = {unit.name: unit for unit in cluster.units() if unit.state is UnitState.FAILED}
    return found if all(reason in unit.reason for unit in found.values()) else {}
