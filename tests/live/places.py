"""The five kinds of places where an analysis can run, each brought up for it: with a profile, and with a way to kill workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil

from labs import gateway, kubernetes, slurm
from labs.gateway.lab import Gateway
from labs.pbs.lab import Lab as PbsLab

TESTS = Path(__file__).parents[1]
FONTS = f"{tempfile.gettempdir()}/clusterhub-matplotlib-{os.getuid()}"
"""Where matplotlib writes down which fonts there are, which takes it long in a new home."""
WORKER = {"cores": 1, "memory": "1 GiB"}
PATIENCE = 600.0
"""Seconds that any one command may take. It is only there so that nothing hangs for ever."""


class Failed(Exception):
    """A command of a place ended with an error; says which, and what it said."""


class Place(ABC):
    """One place that is up. Its profile is called ``place``."""

    name: ClassVar[str]
    workers: ClassVar[int]
    """Of a cluster there. They differ from place to place: what is computed must not."""
    takes_minutes_to_build: ClassVar[bool] = False
    """Whether tests have it only where they are asked for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(TESTS),
            "MPLCONFIGDIR": FONTS,
        }

    def settle(self, **options: Any) -> None:
        """Write the profile."""
        said = {"backend": self.name, "workers": self.workers, "worker": WORKER, **options}
        (self.home / ".clusterhub.yaml").write_text(json.dumps({"profiles": {"place": said}}))

    @staticmethod
    @abstractmethod
    def missing() -> str | None:
        """Why there can be none here, or None."""

    @classmethod
    @abstractmethod
    def standing(cls, folder: Path) -> Any:
        """A context in which it is up, in that empty folder."""

    def entering(self, argv: Sequence[str]) -> list[str]:
        """The command that runs ``argv`` where its users are."""
        return list(argv)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A program there, whose output and errors are kept."""
        return subprocess.Popen(
            self.entering(argv), env=self.environment, cwd=self.home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *argv: str) -> str:
        """What a program there prints. Raises Failed."""
        return finished(self.start(*argv), argv)

    def clusterhub(self, *words: str) -> str:
        """What our command prints there. Raises Failed."""
        return self.run(*hub(*words))

    @contextmanager
    def cluster(self, name: str, *words: str) -> Iterator[str]:
        """A cluster of that name with all its workers, which ends with the context."""
        self.clusterhub("up", "place", "--name", name, "--workers", str(self.workers), "--wait", *words)
        try:
            yield name
        finally:
            self.clusterhub("down", name)

    def connected(self, cluster: str) -> list[dict[str, Any]]:
        """What its backend launched for a cluster, and has connected."""
        told = json.loads(self.clusterhub("status", cluster, "--json"))
        return [unit for unit in told["units"] if unit["state"] == "connected"]

    @contextmanager
    def awaiting(self, cluster: str, count: int) -> Iterator[Callable[[], str]]:
        """Watches from now on; the call returns once the cluster has computed so many tasks. Raises Failed."""
        argv = (sys.executable, "-m", "live.awaited", cluster, str(count))
        watch = self.start(*argv)
        assert watch.stdout is not None
        try:
            if not watch.stdout.readline():
                finished(watch, argv)
            yield lambda: finished(watch, argv)
        finally:
            if watch.poll() is None:
                watch.kill()
                watch.communicate()

    def until_replaced(self, cluster: str, killed: list[dict[str, Any]]) -> None:
        """Return once there are as many workers as were asked for, none of them at the address of those. Raises Failed."""
        gone = {address for unit in killed for address in unit["workers"]}

        def whole() -> bool:
            addresses = {address for unit in self.connected(cluster) for address in unit["workers"]}
            return len(addresses) == self.workers and not addresses & gone

        until(whole, f"{self.workers} workers on {self.name}, after {len(killed)} were killed")

    @abstractmethod
    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        """Kill these, as a crash would."""


def hub(*words: str) -> tuple[str, ...]:
    """Our command."""
    return (sys.executable, "-m", "clusterhub", *words)


def finished(program: subprocess.Popen[str], argv: Sequence[str]) -> str:
    """What it prints until its end. Raises Failed where that is not well."""
    try:
        out, errors = program.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        program.kill()
        out, errors = program.communicate()
        raise Failed(f"{' '.join(argv)}: not within {PATIENCE:g} s\n{out[-4000:]}{errors[-4000:]}") from None
    if program.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {program.returncode}\n{out[-4000:]}{errors[-4000:]}")
    return out


class Local(Place):
    """This machine."""

    name = "local"
    workers = 2

    @staticmethod
    def missing() -> str | None:
        return None

    @classmethod
    @contextmanager
    def standing(cls, folder: Path) -> Iterator[Place]:
        place = cls(folder)
        place.settle()
        yield place

    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        ports = {int(address.rpartition(":")[2]) for unit in units for address in unit["workers"]}
        listening = {
            each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port in ports
        }
        for pid in listening - {None}:
            os.kill(pid, signal.SIGKILL)


class Slurm(Place):
    """A real SLURM, of a login host and four nodes."""

    name = "slurm"
    workers = 4
    shortest_walltime = "1m"

    lab: slurm.Lab

    @staticmethod
    def missing() -> str | None:
        return slurm.missing()

    @classmethod
    @contextmanager
    def standing(cls, folder: Path) -> Iterator[Place]:
        with slurm.standing("ch-places") as lab:
            folder.chmod(0o755)
            place = cls(folder)
            place.lab = lab
            place.environment |= {
                name: value for name, value in lab.environment.items() if name not in place.environment
            }
            place.settle(job={"walltime": "20m"})
            yield place

    def entering(self, argv: Sequence[str]) -> list[str]:
        return self.lab.entering(*argv)

    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        self.run("scancel", "--signal=KILL", "--full", *(unit["name"] for unit in units))


class Pbs(Place):
    """The stand-in for PBS, whose jobs are processes of this machine."""

    name = "pbs"
    workers = 3
    shortest_walltime = "45s"

    lab: PbsLab

    @staticmethod
    def missing() -> str | None:
        return None if sys.platform == "linux" else "the stand-in for PBS lives on /proc"

    @classmethod
    @contextmanager
    def standing(cls, folder: Path) -> Iterator[Place]:
        place = cls(folder)
        place.lab = PbsLab(folder / "lab", place.home)
        place.lab.up(nodes={name: {"ncpus": 16, "mem": "64gb"} for name in ("pbshost", "pbsn1")}, poll=0.5)
        try:
            place.environment["PATH"] = f"{place.lab.bin}{os.pathsep}{place.environment['PATH']}"
            place.settle(job={"walltime": "20m"})
            yield place
        finally:
            place.lab.down()

    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        """All processes of the jobs: each leads a session of its own."""
        for unit in units:
            shown = self.run("qstat", "-f", unit["name"])
            leader = int(shown.partition("session_id = ")[2].split()[0])
            for process in psutil.process_iter():
                if session_of(process.pid) == leader:
                    process.kill()


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


class OnGateway(Place):
    """A real dask-gateway, whose workers are processes of this machine."""

    name = "gateway"
    workers = 3

    lab: Gateway

    @staticmethod
    def missing() -> str | None:
        return gateway.missing()

    @classmethod
    @contextmanager
    def standing(cls, folder: Path) -> Iterator[Place]:
        place = cls(folder)
        place.lab = Gateway(folder / "lab")
        place.lab.start()
        try:
            place.environment |= place.lab.environment()
            place.settle(gateway=place.lab.table())
            yield place
        finally:
            place.lab.stop()

    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        (there,) = self.lab.clusters()
        for unit in units:
            self.lab.kill_worker(there, unit["name"])


class Kubernetes(Place):
    """A real Kubernetes, with Dask's operator."""

    name = "kubernetes"
    workers = 4
    takes_minutes_to_build = True

    lab: Path

    @staticmethod
    def missing() -> str | None:
        return kubernetes.missing(Path("/tmp/ch-places-kubernetes"))

    @classmethod
    @contextmanager
    def standing(cls, folder: Path) -> Iterator[Place]:
        lab = Path("/tmp") / f"ch-places-{os.getpid()}"
        environment = kubernetes.environment(lab)
        place = cls(folder)
        place.lab = lab
        try:
            subprocess.run(
                [kubernetes.COMMAND, "up"], env=environment, check=True, capture_output=True, timeout=PATIENCE
            )
            place.settle(
                kubernetes={
                    "kubeconfig": str(lab / "user.kubeconfig"),
                    "requests": {"cores": 0.1},
                    "scheduler": {"cores": 1, "memory": "1 GiB"},
                }
            )
            yield place
        finally:
            subprocess.run(
                [kubernetes.COMMAND, "down"], env=environment, check=False, capture_output=True, timeout=PATIENCE
            )
            shutil.rmtree(lab, ignore_errors=True)

    def kill(self, cluster: str, units: list[dict[str, Any]]) -> None:
        names = [f"pod/{unit['name']}" for unit in units]
        argv = [kubernetes.COMMAND, "kubectl", "delete", "-n", "ocean", "--force", "--grace-period=0", *names]
        subprocess.run(argv, env=kubernetes.environment(self.lab), check=True, capture_output=True, timeout=PATIENCE)


PLACES: tuple[type[Place], ...] = (Local, Pbs, Slurm, OnGateway, Kubernetes)


def until(holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Return once ``holds()``. Raises Failed, naming ``what``, when it does not in time."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"not within {patience:g} s: {what}")
        time.sleep(0.2)
