"""What goes wrong on batch systems, and what is made of it: the same stories on each, told to a :class:`System`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import clusterhub
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ClusterhubError, WaitTimeout, WorkersFailed

SMALL: dict[str, Any] = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}
PATIENCE = 120.0


class System(ABC):
    """One batch system, as a test sees it and breaks it."""

    backend: str
    shortest: str
    """The shortest walltime that it takes seriously."""
    python_without_dask = "/usr/bin/python3"

    @abstractmethod
    def queue(self) -> list[str]:
        """The jobs that wait or run."""

    @abstractmethod
    def submitted(self) -> int:
        """How many jobs there ever were."""

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> None:
        """End jobs, as somebody else might."""

    @abstractmethod
    def outage(self) -> AbstractContextManager[None]:
        """The system answers nobody meanwhile."""


def eventually(met: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    deadline = time.monotonic() + timeout
    while not (result := met()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return result


def come(cluster: Cluster) -> None:
    cluster.wait(timeout=PATIENCE, display=silent())


def connected(cluster: Cluster) -> set[str]:
    """The jobs whose workers are."""
    return {unit.name for unit in cluster.units() if unit.state == "connected"}


class Faults:
    """Needs a fixture ``system``."""

    def connect(self, system: System, **said: Any) -> Cluster:
        return clusterhub.connect(system.backend, **{**SMALL, **said})

    def fails(self, system: System, summary: str, because: str, **said: Any) -> WorkersFailed:
        """A request for many workers fails for this reason, and burns few jobs."""
        before = system.submitted()
        with self.connect(system, **{"workers": 200, **said}) as cluster:
            with pytest.raises(WorkersFailed, match=summary) as failed:
                cluster.wait(timeout=PATIENCE, display=silent())
            assert because in failed.value.failure.because
            assert failed.value.failure.next_step
        assert system.submitted() - before <= 5
        eventually(lambda: system.queue() == [])
        return failed.value

    # At the start

    @pytest.mark.parametrize(
        ("said", "summary", "because"),
        [
            ({"environment": {"python": "/no/such/python"}}, "python does not exist", "environment.python"),
            ({"environment": {"setup": ["true", "no-such-command"]}}, "setup failed", "environment.setup"),
            ({"environment": {"directory": "/no/such/folder"}}, "directory", "environment.directory"),
            ({"storage": {"scratch": "/proc/scratch"}}, "scratch", "storage.scratch"),
        ],
        ids=["python", "setup", "directory", "scratch"],
    )
    def test_a_bad_profile_is_named_with_its_key_and_burns_few_jobs(self, system, said, summary, because):
        self.fails(system, summary, because, **said)

    def test_a_python_without_dask_is_named(self, system):
        python = system.python_without_dask
        self.fails(system, "no dask and distributed", "environment.python", environment={"python": python})

    def test_a_package_that_the_workers_miss_is_named(self, system, tmp_path):
        (tmp_path / "tornado").mkdir()
        (tmp_path / "tornado" / "__init__.py").write_text("import missing_package\n")
        environment = {"variables": {"PYTHONPATH": str(tmp_path)}}
        failed = self.fails(system, "missing_package", "environment.python", environment=environment)
        assert any("missing_package" in line for line in failed.failure.log_tail)

    def test_a_scratch_disk_that_is_full_is_named(self, system, full_disk):
        failed = self.fails(system, "scratch", "storage.scratch", storage={"scratch": str(full_disk)})
        assert any("No space left on device" in line for line in failed.failure.log_tail)

    def test_a_log_folder_that_nodes_cannot_write_is_named(self, system, tmp_path):
        with self.connect(system, workers=0, storage={"logs": str(tmp_path / "logs")}) as cluster:
            folder = tmp_path / "logs" / cluster.name
            eventually(folder.exists)
            folder.rename(tmp_path / "elsewhere")
            folder.write_text("a file in its place")
            cluster.scale(1)
            with pytest.raises(WorkersFailed) as failed:
                cluster.wait(1, timeout=PATIENCE, display=silent())
            assert "storage.logs" in failed.value.failure.because

    def test_memory_that_the_start_needs_and_the_job_has_not_is_named(self, system):
        eat = f"{sys.executable} -c 'import time; eaten = bytearray(900 * 2**20); time.sleep(30)'"
        self.fails(system, "memory", "worker.memory", environment={"setup": [eat]}, workers=3)

    def test_workers_that_never_come_are_missing_and_told_with_their_reason(self, system):
        stuck = {"environment": {"setup": ["sleep 300"]}, "job": {"walltime": "20m", "startup_timeout": "5s"}}
        failed = self.fails(system, "never came", "", workers=3, **stuck)
        assert "never came" in failed.failure.source

    # From outside

    def test_a_pending_job_that_is_cancelled_from_outside_is_replaced(self, system, busy):
        with busy(), self.connect(system, workers=1) as cluster:
            (first,) = eventually(lambda: [unit.name for unit in cluster.units() if unit.state == "pending"])
            system.cancel([first])
            eventually(lambda: any(unit.name != first and unit.state == "pending" for unit in cluster.units()))
            assert cluster.report().failure is None

    def test_half_of_the_jobs_killed_at_once_come_back_without_a_call(self, system):
        with self.connect(system, workers=10) as cluster:
            come(cluster)
            killed = {unit.name for unit in cluster.units()[:5]}
            system.cancel(sorted(killed))
            eventually(lambda: killed.isdisjoint(connected(cluster)) and len(connected(cluster)) == 10)

    def test_workers_that_are_killed_on_their_node_come_back(self, system):
        with self.connect(system, workers=2) as cluster, cluster.get_client() as client:
            come(cluster)
            before = {unit.name for unit in cluster.units()}
            client.run(_death())
            eventually(lambda: before.isdisjoint(connected(cluster)))
            eventually(lambda: cluster.report().connected == 2)

    def test_results_survive_a_scale_down_of_jobs_of_two_workers(self, system):
        job = {"walltime": "20m", "workers_per_job": 2}
        with self.connect(system, workers=6, job=job) as cluster, cluster.get_client() as client:
            come(cluster)
            kept = client.map(_block(), range(24), pure=False)
            client.gather(client.map(len, kept))
            cluster.scale(2)
            eventually(lambda: cluster.report().connected == 2)
            assert [block[0] for block in client.gather(kept)] == list(range(24))
            eventually(lambda: len(system.queue()) == 1)

    # Walltime

    @pytest.mark.timeout(900)
    def test_work_longer_than_a_walltime_ends_with_every_result(self, system):
        job = {"walltime": system.shortest}
        seconds = clusterhub.Duration(system.shortest)
        with self.connect(system, workers=2, job=job) as cluster, cluster.get_client() as client:
            come(cluster)
            first = {unit.name for unit in cluster.units()}
            each = seconds / 15
            count = int(5 * seconds / each * 2)
            results = client.map(_slow(each), range(count), pure=False)
            assert sorted(client.gather(results)) == list(range(count))
            assert not first & {unit.name for unit in cluster.units()}, "it took no second job"
            assert cluster.report().remarks == ()

    def test_a_task_that_no_job_is_long_enough_for_is_named(self, system):
        job = {"walltime": system.shortest}
        seconds = clusterhub.Duration(system.shortest)
        with self.connect(system, workers=1, job=job) as cluster, cluster.get_client() as client:
            come(cluster)
            eternal = client.submit(_slow(10 * seconds), 0, key="eternal")
            with pytest.warns(UserWarning, match=r"job\.walltime") as warned:
                eventually(lambda: any("job.walltime" in str(each.message) for each in warned), 5 * seconds)
            eventually(lambda: cluster.report().remarks)
            assert "eternal" in cluster.report().remarks[0]
            assert "eternal" in str(cluster.report())
            eternal.release()
            eventually(lambda: not cluster.report().remarks)

    def test_a_walltime_that_is_too_short_for_the_start_is_named(self, system):
        setup = {"setup": [f"sleep {clusterhub.Duration(system.shortest) + 120:g}"]}
        self.fails(system, "walltime", "job.walltime", environment=setup, job={"walltime": system.shortest}, workers=3)

    # Outages

    def test_an_outage_while_running_is_no_news_and_what_is_asked_for_meanwhile_comes_after_it(self, system):
        with self.connect(system, workers=2) as cluster:
            come(cluster)
            before = sorted(unit.name for unit in cluster.units())
            with system.outage():
                cluster.scale(3)
                time.sleep(30)
                report = cluster.report()
                assert report.connected == 2, "workers were lost for an outage of the queue"
                assert any("does not answer" in text for text in (*report.remarks, *(u.reason for u in report.units)))
            come(cluster)
            assert set(before) < {unit.name for unit in cluster.units()}
            assert len(system.queue()) == 3, "a submission was doubled"

    def test_an_outage_at_the_first_submission_delays_it(self, system):
        with system.outage():
            cluster = self.connect(system, workers=2)
            with pytest.raises(WaitTimeout, match="answer"):
                cluster.wait(timeout=30, display=silent())
        with cluster:
            come(cluster)
            assert len(system.queue()) == 2

    def test_an_end_during_an_outage_waits_for_its_end(self, system):
        cluster = self.connect(system, workers=2)
        come(cluster)
        with system.outage():
            closing = subprocess.Popen([sys.executable, "-m", "clusterhub", "down", cluster.name])
            time.sleep(10)
            assert closing.poll() is None, "it said that it had ended"
        assert closing.wait(PATIENCE) == 0
        eventually(lambda: system.queue() == [])
        cluster.close()

    def test_an_end_that_the_system_does_not_take_says_which_jobs_are_left_and_is_carried_out_later(self, system):
        cluster = self.connect(system, workers=2, name="stubborn")
        come(cluster)
        names = [unit.name for unit in cluster.units()]
        with system.outage():
            down = [sys.executable, "-m", "clusterhub", "down", "stubborn"]
            done = subprocess.run(down, capture_output=True, text=True, check=False)
            assert done.returncode == 1
            assert all(name in done.stderr for name in names), done.stderr
            assert "clusterhub gc" in done.stderr
        eventually(lambda: system.queue() == [])
        eventually(lambda: "stubborn" not in _ls())
        cluster.close()

    # Ends

    def test_nothing_is_left_of_a_client_that_was_killed_with_jobs_pending_and_running(self, system, tmp_path):
        script = tmp_path / "client.py"
        script.write_text(textwrap.dedent(f"""\
            import time
            import clusterhub
            from clusterhub.display.waiting import silent

            if __name__ == "__main__":
                cluster = clusterhub.connect({system.backend!r}, workers=60, **{SMALL!r})
                cluster.wait(4, timeout={PATIENCE}, display=silent())
                print("some are here", flush=True)
                time.sleep(300)
            """))  # fmt: skip
        client = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "some are here"
        eventually(lambda: len(system.queue()) == 60)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        eventually(lambda: system.queue() == [])

    def test_a_killed_keeper_leaves_jobs_that_end_by_themselves_or_by_gc(self, system):
        import os

        from clusterhub.keeper.records import Store

        cluster = self.connect(system, workers=40, name="doomed", keep=True)
        cluster.wait(2, timeout=PATIENCE, display=silent())
        keeper = Store.here().read("doomed").keeper
        assert keeper is not None
        os.kill(keeper.pid, signal.SIGKILL)
        eventually(lambda: any("gc" in line for line in _ls().splitlines() if line.startswith("doomed")))
        done = subprocess.run([sys.executable, "-m", "clusterhub", "gc"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        eventually(lambda: system.queue() == [])
        with pytest.raises(ClusterGone):
            cluster.report()

    # Who may use it

    @pytest.mark.parametrize("host", ["process", "inline"])
    async def test_a_user_without_the_keys_is_refused(self, system, host):
        from clusterhub._dask.scheduler import SchedulerLink

        said = {**SMALL, "workers": 0, "lifecycle": {"host": host}}
        async with clusterhub.aio.connect(system.backend, **said) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            with_keys = SchedulerLink(cluster.scheduler_address, cluster.security)
            without = SchedulerLink(cluster.scheduler_address.replace("tls", "tcp"), None, patience=5)
            assert (await with_keys.identity())["workers"] == {}
            with pytest.raises(ClusterhubError):
                await without.identity()
            for link in (with_keys, without):
                await link.close()


def _ls() -> str:
    done = subprocess.run([sys.executable, "-m", "clusterhub", "ls"], capture_output=True, text=True, check=True)
    return done.stdout


# Tasks travel by value: workers have no tests.


def _slow(seconds: float) -> Callable[[int], int]:
    def slow(index: int) -> int:
        import time

        time.sleep(seconds)
        return index

    return slow


def _block() -> Callable[[int], bytes]:
    def block(index: int) -> bytes:
        return bytes([index]) * 2**20

    return block


def _death() -> Callable[[], None]:
    def die() -> None:
        """Kills the nanny, which is the worker's parent, and so the worker."""
        import os
        import signal

        os.kill(os.getppid(), signal.SIGKILL)

    return die


def full(folder: Path) -> Path:
    """A file system with no room, mounted at ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(folder)], check=True)
    filled = subprocess.run(
        ["dd", "if=/dev/zero", f"of={folder / 'filling'}", "bs=4k"], capture_output=True, check=False
    )
    assert b"No space left" in filled.stderr
    return folder
