"""A cluster that lives in a job of its own, on the stand-in for PBS: what differs from SLURM, and faults that it can have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ClusterhubError, SubmitRejected, WorkersFailed
from clusterhub.keeper import collect
from clusterhub.keeper.records import Store
from labs.pbs.client import LAB
from labs.pbs.lab import Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in lives on /proc")
SMALL: dict[str, Any] = {"worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "20m"}}


def in_job(**job: Any) -> dict[str, Any]:
    """A cluster in a job of its own, of which this is said."""
    return {**SMALL, "lifecycle": {"host": "job", "job": {"memory": "1 GiB", **job}}}


@pytest.fixture
def pbs(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A PBS whose commands are on PATH here, and on no node's."""
    lab = Lab(tmp_path / "lab", home)
    lab.up(slow_qdel=0.5, kill_delay=30.0, poll=0.5)
    monkeypatch.setenv("PATH", f"{lab.bin}:{os.environ['PATH']}")
    monkeypatch.setenv(LAB, str(lab.folder))
    yield lab
    for name in Store.here().names():
        subprocess.run(
            [sys.executable, "-m", "clusterhub", "down", name], capture_output=True, check=False, timeout=120
        )
    lab.down()


def eventually(met: Callable[[], Any], timeout: float = 120) -> Any:
    deadline = time.monotonic() + timeout
    while not (result := met()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return result


def queue(lab: Lab, end: str = "") -> list[str]:
    """The jobs that PBS knows of and that have not ended, and whose names end so."""
    names = [line.split() for line in lab.run("qstat", "-t").stdout.splitlines()[2:]]
    return [
        row[0]
        for row in names
        if row[1].endswith(end) and row[4] not in "XF" and not row[0].split(".")[0].endswith("[]")
    ]


def waiting(folder: Path, said: dict[str, Any]) -> subprocess.Popen[str]:
    """A program that wants a cluster, says when it has it, and then sleeps; what it remarks meanwhile is in ``waiting.err``."""
    path = folder / "waiting.py"
    path.write_text(
        f"""
import time, clusterhub
if __name__ == "__main__":
    cluster = clusterhub.connect("pbs", workers=1, **{said!r})
    print(cluster.name, flush=True)
    time.sleep(300)
"""
    )
    with path.with_suffix(".err").open("w") as stderr:
        return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_it_connects_computes_and_leaves_nothing(pbs):
    with clusterhub.connect("pbs", workers=2, **in_job()) as cluster:
        assert len(queue(pbs, "K")) == 1
        cluster.wait(timeout=90, display=silent())
        with cluster.get_client() as client:
            assert client.submit(sum, range(10)).result(timeout=30) == 45
        (info,) = eventually(lambda: [info for info in clusterhub.clusters() if info.ends is not None])
        assert 17 * 60 < (info.ends - info.created).total_seconds() < 20 * 60
    assert Store.here().names() == []
    eventually(lambda: queue(pbs) == [])


def test_nothing_is_left_of_a_client_that_was_killed(pbs, tmp_path):
    client = waiting(tmp_path, in_job())
    assert client.stdout is not None
    assert client.stdout.readline()
    eventually(lambda: len(queue(pbs)) == 2)
    client.kill()
    client.communicate()
    eventually(lambda: queue(pbs) == [])
    assert Store.here().names() == []


def test_a_job_that_starts_after_its_creator_was_killed_ends_at_once(pbs, tmp_path):
    pbs.fault("stop", "workq")
    client = waiting(tmp_path, in_job())
    eventually(lambda: queue(pbs, "K"))
    reason = eventually(lambda: [info.reason for info in clusterhub.clusters() if "Queue not started" in info.reason])
    assert "its queue is stopped" in reason[0]
    client.kill()
    client.communicate()
    pbs.fault("start", "workq")
    eventually(lambda: queue(pbs) == [])
    assert Store.here().names() == []


def test_an_interrupt_while_it_waits_leaves_no_job(pbs, tmp_path):
    pbs.fault("stop", "workq")
    client = waiting(tmp_path, in_job())
    eventually(lambda: queue(pbs, "K"))
    eventually(lambda: "is pending: its queue is stopped" in (tmp_path / "waiting.err").read_text())
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)
    assert queue(pbs) == []
    assert Store.here().names() == []


def test_a_submission_whose_answer_was_lost_is_found_and_not_doubled(pbs):
    pbs.fault("lose-next-answer", "qsub")
    with clusterhub.connect("pbs", workers=0, **in_job()):
        assert len(queue(pbs)) == 1


@pytest.mark.parametrize(
    ("job", "because", "words"),
    [({"queue": "nosuch"}, "lifecycle.job.queue", "no such queue"), ({"walltime": "3h"}, "pbs.queue", "less walltime")],
    ids=["queue", "walltime"],
)
def test_a_refusal_of_its_job_names_the_key_and_leaves_nothing(pbs, job, because, words):
    with pytest.raises(SubmitRejected, match=words) as refused:
        clusterhub.connect("pbs", workers=1, **in_job(**job))
    assert because in str(refused.value)
    assert "qsub: " in refused.value.source
    assert Store.here().names() == []


def test_a_full_queue_is_waited_for(pbs, tmp_path):
    filler = pbs.submit("sleep 600\n")
    pbs.fault("max-queued", "1")
    client = waiting(tmp_path, in_job())
    eventually(lambda: "queue full" in (tmp_path / "waiting.err").read_text())
    assert queue(pbs, "K") == []
    pbs.run("qdel", filler)
    assert client.stdout is not None
    assert client.stdout.readline(), "it gave up"
    assert len(queue(pbs, "K")) == 1
    client.kill()
    client.communicate()


def test_an_outage_while_it_waits_is_no_news(pbs, tmp_path):
    pbs.fault("stop", "workq")
    client = waiting(tmp_path, in_job())
    eventually(lambda: queue(pbs, "K"))
    pbs.fault("server-down", "4s")
    time.sleep(5)
    pbs.fault("start", "workq")
    assert client.stdout is not None
    assert client.stdout.readline(), "it gave up"
    client.kill()
    client.communicate()


def test_when_its_job_is_deleted_from_outside_its_workers_end_and_users_learn_why(pbs):
    with clusterhub.connect("pbs", workers=2, **in_job()) as cluster:
        cluster.wait(timeout=90, display=silent())
        pbs.run("qdel", *queue(pbs, "K"))
        eventually(lambda: queue(pbs) == [])
        with pytest.raises(ClusterGone, match="its keeper's job was cancelled"):
            cluster.report()


def test_it_ends_before_its_own_walltime_and_says_so(pbs):
    with clusterhub.connect("pbs", workers=1, **in_job(walltime="40s")) as cluster:
        (info,) = eventually(lambda: [info for info in clusterhub.clusters() if info.ends is not None])
        assert (info.ends - info.created).total_seconds() < 40
        with pytest.raises(ClusterGone, match=r"lifecycle\.job\.walltime"):
            eventually(lambda: cluster.report() and None)
    eventually(lambda: queue(pbs) == [])
    assert "-29" not in pbs.run("qstat", "-x", "-f").stdout, "PBS had to end it"


def test_a_python_that_the_node_does_not_have_is_a_cause_and_not_a_wait(pbs, monkeypatch):
    lost = pytest.raises(WorkersFailed, match="does not find the Python that you run on its node")
    with monkeypatch.context() as elsewhere, lost as failed:
        elsewhere.setattr(sys, "executable", "/no/such/python")
        clusterhub.connect("pbs", workers=1, environment={"python": "python3"}, **in_job())
    assert failed.value.failure.exit_code == 83
    assert Store.here().names() == []


def test_a_node_that_can_submit_nothing_is_told_as_such(pbs, monkeypatch):
    """Its jobs do not have the folder of the commands on PATH, and here we see to it that they are not told of it."""
    monkeypatch.setattr("clusterhub_backends.batch.keeper_job.EVERYWHERE", (str(pbs.bin),))
    with pytest.raises(ClusterhubError, match="cannot submit workers from there: .*qsub, qstat, qdel.* on PATH"):
        clusterhub.connect("pbs", workers=1, **in_job())
    assert Store.here().names() == []
    report = clusterhub.check("pbs", start=True, **in_job())
    assert not report.ok
    assert "cannot submit workers from there" in report.steps[-1].text


def test_in_an_allocation_what_is_to_outlive_it_gets_a_job_of_its_own(pbs, tmp_path):
    program = tmp_path / "inside.py"
    program.write_text(
        f"""
import json, clusterhub
SMALL = {SMALL!r}
if __name__ == "__main__":
    try:
        clusterhub.connect("pbs", keep=True, workers=0, lifecycle={{"host": "process"}}, **SMALL)
    except clusterhub.Unsupported as error:
        print(json.dumps(str(error)), flush=True)
    with clusterhub.connect("pbs", workers=0, **SMALL) as cluster:
        try:
            cluster.detach()
        except clusterhub.ClusterhubError as error:
            print(json.dumps(str(error)), flush=True)
    with clusterhub.connect("pbs", name="eddies", workers=0, **SMALL) as cluster:
        print(json.dumps(cluster._inner._plan.spec.lifecycle.host), flush=True)
"""
    )
    out = tmp_path / "out"
    script = f"export PATH={pbs.bin}:$PATH\nexec {sys.executable} {program}\n"
    job = pbs.submit(script, "-l", "walltime=00:10:00", "-j", "oe", "-k", "oed", "-o", str(out))
    refusal, later, host = eventually(lambda: len(lines := _said(out)) == 3 and lines)
    assert f"cannot be kept: its keeper is part of PBS job {job}" in later
    assert f"this process is part of PBS job {job}" in refusal
    assert "set lifecycle.host: job" in refusal
    assert "ends at " in refusal
    assert host == "job"
    eventually(lambda: queue(pbs) == [])


def _said(out: Path) -> list[str]:
    text = out.read_text() if out.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.startswith('"')]


def test_gc_finds_the_job_of_a_creator_that_was_killed(pbs, tmp_path):
    pbs.fault("stop", "workq")
    client = waiting(tmp_path, in_job())
    (job,) = eventually(lambda: queue(pbs, "K"))
    client.kill()
    client.communicate()
    (finding,) = collect()
    assert (finding.verdict, finding.ended) == ("removed", (job,))
    assert queue(pbs) == []
