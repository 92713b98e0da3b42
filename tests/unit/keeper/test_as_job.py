"""A keeper that is a job: where it is chosen, what lies in its cluster's folder, and who is taken for alive."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusterhub.api.connecting import _host, prepare
from clusterhub.errors import ClusterhubError, SubmitRejected, Unsupported
from clusterhub.keeper import document_of
from clusterhub.keeper.asking import unit_of, waited_for
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.lifeline import FAR_GRACE, Lifeline
from clusterhub.keeper.listing import clusters
from clusterhub.keeper.record import ANSWER, ORDER, WAITING, End, NotOurs, Wait, as_bytes
from clusterhub.keeper.records import LOGS, Store
from clusterhub.keeper.report import FiledReport, ready_from
from clusterhub.keeper.standing import Condition, judged, standing
from clusterhub.keeper.submission import dask_variables, keeper_command
from clusterhub.keeper.wire import Order, Ready
from clusterhub.profile import resolve
from unit.keeper.writing import FAR, OTHER, UID, record, status

AS_JOB = {"spec": {"lifecycle": {"host": "job"}}}
STARTING = {"keeper": None, "state": "starting", "plan": AS_JOB}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("CLUSTERHUB_STATE", str(tmp_path / "state"))
    return Store.here()


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


# Where it is chosen


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "81")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")


def chosen(outlives_us: bool, backend: str = "slurm") -> str:
    return _host(resolve(backend, {}), outlives_us=outlives_us)


def test_on_a_login_node_clusters_live_beside_us():
    assert [chosen(False), chosen(True)] == ["process", "process"]


def test_in_an_allocation_only_what_is_to_outlive_it_is_a_job(allocated):
    assert [chosen(False), chosen(True)] == ["process", "job"]
    assert chosen(True, "pbs") == "process", "an allocation of another system is none of its own"
    assert chosen(True, "local") == "process", "it has no jobs"


def test_where_logind_ends_our_processes_what_is_to_outlive_us_is_a_job(monkeypatch):
    monkeypatch.setattr("clusterhub.api.connecting.ends_with_login", lambda: True)
    assert [chosen(False), chosen(True), chosen(True, "local")] == ["process", "job", "process"]


def test_a_keep_that_an_allocation_would_end_is_refused(allocated):
    with pytest.raises(Unsupported, match="part of SLURM job 81, and a keeper beside it ends with it; set .*host: job"):
        prepare("slurm", None, True, {"lifecycle": {"host": "process"}})
    assert prepare("slurm", None, True, {}).plan.spec.lifecycle.host == "job"


def test_a_plan_shows_the_job_of_the_keeper_first():
    plan = prepare("slurm", None, False, {"workers": 3, "lifecycle": {"host": "job"}}).plan
    assert [document.title for document in plan.documents] == ["job script of the keeper", "job script"]
    assert "clusterhub.keeper --job" in plan.documents[0].text
    assert "keeper" in plan.summary
    assert document_of(prepare("slurm", None, False, {"workers": 3}).plan) is None


def test_a_backend_without_jobs_is_no_host():
    with pytest.raises(Unsupported, match="no batch system"):
        prepare("local", None, False, {"lifecycle": {"host": "job"}})
    with pytest.raises(Unsupported, match=r"lifecycle\.job"):
        prepare("local", None, False, {"lifecycle": {"job": {"queue": "x"}}})


# What it is started with


def test_its_command_line_and_environment_hold_no_secret_and_all_it_needs(store, monkeypatch):
    plan = prepare("slurm", None, False, {}).plan
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING", "False")
    monkeypatch.setenv("CLUSTERHUB_CONFIG", "site.yaml")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/softs/lib")
    command = keeper_command(plan, store)
    assert command.environment["CLUSTERHUB_STATE"] == str(store.root)
    assert command.environment["CLUSTERHUB_CONFIG"] == str(Path.cwd() / "site.yaml")
    assert command.environment["LD_LIBRARY_PATH"] == "/softs/lib"
    assert "hunter2" not in str(command)
    assert dask_variables()["DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING"] == "False"
    assert all(name.startswith("DASK_") for name in dask_variables())
    assert "MY_TOKEN" not in dask_variables()


def test_what_an_order_holds_is_in_no_repr():
    order = Order(plan={}, creator=FAR, named=True, kept=False, environment={"DASK_X": "hunter2"})
    assert "hunter2" not in repr(order)
    assert Order.model_validate_json(order.model_dump_json()) == order


# What lies in the folder


def test_what_is_put_there_is_its_owners_alone_and_only_for_its_cluster(store):
    store.claim(record(**STARTING))
    store.put(UID, "eddies", ORDER, b"secret")
    assert (store.folder("eddies") / ORDER).stat().st_mode & 0o777 == 0o600
    assert store.look(UID, "eddies", ORDER) == b"secret"
    assert store.look(OTHER, "eddies", ORDER) is None
    store.drop(OTHER, "eddies", ORDER)
    assert store.look(UID, "eddies", ORDER) == b"secret"
    store.drop(UID, "eddies", ORDER)
    store.drop(UID, "eddies", ORDER)
    assert store.look(UID, "eddies", ORDER) is None
    with pytest.raises(NotOurs):
        store.put(OTHER, "eddies", ORDER, b"secret")


def test_an_order_that_nobody_took_does_not_outlive_its_cluster(store):
    made = record(**STARTING)
    store.claim(made)
    store.put(UID, "eddies", ORDER, b"secret")
    store.retire(made, End(when=datetime.now(UTC), reason="its start failed"))
    assert not [path for path in store.root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


@pytest.mark.parametrize("ended", [False, True])
def test_a_start_that_failed_raises_the_same_error_where_it_is_waited_for(store, ended):
    made = record(**STARTING)
    store.claim(made)
    FiledReport(store, UID, "eddies").failed(SubmitRejected("no such queue", source="qsub: Unknown queue"))
    if ended:
        store.retire(made, End(when=datetime.now(UTC), reason="its start failed"), (*LOGS, ANSWER))
    with pytest.raises(SubmitRejected, match="no such queue") as rejected:
        ready_from(store.look(UID, "eddies", ANSWER))
    assert rejected.value.source == "qsub: Unknown queue"


def test_a_start_that_went_well_tells_where(store):
    store.claim(record(**STARTING))
    ready = Ready(keeper=FAR, address="tls://10.0.0.1:7", addresses=("tls://10.0.0.1:7", "tls://10.1.0.1:7"))
    FiledReport(store, UID, "eddies").ready(ready)
    assert ready_from(store.look(UID, "eddies", ANSWER)) == ready


def test_whoever_reports_of_a_cluster_that_is_gone_is_not_stopped_by_it(store):
    FiledReport(store, UID, "eddies").failed(ClusterhubError("too late"))
    assert store.look(UID, "eddies", ANSWER) is None


# Who is taken for alive


def test_a_cluster_whose_job_waits_lives_as_long_as_somebody_waits_for_it(store):
    made = record(**STARTING)
    store.claim(made)
    assert standing(made, store).condition is Condition.UNKNOWN
    store.put(UID, "eddies", WAITING, as_bytes(Wait(unit="81.hal", text="is pending: its queue is stopped")))
    assert standing(made, store).condition is Condition.STARTING
    (info,) = clusters()
    assert (info.state, info.reason) == ("starting", "its keeper, job 81.hal, is pending: its queue is stopped")
    assert unit_of(made, store) == "81.hal"
    aged(store.folder("eddies") / WAITING, 60)
    assert standing(made, store).condition is Condition.UNKNOWN
    assert "a job there" in judged(made, Life.UNKNOWN, 60.0).reason


def test_a_keepers_own_signs_of_life_count_and_no_longer_those_of_whoever_waited(store):
    made = record(plan=AS_JOB)
    store.claim(made)
    store.write_status(UID, "eddies", status())
    aged(store.folder("eddies") / "status.json", 60)
    store.put(UID, "eddies", WAITING, as_bytes(Wait(unit="81", text="runs on n1")))
    assert standing(made, store).condition is Condition.UNKNOWN


def test_what_somebody_else_left_in_its_place_is_no_word_on_the_wait(store):
    made = record(**STARTING)
    store.claim(made)
    store.put(UID, "eddies", WAITING, b'{"unit": 3}')
    assert waited_for(made, store) is None
    assert json.loads(as_bytes(Wait(unit="81", text="x")))["unit"] == "81"


@pytest.mark.parametrize(("silent", "ends"), [(0.0, False), (FAR_GRACE + 1, True)])
async def test_a_holder_out_of_sight_counts_as_gone_after_its_silence(silent, ends):
    reasons: list[str] = []
    lifeline = Lifeline(reasons.append, named=False, kept=False, linger=1.0)
    assert lifeline.hold(FAR, silent=silent)
    await asyncio.sleep(0.05)
    assert bool(reasons) is ends
    lifeline.close()


async def test_one_that_is_heard_of_again_holds_on():
    reasons: list[str] = []
    lifeline = Lifeline(reasons.append, named=False, kept=False, linger=1.0)
    lifeline.hold(FAR, silent=FAR_GRACE + 1)
    lifeline.hold(FAR)
    await asyncio.sleep(0.05)
    assert reasons == []
    assert lifeline.hold(Process.this())
    assert lifeline.holders == 2
    lifeline.close()


# The last line of its script

LAST_LINE = "import clusterhub.keeper.__main__ as keeper; keeper.FOLDER_PATIENCE = 0.5; sys.exit(keeper.main())"


def last_line(store: Store) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", f"import sys; {LAST_LINE}", "--job", "eddies", UID]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_on_a_node_that_does_not_see_the_folder_it_says_so(store):
    done = last_line(store)
    assert done.returncode == 85
    assert f"there is no {store.root / 'clusters'} on this node" in done.stderr


@pytest.mark.parametrize("uid", [UID, OTHER])
def test_where_nobody_waits_any_more_it_ends_and_leaves_a_later_cluster_alone(store, uid):
    store.claim(record(uid=uid, **STARTING))
    if uid == OTHER:
        store.put(OTHER, "eddies", ORDER, b"of another")
    done = last_line(store)
    assert done.returncode == 0
    assert "nobody waits for eddies any more" in done.stderr
    assert store.look(OTHER, "eddies", ORDER) == (b"of another" if uid == OTHER else None)
