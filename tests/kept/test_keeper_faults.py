"""What can happen to a keeper and to what it writes down: told apart, never a reason to destroy what may live."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from distributed import Client

import clusterhub
from clusterhub.errors import BackendUnavailable, ClusterGone, ClusterhubError, ConfigError, WorkersFailed
from clusterhub.keeper import collect, end
from clusterhub.keeper.identity import Life, Process
from kept.conftest import SMALL, eventually, family, gone, held, how_it_ended, living

NONE = {"workers": 0, **SMALL}


@pytest.fixture
def eddies(store):
    cluster = clusterhub.connect("local", name="eddies", keep=True, workers=1, **SMALL)
    cluster.wait(timeout=60)
    yield cluster
    cluster.close()


def test_a_killed_keeper_takes_its_workers_along_and_is_told(eddies, store):
    record = living(store, "eddies")
    processes = family(record)
    os.kill(record.keeper.pid, signal.SIGKILL)
    with pytest.raises(ClusterGone, match=rf"process {record.keeper.pid} .*keeper.log") as gone_:
        eddies.report()
    assert gone_.value.final
    eventually(lambda: gone(processes))
    assert [info.state for info in clusterhub.clusters()] == ["dead"]
    with pytest.raises(ClusterGone, match="gc"):
        clusterhub.attach("eddies")


def test_one_that_is_just_dying_is_not_said_to_be_busy(eddies, store, monkeypatch):
    """Its connections end first; a moment later it is seen to be dead."""
    seen, at_once = iter([Life.ALIVE] * 5), Process.life
    monkeypatch.setattr(Process, "life", lambda process: next(seen, None) or at_once(process))
    os.kill(store.read("eddies").keeper.pid, signal.SIGKILL)
    with pytest.raises(ClusterGone, match="died without a word") as gone_:
        eddies.report()
    assert gone_.value.final


def test_a_dead_cluster_gives_its_name_to_a_new_one(eddies, store):
    record = living(store, "eddies")
    os.kill(record.keeper.pid, signal.SIGKILL)
    with clusterhub.connect("local", name="eddies", **NONE) as again:
        assert again.report().connected == 0
        assert living(store, "eddies").uid != record.uid


def test_collecting_removes_the_dead_and_only_them(eddies, store):
    with clusterhub.connect("local", name="tides", **NONE):
        os.kill(living(store, "eddies").keeper.pid, signal.SIGKILL)
        eventually(lambda: clusterhub.clusters()[0].state == "dead")
        assert [(f.name, f.verdict) for f in collect(dry_run=True)] == [("eddies", "would be removed")]
        assert store.names() == ["eddies", "tides"]
        assert [(f.name, f.verdict) for f in collect()] == [("eddies", "removed")]
        assert store.names() == ["tides"]
        living(store, "tides")


def test_a_stopped_keeper_is_told_as_such_and_left_alone(eddies, store):
    keeper = living(store, "eddies").keeper
    os.kill(keeper.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ClusterGone, match=f"kill -CONT {keeper.pid}") as stopped:
            eddies.report()
        assert not stopped.value.final
        assert clusterhub.clusters()[0].state == "stopped"
        assert [f.verdict for f in collect()] == ["left alone"]
        with pytest.raises(ClusterhubError, match="stopped"):
            end("eddies")
    finally:
        os.kill(keeper.pid, signal.SIGCONT)
    assert eddies.report().connected == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[: len(text) // 2], "half of it"),
        (lambda text: "", "half of it"),
        (lambda text: json.dumps({**json.loads(text), "format": 99, "version": "9.9"}), "9.9.*upgrade"),
        (lambda text: json.dumps({**json.loads(text), "uid": 3}), "uid"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_and_destroys_nothing(eddies, store, spoil, words):
    record = living(store, "eddies")
    path = store.folder("eddies") / "record.json"
    whole = path.read_text()
    path.write_text(spoil(whole))
    try:
        assert clusterhub.clusters()[0].state == "unreadable"
        assert [f.verdict for f in collect()] == ["left alone"]
        for act in (
            lambda: clusterhub.attach("eddies"),
            lambda: clusterhub.connect("local", name="eddies", **NONE),
            lambda: end("eddies"),
        ):
            with pytest.raises(ClusterhubError, match=words):
                act()
    finally:
        path.write_text(whole)
    assert record.keeper is not None
    assert eddies.report().connected == 1


def test_a_cluster_of_another_host_is_unknown_and_left_alone(eddies, store):
    path = store.folder("eddies") / "record.json"
    whole = path.read_text()
    record = json.loads(whole)
    record["keeper"] |= {"host": "hal-login9", "machine": "other", "boot": "other", "pid": 1}
    record["address"] = "tls://127.0.0.1:9"
    path.write_text(json.dumps(record))
    status = store.folder("eddies") / "status.json"
    try:
        os.kill(living_pid := json.loads(whole)["keeper"]["pid"], signal.SIGSTOP)  # writes no status meanwhile
        os.utime(status, (time.time() - 7200,) * 2)
        info = clusterhub.clusters()[0]
        assert (info.state, info.host) == ("unknown", "hal-login9")
        assert [f.verdict for f in collect()] == ["left alone"]
        with pytest.raises(ClusterhubError, match="hal-login9"):
            clusterhub.attach("eddies")
    finally:
        path.write_text(whole)
        os.kill(living_pid, signal.SIGCONT)


def test_a_record_that_is_removed_ends_its_cluster(eddies, store):
    """Nobody could find or end it any more."""
    processes = family(living(store, "eddies"))
    shutil.rmtree(store.folder("eddies"))
    eventually(lambda: gone(processes))


def test_a_status_that_cannot_be_written_ends_nothing(eddies, store):
    """As on a full disk: a folder lies where the status is to be."""
    status = store.folder("eddies") / "status.json"
    status.unlink(missing_ok=True)
    status.mkdir()
    (status / "in-the-way").touch()
    eddies.scale(2)
    eddies.wait(timeout=60)
    eventually(lambda: "cannot write" in eddies.logs("keeper")["keeper"])
    assert eddies.report().connected == 2


def test_a_place_that_cannot_be_written_is_one_clear_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLUSTERHUB_STATE", str(tmp_path / "file" / "below"))
    with pytest.raises(ClusterhubError, match="CLUSTERHUB_STATE"):
        clusterhub.connect("local", name="eddies", **NONE)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "Eddies", "é", "a b", "x" * 300, "-x", "a\nb", "."])
def test_a_name_that_cannot_be_is_refused_before_anything_starts(store, name):
    for act in (lambda: clusterhub.connect("local", name=name, **NONE), lambda: clusterhub.attach(name)):
        with pytest.raises(ConfigError, match="name"):
            act()
    assert store.names() == []


def test_a_port_that_is_taken_is_no_trouble(store):
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        except OSError:
            pass  # taken by somebody else, which serves as well
        shape = {"worker": SMALL["worker"]}
        with clusterhub.connect("local", name="eddies", workers=0, **shape) as cluster:
            assert ":8787/" not in cluster.dashboard_link


def test_a_start_that_fails_raises_what_it_would_inline(store):
    broken = {"worker": SMALL["worker"], "local": {"dashboard": False, "preload": ["no_such_module"]}}
    told = []
    for host in ("inline", "process"):
        with pytest.raises(WorkersFailed) as failed:
            clusterhub.connect("local", workers=1, lifecycle={"host": host}, **broken)
        told.append(failed.value.failure.summary)
    assert told[0] == told[1]
    assert "no_such_module" in told[1]
    eventually(
        lambda: store.names() == []
    )  # its keeper puts away what it was told to, and that may be after we were told


def test_without_the_library_for_keys_the_line_that_installs_it_is_told(program, store):
    client = program("""
        sys.path.insert(0, os.getcwd())
        try:
            clusterhub.connect("local", name="eddies", workers=0, **SMALL)
        except clusterhub.BackendUnavailable as error:
            say(str(error))
    """)
    del client  # what it says depends on the environment: the message itself is tested with the keys
    from clusterhub.keeper import keys

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cryptography", None)
        with pytest.raises(BackendUnavailable, match=r"clusterhub\[tls\]"):
            keys.make_keys(store.root, "eddies")


def test_being_ended_while_it_starts(program, store, tmp_path):
    client = program(f"""
        SMALL["local"]["preload"] = {held(tmp_path, store.folder("eddies") / "keeper.log")!r}
        try:
            clusterhub.connect("local", name="eddies", workers=2, keep=True, **SMALL)
        except clusterhub.ClusterGone as gone:
            say(str(gone))
    """)
    eventually(lambda: "eddies" in store.names() and store.read("eddies").keeper)
    assert "eddies" in end("eddies")
    assert "called off" in client.says()[0]
    assert store.names() == []


def test_a_client_that_shuts_down_ends_what_it_only_knows_by_address(eddies, store):
    processes = family(living(store, "eddies"))
    Client("hub://eddies", set_as_default=False).shutdown()
    eventually(lambda: gone(processes))
    assert "by a client" in how_it_ended(store, "eddies")


def test_a_client_that_shuts_down_leaves_a_kept_cluster_that_it_knows(eddies, store):
    Client(eddies, set_as_default=False).shutdown()
    with clusterhub.attach("eddies") as again:
        assert again.report().connected == 1


def test_a_keeper_that_is_told_to_end_by_a_signal_ends_wholly(eddies, store):
    record = living(store, "eddies")
    processes = family(record)
    os.kill(record.keeper.pid, signal.SIGTERM)
    eventually(lambda: gone(processes))
    assert "SIGTERM" in how_it_ended(store, "eddies")


def test_a_clock_that_jumps_kills_nobody(eddies, store, monkeypatch):
    """A status from the future, or from last year by our clock, is no sign of death."""
    for jump in (-400 * 86400, 400 * 86400):
        real = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda jump=jump, real=real: real() + jump)
            assert clusterhub.clusters()[0].state == "running"
            assert collect() == []


def test_its_command_line_says_its_name_and_no_secret(eddies, store):
    lines = [" ".join(process.cmdline()) for process in family(living(store, "eddies"))]
    assert any("clusterhub.keeper eddies" in line for line in lines)
    key = (store.folder("eddies") / "tls-key.pem").read_text().splitlines()[1]
    prefix = json.loads((store.folder("eddies") / "record.json").read_text())["plan"]["dashboard_prefix"]
    assert prefix
    log = (store.folder("eddies") / "keeper.log").read_text()
    listed = json.dumps([info.to_dict() for info in clusterhub.clusters()])
    for text in (*lines, log, listed, subprocess.run(["ps", "auxeww"], capture_output=True, text=True).stdout):
        assert key not in text
        assert prefix not in text
