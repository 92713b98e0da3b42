"""A cluster that lives in a job of its own, on a real SLURM: its keeper is submitted first, and its workers from there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ClusterhubError, SubmitRejected
from clusterhub.keeper import collect
from clusterhub.keeper.record import WAITING
from clusterhub.keeper.records import Store

SMALL: dict[str, Any] = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}
IN_JOB: dict[str, Any] = {**SMALL, "lifecycle": {"host": "job"}}
HUB = [sys.executable, "-m", "clusterhub"]


def in_job(**job: Any) -> dict[str, Any]:
    """A cluster in a job of its own, of which this is said."""
    return {**SMALL, "lifecycle": {"host": "job", "job": job}}


def eventually(met: Callable[[], Any], timeout: float = 120) -> Any:
    deadline = time.monotonic() + timeout
    while not (result := met()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return result


def run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=120)


def queue(name: str = "") -> list[str]:
    """The jobs that are in the queue; those whose names end so."""
    lines = run("squeue", "--noheader", "--array", "--format=%i|%j").stdout.split()
    return [line.partition("|")[0] for line in lines if line.endswith(name)]


@pytest.fixture
def closed() -> Iterator[None]:
    """The partition `down` starts nothing until the test says otherwise."""
    yield
    run("scontrol", "update", "PartitionName=down", "State=DOWN")


def opened() -> None:
    run("scontrol", "update", "PartitionName=down", "State=UP")


class Program:
    """A Python program of its own, the body of which runs below ``__main__``."""

    def __init__(self, folder: Path, body: str) -> None:
        path = self.written(folder, body)
        self._remarks = path.with_suffix(".err")
        with self._remarks.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(path)], text=True, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip

    @staticmethod
    def written(folder: Path, body: str) -> Path:
        """The file of such a program."""
        path = folder / f"program{len(list(folder.glob('*.py')))}.py"
        head = "import json, os, sys, time\nimport clusterhub\nfrom clusterhub.display.waiting import silent\n"
        head += f"IN_JOB = {IN_JOB!r}\n"
        head += "def say(*words):\n    print(json.dumps(words), flush=True)\n"
        path.write_text(f"{head}if __name__ == '__main__':\n{textwrap.indent(textwrap.dedent(body), '    ')}\n")
        return path

    def says(self) -> list[Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended without a word: {self.remarks}"
        words: list[Any] = json.loads(line)
        return words

    @property
    def remarks(self) -> str:
        """What it has said on its standard error so far."""
        return self._remarks.read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate(timeout=60)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    made: list[Program] = []

    def start(body: str) -> Program:
        made.append(Program(tmp_path, body))
        return made[-1]

    yield start
    for one in made:
        one.kill()  # and its pipes are closed, if it has ended already


@pytest.fixture(autouse=True)
def nothing_left(home: Path) -> Iterator[None]:
    """Whatever a test did, its clusters end with it, and so do their jobs."""
    yield
    for name in Store.here().names():
        run(*HUB, "down", name, check=False)
    eventually(lambda: queue() == [])


def test_it_connects_computes_and_leaves_nothing():
    with clusterhub.connect("slurm", workers=2, **IN_JOB) as cluster:
        (keeper,) = queue("K")
        node = run("squeue", "--noheader", "--jobs", keeper, "--format=%N").stdout.strip()
        assert cluster.scheduler_address.startswith("tls://10.77.0.1")
        cluster.wait(timeout=120, display=silent())
        with cluster.get_client() as client:
            assert client.submit(sum, range(10)).result(timeout=30) == 45
        (info,) = clusterhub.clusters()
        assert (info.state, info.host, info.ends is not None) == ("running", node, True)
        assert "Scheduler at" in cluster.logs("keeper")["keeper"]
        folder = Store.here().folder(cluster.name)
        assert not (folder / "order.json").exists(), "the order, which holds secrets, was left"
    assert Store.here().names() == []
    eventually(lambda: queue() == [])


def test_a_named_one_is_found_again_after_its_creator_was_killed(program):
    first = program(
        """
        cluster = clusterhub.connect("slurm", name="eddies", workers=1, **IN_JOB)
        cluster.wait(timeout=120, display=silent())
        client = cluster.get_client()
        client.publish_dataset(answer=client.submit(sum, [1, 2]))
        client.get_dataset("answer").result()
        say(cluster.scheduler_address)
        time.sleep(300)
        """
    )
    address = first.says()[0]
    first.kill()
    with clusterhub.connect("slurm", name="eddies", workers=1, **IN_JOB) as cluster:
        assert cluster.scheduler_address == address
        with cluster.get_client() as client:
            assert client.get_dataset("answer").result(timeout=30) == 3
    # Its creator has not been heard of for a moment only, and counts as alive; so closing leaves it to that one.
    assert run(*HUB, "down", "eddies").returncode == 0
    eventually(lambda: queue() == [])


def test_the_command_line_treats_it_as_any_other():
    said = ["--set", "lifecycle.host=job", "--set", "worker.memory=300MiB", "--workers", "1"]
    plan = run(*HUB, "plan", "slurm", *said).stdout
    assert "--job-name=ch00000000gK" in plan
    up = run(*HUB, "up", "slurm", "--name", "eddies", *said, "--wait").stdout
    assert "keeper ready" in up
    (keeper,) = queue("K")
    listed = json.loads(run(*HUB, "ls", "--json").stdout)
    assert [(info["name"], info["state"], info["kept"]) for info in listed] == [("eddies", "running", True)]
    assert listed[0]["host"] in run(*HUB, "status", "eddies").stdout
    assert "ready at tls://" in run(*HUB, "logs", "eddies", "--unit", "keeper").stdout
    with Client("hub://eddies") as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    assert clusterhub.attach("eddies").report().connected == 1
    assert [finding.verdict for finding in collect()] == []
    assert keeper in queue("K"), "gc ended the keeper of a living cluster"
    assert run(*HUB, "down", "eddies").returncode == 0
    eventually(lambda: queue() == [])


# While its job waits


def test_whoever_waits_is_told_why_and_an_interrupt_leaves_no_job(program, closed):
    waiting = program(
        """
        say("begin")
        try:
            clusterhub.connect("slurm", workers=1, **{**IN_JOB, "lifecycle": {"host": "job", "job": {"queue": "down"}}})
        except KeyboardInterrupt:
            say("interrupted")
        """
    )
    waiting.says()
    eventually(lambda: queue("K"))
    told = eventually(lambda: [info.reason for info in clusterhub.clusters() if "partition is down" in info.reason])
    assert "its partition is down (PartitionDown)" in told[0]
    eventually(lambda: "is pending: its partition is down (PartitionDown)" in waiting.remarks)
    waiting.kill(signal.SIGINT)
    assert queue() == []
    assert Store.here().names() == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_job_that_starts_after_its_creator_was_killed_ends_at_once(program, closed, keep):
    said = {"host": "job", "job": {"queue": "down"}}
    waiting = program(
        f'clusterhub.connect("slurm", name="eddies", keep={keep}, workers=1, **{{**IN_JOB, "lifecycle": {said}}})'
    )
    eventually(lambda: queue("K"))
    folder = Store.here().folder("eddies")
    eventually(lambda: (folder / WAITING).exists())
    waiting.kill()
    past = time.time() - 60
    os.utime(folder / WAITING, (past, past))
    (keeper,) = queue("K")
    opened()
    eventually(lambda: queue() == [])
    assert Store.here().names() == []
    ended = Store.here().ended("eddies")[0].end
    assert "has not been heard of" in ended.reason
    assert run("squeue", "--noheader", "--states=all", "--format=%i").stdout.split().count(keeper) == 1


def test_what_a_killed_creator_left_in_the_queue_is_ended_by_gc(program, closed):
    said = {"host": "job", "job": {"queue": "down"}}
    waiting = program(f'clusterhub.connect("slurm", name="eddies", workers=1, **{{**IN_JOB, "lifecycle": {said}}})')
    (keeper,) = eventually(lambda: queue("K"))
    waiting.kill()
    (finding,) = collect()
    assert (finding.verdict, finding.ended) == ("removed", (keeper,))
    assert queue() == []


def test_down_ends_one_whose_keeper_still_waits(program, closed):
    said = {"host": "job", "job": {"queue": "down"}}
    waiting = program(
        f"""
        try:
            clusterhub.connect("slurm", name="eddies", workers=1, **{{**IN_JOB, "lifecycle": {said}}})
        except clusterhub.ClusterhubError as error:
            say(type(error).__name__, str(error))
        """
    )
    eventually(lambda: queue("K"))
    assert run(*HUB, "down", "eddies").returncode == 0
    kind, text = waiting.says()
    assert kind == "ClusterGone"
    assert "cancelled" in text
    assert queue() == []


def test_two_who_want_one_name_get_one_cluster(program, closed):
    said = {"host": "job", "job": {"queue": "down"}}
    body = f"""
        with clusterhub.connect("slurm", name="eddies", workers=0, **{{**IN_JOB, "lifecycle": {said}}}) as cluster:
            say(cluster.scheduler_address)
            sys.stdin.read()
        """
    first, second = program(body), program(body)
    eventually(lambda: queue("K"))
    time.sleep(3)
    assert len(queue()) == 1
    opened()
    assert first.says() == second.says()


@pytest.mark.parametrize(
    ("job", "because", "words"),
    [
        ({"queue": "nope"}, "lifecycle.job.queue", "there is no such partition"),
        ({"queue": "short", "walltime": "2h"}, "lifecycle.job.walltime", "walltime is longer"),
        ({"cores": 64}, "lifecycle.job.cores", "so many cores"),
        ({"memory": "900 GiB"}, "lifecycle.job", "so much memory"),
    ],
    ids=["queue", "walltime", "cores", "memory"],
)
def test_a_refusal_of_its_job_names_the_key_and_leaves_nothing(job, because, words):
    with pytest.raises(SubmitRejected, match=words) as refused:
        clusterhub.connect("slurm", workers=1, **in_job(**job))
    assert refused.value.because.startswith(because)
    assert f"  {because}" in str(refused.value)
    assert "Batch job submission failed" in refused.value.source
    assert Store.here().names() == []
    assert queue() == []


@pytest.fixture
def hidden() -> Iterator[None]:
    """A node that has an address of which the login host knows nothing, and Dask takes that for its own."""
    space = f"{Path(os.environ['CLUSTERHUB_SLURM_LAB']).name}-n1"
    route = ("ip", "-n", space, "route", "replace", "default", "via", "10.77.0.1")
    run("ip", "-n", space, "addr", "add", "10.99.0.11/24", "dev", "eth0")
    run(*route, "src", "10.99.0.11")
    yield
    run(*route)
    run("ip", "-n", space, "addr", "del", "10.99.0.11/24", "dev", "eth0")


def test_an_address_that_cannot_be_reached_from_here_is_not_the_last_word(hidden):
    with clusterhub.connect("slurm", workers=1, slurm={"directives": ["--nodelist=n1"]}, **IN_JOB) as cluster:
        assert cluster.scheduler_address.startswith("tls://10.77.0.11:")
        assert Store.here().read(cluster.name).address == cluster.scheduler_address, "others would not find it"
        assert "Scheduler at:    tls://10.99.0.11:" in cluster.logs("keeper")["keeper"]
        cluster.wait(timeout=120, display=silent())


def test_a_keeper_that_cannot_be_reached_at_all_is_told_as_such_and_ended():
    with pytest.raises(ClusterhubError, match="cannot be reached from head at tls://127.0.0.1:.*network.interface"):
        clusterhub.connect("slurm", workers=1, network={"interface": "lo"}, **IN_JOB)
    assert Store.here().names() == []
    eventually(lambda: queue() == [])


# Its ends


def test_when_its_job_is_cancelled_from_outside_its_workers_end_and_users_learn_why():
    with clusterhub.connect("slurm", workers=2, **IN_JOB) as cluster:
        cluster.wait(timeout=120, display=silent())
        assert len(queue()) == 3
        run("scancel", *queue("K"))
        eventually(lambda: queue() == [])
        with pytest.raises(ClusterGone, match="its keeper's job was cancelled"):
            cluster.report()


def test_a_keeper_that_was_killed_is_proven_dead_by_the_queue():
    cluster = clusterhub.connect("slurm", name="eddies", keep=True, workers=0, **in_job())
    cluster.scale(2)
    cluster.wait(timeout=120, display=silent())
    workers = set(queue()) - set(queue("K"))
    keeper_of("eddies").kill()
    gone = eventually(lambda: (found := how_gone(cluster)) is not None and found.final and found)
    assert "the keeper's job was killed" in str(gone)
    folder = Store.here().folder("eddies")
    past = time.time() - 60
    os.utime(folder / "status.json", (past, past))  # a minute later
    (finding,) = collect()
    assert finding.verdict == "removed"
    assert set(finding.ended) <= workers
    eventually(lambda: queue() == [])
    cluster.close()


def test_it_ends_before_its_own_walltime_and_says_so():
    with clusterhub.connect("slurm", workers=1, **in_job(walltime="1m")) as cluster:
        cluster.wait(timeout=60, display=silent())
        (info,) = eventually(lambda: [info for info in clusterhub.clusters() if info.ends is not None])
        assert (info.ends - info.created).total_seconds() < 60
        with pytest.raises(ClusterGone, match=r"lifecycle\.job\.walltime") as gone:
            eventually(lambda: cluster.report() and None)
        assert "with it go 1 worker" in str(gone.value)
    eventually(lambda: queue() == [])
    assert "TIMEOUT" not in run("squeue", "--noheader", "--states=all", "--format=%T").stdout


def test_down_reaches_a_keeper_that_answers_nobody():
    cluster = clusterhub.connect("slurm", name="eddies", keep=True, workers=0, **IN_JOB)
    keeper_of("eddies").suspend()
    done = run(*HUB, "down", "eddies")
    assert "its keeper's job was cancelled" in done.stdout
    eventually(lambda: queue() == [])
    cluster.close()


@pytest.mark.timeout(300)
def test_nothing_is_left_of_a_client_on_another_host_that_was_killed(program):
    client = program(
        """
        cluster = clusterhub.connect("slurm", workers=1, **IN_JOB)
        cluster.wait(timeout=120, display=silent())
        say(cluster.name)
        time.sleep(600)
        """
    )
    name = client.says()[0]
    client.kill()
    assert len(queue()) == 2
    eventually(lambda: queue() == [], timeout=180)
    assert "has not been heard of" in Store.here().ended(name)[0].end.reason


def how_gone(cluster: clusterhub.Cluster) -> ClusterGone | None:
    try:
        cluster.report()
    except ClusterGone as gone:
        return gone
    return None


def keeper_of(name: str) -> psutil.Process:
    """The process of a keeper, which is on another host, and on this machine."""
    uid = Store.here().read(name).uid
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if {uid, "--job"} <= set(process.cmdline()):
                return process
    raise AssertionError(f"the keeper of {name} does not run")


# Inside an allocation, as where notebooks are jobs themselves

IN_ALLOCATION = """
    alike = {**IN_JOB, "lifecycle": {}}
    def host_of(**said):
        with clusterhub.connect("slurm", workers=0, **alike, **said) as cluster:
            return cluster._inner._plan.spec.lifecycle.host, clusterhub.clusters()[0].host
    try:
        clusterhub.connect("slurm", keep=True, workers=0, **{**alike, "lifecycle": {"host": "process"}})
    except clusterhub.Unsupported as error:
        say(str(error))
    say(host_of(), host_of(name="eddies"), os.uname().nodename)
"""


def test_in_an_allocation_what_is_to_outlive_it_gets_a_job_of_its_own(tmp_path):
    program = Program.written(tmp_path, IN_ALLOCATION)
    out = tmp_path / "out"
    limits = ["--time=10", "--nodelist=n4", f"--output={out}"]
    job = run("sbatch", "--parsable", *limits, "--wrap", f"exec {sys.executable} {program}").stdout.strip()
    eventually(lambda: job not in queue())
    refusal, placed = (json.loads(line) for line in out.read_text().splitlines() if line.startswith("["))
    assert f"this process is part of SLURM job {job}" in refusal[0]
    assert re.search(r"ends at \d\d:\d\d with it; set lifecycle.host: job", refusal[0])
    unnamed, named, here = placed
    assert unnamed == ["process", "n4"]
    assert here == "n4"
    assert named[0] == "job"
    assert named[1] != "head"
