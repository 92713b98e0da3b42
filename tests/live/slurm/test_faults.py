"""What goes wrong on a real SLURM, and what is made of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clusterhub
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ConfigError, WorkersFailed

SMALL: dict[str, Any] = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}
LAB = Path(__file__).parents[2] / "labs" / "slurm" / "lab"


def eventually(met: Callable[[], Any], timeout: float = 60) -> Any:
    deadline = time.monotonic() + timeout
    while not (result := met()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return result


def queue(states: str = "PENDING,RUNNING,COMPLETING,CONFIGURING") -> list[str]:
    """The jobs that are in the queue, of the states that count as there."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--states={states}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("said", "summary", "because"),
    [
        ({"environment": {"python": "/no/such/python"}}, "python does not exist", "environment.python"),
        ({"environment": {"python": "/usr/bin/perl"}}, "no dask and distributed", "environment.python"),
        ({"environment": {"setup": ["true", "no-such-command"]}}, "setup failed", "environment.setup"),
        ({"environment": {"directory": "/no/such/folder"}}, "directory", "environment.directory"),
        ({"storage": {"scratch": "/proc/scratch"}}, "scratch", "storage.scratch"),
        ({"slurm": {"partition": "nope"}}, "no such partition", "slurm.partition"),
        ({"slurm": {"partition": "short"}, "job": {"walltime": "2h"}}, "walltime", "job.walltime"),
        ({"worker": {"cores": 64, "memory": "300 MiB"}}, "so many cores", "worker.cores"),
        ({"worker": {"cores": 1, "memory": "900 GiB"}}, "so much memory", "worker"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_cause_is_named_with_its_key_and_burns_few_jobs(said, summary, because):
    before = len(queue("all"))
    with clusterhub.connect("slurm", workers=200, **{**SMALL, **said}) as cluster:
        with pytest.raises(WorkersFailed, match=summary) as failed:
            cluster.wait(timeout=60, display=silent())
        assert because in failed.value.failure.because
    assert len(queue("all")) - before <= 5


def test_a_log_folder_that_cannot_be_made_is_refused_before_anything_is_submitted():
    with pytest.raises(ConfigError, match=r"storage\.logs"):
        clusterhub.connect("slurm", workers=1, storage={"logs": "/proc/none"}, **SMALL)


def test_a_partition_that_is_down_is_a_reason_and_no_silence():
    with clusterhub.connect("slurm", workers=2, slurm={"partition": "down"}, **{**SMALL, "job": {}}) as cluster:
        eventually(lambda: [unit.reason for unit in cluster.units()] == ["its partition is down"] * 2)
        assert {unit.source for unit in cluster.units()} == {"PartitionDown"}
    assert queue() == []


def test_nothing_is_left_of_a_client_that_was_killed_with_jobs_pending_and_running(tmp_path):
    script = tmp_path / "client.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            import clusterhub
            from clusterhub.display.waiting import silent

            if __name__ == "__main__":
                small = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}
                cluster = clusterhub.connect("slurm", workers=50, **small)
                cluster.wait(4, timeout=120, display=silent())
                print("some are here", flush=True)
                time.sleep(300)
            """
        )
    )
    client = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline().strip() == "some are here"
    eventually(lambda: len(queue()) == 50)
    client.send_signal(signal.SIGKILL)
    client.communicate()
    eventually(lambda: queue() == [])


def test_half_of_the_jobs_cancelled_from_outside_come_back_without_a_call():
    with clusterhub.connect("slurm", workers=10, **SMALL) as cluster:
        cluster.wait(timeout=120, display=silent())
        subprocess.run(["scancel", *[unit.name for unit in cluster.units()[:5]]], check=True)
        eventually(lambda: cluster.report().connected < 10)
        eventually(lambda: cluster.report().connected == 10, timeout=60)


def test_a_node_that_loses_its_power_is_replaced():
    with clusterhub.connect("slurm", workers=4, slurm={"directives": ["--no-requeue"]}, **SMALL) as cluster:
        cluster.wait(timeout=120, display=silent())
        lost = cluster.units()[0].where
        subprocess.run([str(LAB), "crash", lost], check=True)
        try:
            eventually(lambda: cluster.report().connected < 4, timeout=120)
            eventually(
                lambda: cluster.report().connected == 4 and lost not in {unit.where for unit in cluster.units()},
                timeout=120,
            )
        finally:
            subprocess.run([str(LAB), "start", lost], check=True)


def test_an_outage_of_the_controller_is_no_news(tmp_path):
    with clusterhub.connect("slurm", workers=2, **SMALL) as cluster:
        cluster.wait(timeout=120, display=silent())
        before = sorted(unit.name for unit in cluster.units())
        subprocess.run([str(LAB), "controller", "stop"], check=True)
        try:
            cluster.scale(3)
            time.sleep(15)
            assert cluster.report().connected == 2, "workers were lost for an outage of the queue"
        finally:
            subprocess.run([str(LAB), "controller", "start"], check=True)
        cluster.wait(timeout=120, display=silent())
        assert set(before) < {unit.name for unit in cluster.units()}
        assert len(queue()) == 3, "a submission was doubled"


def test_work_longer_than_a_walltime_ends_with_every_result():
    """Jobs live for a minute, which is the least that SLURM knows; the work takes several of them."""
    job = {"job": {"walltime": "1m"}, "worker": SMALL["worker"]}
    with clusterhub.connect("slurm", workers=2, **job) as cluster, cluster.get_client() as client:
        cluster.wait(timeout=120, display=silent())
        first = {unit.name for unit in cluster.units()}
        results = client.map(_slow(), range(60), pure=False)
        assert sorted(client.gather(results)) == list(range(60))
        assert not first & {unit.name for unit in cluster.units()}, "it took no second job"


@pytest.mark.parametrize("host", ["process", "inline"])
async def test_a_user_without_the_keys_is_refused(host):
    async with clusterhub.aio.connect("slurm", workers=0, lifecycle={"host": host}, **SMALL) as cluster:
        assert cluster.scheduler_address.startswith("tls://10.")
        with_keys = SchedulerLink(cluster.scheduler_address, cluster.security)
        without = SchedulerLink(cluster.scheduler_address.replace("tls", "tcp"), None, patience=5)
        assert (await with_keys.identity())["workers"] == {}
        with pytest.raises(ClusterGone):
            await without.identity()
        for link in (with_keys, without):
            await link.close()


def test_no_key_is_in_a_script_or_on_a_command_line():
    with clusterhub.connect("slurm", workers=1, **SMALL) as cluster:
        cluster.wait(timeout=120, display=silent())
        state = Path(os.environ["HOME"]) / ".local/state/clusterhub/clusters" / cluster.name
        key = (state / "tls-key.pem").read_text().splitlines()[1]
        script = subprocess.run(
            ["scontrol", "write", "batch_script", cluster.units()[0].name.split("_")[0], "-"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        shown = subprocess.run(["ps", "auxeww"], capture_output=True, text=True, check=True).stdout
        assert "dask_worker" in script
        assert key not in script + shown + "".join(cluster.logs().values())


def _slow():
    def slow(index):
        import time

        time.sleep(5)
        return index

    return slow
