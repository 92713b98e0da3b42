"""Records outlive crashes, full disks, races and later versions: what is read is whole, or refused with what to do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterhub import ClusterhubError, ConfigError, WaitTimeout
from clusterhub.keeper import locks as locks_
from clusterhub.keeper import records
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.record import BEAT, FORMAT, End, Newer, NotOurs, NotThere, Record, Status, Taken, Unreadable
from clusterhub.keeper.records import KEPT_ENDED, Store
from clusterhub.keeper.standing import Condition, judged, standing

UID, OTHER = "a" * 32, "b" * 32
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAR = Process(pid=123, started="4711", host="hal-login1", boot="b", namespace="pid:[1]", machine="m")
ENDED = End(when=NOON, reason="idle for 1h")


def record(name: str = "eddies", uid: str = UID, **facts: Any) -> Record:
    whole = {
        "contract": 1, "uid": uid, "name": name, "profile": "hal", "backend": "pbs", "state": "running", "named": True,
        "kept": True, "creator": FAR, "keeper": FAR, "created": NOON, "plan": {"workers": 4}, "version": "0.1.0",
        "python": "/usr/bin/python3",
    }  # fmt: skip
    return Record(**(whole | facts))


def status(headline: str = "4 of 4 workers") -> Status:
    return Status(
        taken=NOON, target=(0, 4), asked=4, connected=4, pending=0, failed=0, idle_since=None, ends=None,
        headline=headline, kept=True,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@pytest.fixture
def eddies(store: Store) -> Record:
    """A cluster that is written down."""
    claimed = record()
    store.claim(claimed)
    return claimed


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def everything(store: Store) -> list[Path]:
    return sorted(store.root.rglob("*"))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def failing(call: str, number: int, module: Any = os) -> Iterator[None]:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, call, fail)
        yield


def running(program: str, store: Store, *arguments: str) -> subprocess.Popen[str]:
    """Another process that works on the same store; it says what it has done on its standard output."""
    head = "import sys, time; from pathlib import Path; from clusterhub.keeper.records import *; "
    head += "from clusterhub.keeper.record import *; "
    head += "store = Store(Path(sys.argv[1])); "
    return subprocess.Popen(
        [sys.executable, "-c", head + program, str(store.root), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# Where


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert Store.here().root == home / ".local/state/clusterhub"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert Store.here().root == home / ".local/state/clusterhub"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Store.here().root == tmp_path / "clusterhub"
    monkeypatch.setenv("CLUSTERHUB_STATE", "~/mine")
    assert Store.here().root == home / "mine"
    monkeypatch.setenv("CLUSTERHUB_STATE", "mine")
    with pytest.raises(ConfigError, match="CLUSTERHUB_STATE.*relative"):
        Store.here()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "/etc", "Eddies", "a b", "a\n", "a\0", "ü", ".claim-1", "x" * 41, "x" * 300]
)
def test_no_name_leads_out_of_the_store(store: Store, name: str) -> None:
    for use in (store.folder, store.read, store.status, store.heartbeat_age):
        with pytest.raises(ConfigError, match="no name for a cluster"):
            use(name)
    with pytest.raises(ConfigError), store.locked(name, 1):
        pass
    with pytest.raises(ConfigError):
        store.write_status(UID, name, status())
    assert not store.root.exists()


def test_who_only_looks_makes_no_folder(store: Store) -> None:
    assert store.names() == []
    assert store.ended() == []
    assert store.status("eddies") is None
    assert store.heartbeat_age("eddies") is None
    with pytest.raises(NotThere, match="no cluster eddies"):
        store.read("eddies")
    assert not store.root.exists()


# Its owner's alone


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277, 0o777])
def test_nothing_is_open_to_others_whatever_the_umask(store: Store, mask: int) -> None:
    with umask(mask):
        store.claim(record())
        store.write_status(UID, "eddies", status())
        with store.locked("eddies", 1):
            pass
        store.claim(record("waves", OTHER))
        store.retire(record("waves", OTHER), ENDED)
    found = [store.root, *everything(store)]
    assert {path.name for path in found} >= {"record.json", "status.json", "eddies.lock", "ended"}
    assert {mode(path) for path in found if path.is_dir()} == {0o700}
    assert {mode(path) for path in found if path.is_file()} == {0o600}


def test_parents_that_are_made_on_the_way_are_closed_and_those_that_were_there_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with umask(0):
        Store(tmp_path / "local" / "state").claim(record())
    assert mode(tmp_path / "local") == 0o700
    assert mode(tmp_path) == 0o755


def test_a_folder_that_was_opened_to_others_is_closed_again(store: Store, eddies: Record) -> None:
    for folder in (store.root, store.root / "clusters", store.folder("eddies")):
        folder.chmod(0o777)
    store.write(eddies)
    store.claim(record("waves", OTHER))
    assert {mode(path) for path in (store.root, store.root / "clusters", store.folder("eddies"))} == {0o700}


def test_a_folder_of_somebody_else_is_neither_read_nor_written(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(Unreadable, match="belongs to somebody else"):
        store.read("eddies")
    with pytest.raises(ClusterhubError, match=r"cannot write .*somebody else.*CLUSTERHUB_STATE"):
        store.claim(record("waves", OTHER))


def test_a_folder_for_everybody_is_refused_and_not_taken_from_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ClusterhubError, match="folder for everybody"):
        Store(tmp_path).claim(record())
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777


def test_a_file_system_that_cannot_close_a_folder_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.mkdir()
    store.root.chmod(0o777)
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    with pytest.raises(ClusterhubError, match="open to others"):
        store.claim(record())


def test_the_root_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "scratch")
    store = Store(tmp_path / "state")
    store.claim(record())
    assert store.read("eddies") == record()
    assert mode(tmp_path / "scratch") == 0o700


def test_a_symlink_in_place_of_a_clusters_folder_is_refused(store: Store, eddies: Record, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    store.folder("eddies").rename(outside)
    store.folder("eddies").symlink_to(outside)
    before = (outside / "record.json").read_bytes()
    assert store.names() == ["eddies"]
    assert store.status("eddies") is None
    for use in (
        lambda: store.read("eddies"),
        lambda: store.claim(record(uid=OTHER)),
        lambda: store.write(record(kept=False)),
        lambda: store.write_status(UID, "eddies", status()),
        lambda: store.retire(eddies, ENDED),
    ):
        with pytest.raises(ClusterhubError, match="eddies"):
            use()
    assert (outside / "record.json").read_bytes() == before
    assert [path.name for path in outside.iterdir()] == ["record.json"]


def test_what_ends_takes_nothing_along_that_a_symlink_points_to(store: Store, eddies: Record, tmp_path: Path) -> None:
    outside = tmp_path / "thesis"
    outside.mkdir()
    (outside / "chapter").write_text("years of work")
    folder = store.folder("eddies")
    (folder / "link").symlink_to(outside)
    (folder / "keeper.log").symlink_to(outside / "chapter")
    store.retire(eddies, ENDED)
    assert (outside / "chapter").read_text() == "years of work"
    assert not (store.root / "ended" / "eddies-aaaaaaaa" / "keeper.log").is_symlink()


# Written and read


def test_what_is_claimed_is_read(store: Store, eddies: Record) -> None:
    assert store.read("eddies") == eddies
    assert store.names() == ["eddies"]


def test_a_record_and_a_status_are_replaced_and_nothing_is_left_beside_them(store: Store, eddies: Record) -> None:
    store.write(eddies.model_copy(update={"kept": False}))
    store.write_status(UID, "eddies", status("3 of 4 workers"))
    store.write_status(UID, "eddies", status("4 of 4 workers"))
    assert store.read("eddies").kept is False
    assert store.status("eddies") == status("4 of 4 workers")
    assert {path.name for path in store.folder("eddies").iterdir()} == {"record.json", "status.json"}


@pytest.mark.parametrize("content", [b"", b'{"taken": "2026-', b"[]", b"\xff", b"{}"])
def test_a_status_that_is_half_written_is_none(store: Store, eddies: Record, content: bytes) -> None:
    (store.folder("eddies") / "status.json").write_bytes(content)
    assert store.status("eddies") is None


def test_a_later_cluster_of_the_name_is_not_overwritten(store: Store, eddies: Record) -> None:
    store.retire(eddies, ENDED)
    store.claim(record(uid=OTHER))
    before = {path: path.read_bytes() for path in store.folder("eddies").iterdir()}
    for use in (
        lambda: store.write(eddies),
        lambda: store.write(record(uid=OTHER), uid=UID),
        lambda: store.write_status(UID, "eddies", status()),
        lambda: store.retire(eddies, ENDED),
    ):
        with pytest.raises(NotOurs, match="another cluster"):
            use()
    assert {path: path.read_bytes() for path in store.folder("eddies").iterdir()} == before


def test_who_writes_after_the_name_was_freed_is_told_and_brings_nothing_back(store: Store, eddies: Record) -> None:
    store.retire(eddies, ENDED)
    for use in (lambda: store.write(eddies), lambda: store.write_status(UID, "eddies", status())):
        with pytest.raises(NotOurs, match="not written down any more"):
            use()
    assert store.names() == []


def test_a_name_that_changes_hands_while_a_status_is_written_gets_no_foreign_status(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = records.parsed

    def overtaken(*arguments: Any) -> Record:
        found = parsed(*arguments)
        monkeypatch.setattr(records, "parsed", parsed)
        store.folder("eddies").rename(store.root / "clusters" / ".ending-eddies-a")
        store.claim(record(uid=OTHER))
        return found

    monkeypatch.setattr(records, "parsed", overtaken)
    store.write_status(UID, "eddies", status())
    assert store.status("eddies") is None
    assert store.read("eddies").uid == OTHER


# What cannot be read


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"7", b"\x00" * 4096, b"\xff\xfe", b'{"format": 1}', b'{"format": true}', b"[" * 9999],
)
def test_a_damaged_record_says_where_it_lies_and_what_to_do(store: Store, eddies: Record, content: bytes) -> None:
    path = store.folder("eddies") / "record.json"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"then remove .*/clusters/eddies") as caught:
        store.read("eddies")
    assert str(path) in str(caught.value)
    assert not isinstance(caught.value, Newer)
    with pytest.raises(Unreadable):
        store.claim(record(uid=OTHER))
    assert path.read_bytes() == content


def test_a_record_cut_anywhere_is_never_taken_for_a_whole_one(store: Store, eddies: Record) -> None:
    path = store.folder("eddies") / "record.json"
    whole = path.read_bytes().strip()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(Unreadable):
            store.read("eddies")


def test_a_newer_record_asks_for_an_upgrade(store: Store, eddies: Record) -> None:
    path = store.folder("eddies") / "record.json"
    path.write_text(json.dumps({"format": FORMAT + 1, "version": "9.1\x1b[2J", "new": {}}))
    with pytest.raises(Newer, match=r"clusterhub 9\.1 \[2J, newer than this one: upgrade"):
        store.read("eddies")
    with pytest.raises(Newer):
        store.retire(eddies, ENDED)
    assert path.exists()


def test_the_record_of_another_cluster_is_not_believed(store: Store, eddies: Record) -> None:
    store.folder("eddies").rename(store.folder("waves"))
    with pytest.raises(Unreadable, match="another cluster, eddies"):
        store.read("waves")


@pytest.mark.parametrize("kind", ["folder", "pipe", "symlink", "missing"])
def test_what_is_no_file_is_no_record(store: Store, eddies: Record, tmp_path: Path, kind: str) -> None:
    path = store.folder("eddies") / "record.json"
    path.rename(tmp_path / "whole.json")
    (path.parent / "key.pem").write_text("secret")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to(tmp_path / "whole.json")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(Unreadable, match=r"record\.json"):
        store.read("eddies")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(Unreadable):
        store.claim(record(uid=OTHER))


def test_a_record_that_may_not_be_read_says_so(store: Store, eddies: Record) -> None:
    with (
        failing("fdopen", errno.EACCES),
        pytest.raises(Unreadable, match="Permission denied; it may be whole") as caught,
    ):
        store.read("eddies")
    assert "remove" not in str(caught.value)


def plausible() -> st.SearchStrategy[bytes]:
    whole = json.loads(record().model_dump_json())
    odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.none())
    values = st.recursive(odd, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5)
    changes = st.dictionaries(st.sampled_from([*whole, "more"]), values, max_size=4)
    return changes.map(lambda changed: json.dumps(whole | changed).encode())


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300) | plausible())
def test_any_bytes_are_a_record_or_refused_and_nothing_else(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "state")
        store.claim(record())
        (store.folder("eddies") / "record.json").write_bytes(content)
        try:
            found = store.read("eddies")
        except Unreadable as refused:
            told = str(refused)
        else:
            told = folder
            assert found.name == "eddies"
            assert found.uid.isalnum()
        assert folder in told
        assert told.isprintable()


# A full disk, a home that cannot be written


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open", "utime", "close"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_leaves_the_old_record_and_no_draft(store: Store, eddies: Record, call: str, number: int) -> None:
    before = [*everything(store)]
    changed, close, opened = eddies.model_copy(update={"kept": False}), os.close, list[int]()
    with pytest.MonkeyPatch.context() as patch:
        if call == "close":  # NFS tells only then; the file is closed all the same

            def closes(fd: int) -> None:
                close(fd)
                opened.append(fd)
                if len(opened) == 1:
                    raise OSError(number, os.strerror(number))

            patch.setattr(os, "close", closes)
            with pytest.raises(ClusterhubError, match=os.strerror(number)):
                store.write(changed)
        else:
            with failing(call, number), pytest.raises(ClusterhubError, match=os.strerror(number)) as caught:
                store.write(changed)
            assert "set CLUSTERHUB_STATE to a folder of your own that all your nodes see" in str(caught.value)
            assert str(store.folder("eddies")) in str(caught.value)
    assert store.read("eddies") == eddies
    assert everything(store) == before


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "replace"])
def test_a_name_that_could_not_be_claimed_for_a_full_disk_is_free(store: Store, call: str) -> None:
    with failing(call, errno.ENOSPC), pytest.raises(ClusterhubError, match="No space left on device"):
        store.claim(record())
    assert store.names() == []
    assert not list((store.root / "clusters").glob("*")) if store.root.exists() else True
    store.claim(record())
    assert store.read("eddies") == record()


def test_a_write_that_takes_only_some_bytes_is_continued(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[:7]))
    store.write(eddies.model_copy(update={"address": "tls://10.0.0.1:8786"}))
    assert store.read("eddies").address == "tls://10.0.0.1:8786"


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ClusterhubError, match=r"cannot write .*/state: Not a directory.*CLUSTERHUB_STATE"):
        Store(tmp_path / "state").claim(record())


# One of them


def test_a_name_that_is_taken_tells_by_whom(store: Store, eddies: Record) -> None:
    with pytest.raises(Taken, match="eddies is taken.*process 123 on hal-login1") as caught:
        store.claim(record(uid=OTHER))
    assert caught.value.record == eddies
    assert pickle.loads(pickle.dumps(caught.value)).record == eddies
    assert store.read("eddies") == eddies
    assert [path.name for path in (store.root / "clusters").iterdir()] == ["eddies"]


def test_an_empty_folder_is_nobodys(store: Store, eddies: Record) -> None:
    store.folder("waves").mkdir()
    store.claim(record("waves", OTHER))
    assert store.read("waves").uid == OTHER


def test_a_claim_whose_answer_was_lost_on_the_way_is_a_claim(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def sent_twice(self: Path, target: Path) -> Path:
        rename(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", sent_twice)
    store.claim(record())
    assert store.read("eddies") == record()


def test_of_eight_processes_that_claim_a_name_at_once_one_gets_it(store: Store) -> None:
    program = (
        "record = Record.model_validate_json(sys.argv[2]); print('ready', flush=True); sys.stdin.readline()\n"
        "try: store.claim(record)\nexcept Taken as taken: print('taken', taken.record.uid)\n"
        "else: print('won', record.uid)"
    )
    uids = [f"{number:032x}" for number in range(8)]
    processes = [running(program, store, record(uid=uid).model_dump_json()) for uid in uids]
    assert {said(process) for process in processes} == {"ready"}
    for process in processes:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    answers = [process.communicate()[0].split() for process in processes]
    winner = store.read("eddies").uid
    assert sorted(answer[0] for answer in answers) == ["taken"] * 7 + ["won"]
    assert {answer[1] for answer in answers} == {winner}
    assert [path.name for path in (store.root / "clusters").iterdir()] == ["eddies"]


# The end


def test_what_ended_is_remembered_without_its_keys(store: Store, eddies: Record) -> None:
    folder = store.folder("eddies")
    (folder / "keeper.log").write_text("ends: idle")
    (folder / "key.pem").write_text("secret")
    (folder / "more").mkdir()
    (folder / "more" / "key.pem").write_text("secret")
    store.write_status(UID, "eddies", status())
    store.retire(eddies, ENDED)
    memory = store.root / "ended" / "eddies-aaaaaaaa"
    assert {path.name for path in memory.iterdir()} == {"record.json", "keeper.log"}
    assert (memory / "keeper.log").read_text() == "ends: idle"
    assert store.ended("eddies") == [eddies.model_copy(update={"end": ENDED})]
    assert list((store.root / "clusters").iterdir()) == []
    with pytest.raises(NotThere):
        store.read("eddies")


def test_an_end_may_be_told_twice(store: Store, eddies: Record) -> None:
    store.retire(eddies, ENDED)
    store.retire(eddies, End(when=NOON + timedelta(hours=1), reason="again"))
    assert [each.end for each in store.ended()] == [ENDED]


@pytest.mark.parametrize("call", ["write", "mkdir"])
def test_on_a_full_disk_the_name_is_freed_and_the_keys_go_all_the_same(store: Store, eddies: Record, call: str) -> None:
    (store.folder("eddies") / "key.pem").write_text("secret")
    (store.root / "ended").mkdir(mode=0o700)
    with failing(call, errno.ENOSPC), pytest.raises(ClusterhubError, match="No space left"):
        store.retire(eddies, ENDED)
    assert list((store.root / "clusters").iterdir()) == []
    assert [path for path in everything(store) if path.name == "key.pem"] == []
    store.retire(eddies, ENDED)
    assert [each.end for each in store.ended()] == [ENDED]


def test_the_last_twenty_of_seven_days_are_remembered_the_newest_first(store: Store) -> None:
    for number in range(KEPT_ENDED + 3):
        gone = record(uid=f"{number:08x}" + "0" * 24)
        store.claim(gone)
        store.retire(gone, End(when=NOON + timedelta(minutes=number), reason=str(number)))
    reasons = [each.end.reason for each in store.ended("eddies") if each.end]
    assert reasons == [str(number) for number in reversed(range(3, KEPT_ENDED + 3))]
    late = record("eddies-2", OTHER)
    store.claim(late)
    store.retire(late, End(when=NOON + timedelta(days=7, minutes=20), reason="late"))
    assert [each.end.reason for each in store.ended() if each.end] == ["late", "22", "21", "20"]
    assert [each.end.reason for each in store.ended("eddies-2") if each.end] == ["late"]


def test_a_memory_that_cannot_be_read_hides_no_other(store: Store, eddies: Record) -> None:
    store.retire(eddies, ENDED)
    (store.root / "ended" / "waves-bbbbbbbb").mkdir()
    (store.root / "ended" / "tides-cccccccc").mkdir()
    (store.root / "ended" / "tides-cccccccc" / "record.json").write_text("{")
    assert [each.name for each in store.ended()] == ["eddies"]


def test_what_crashes_left_is_swept_away_once_nobody_can_be_at_it(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.locked("waves", 1), store.locked("eddies", 1):
        pass
    left = store.root / "clusters" / ".ending-waves-b"
    left.mkdir()
    (left / "key.pem").write_text("secret")
    unneeded = store.root / "clusters" / ".starting-1.log"
    unneeded.touch()
    store.claim(record("tides", OTHER))
    assert left.exists()
    clock = Store._clock
    monkeypatch.setattr(Store, "_clock", lambda self: clock(self) + 8 * 86400)
    store.retire(record("tides", OTHER), ENDED)
    assert not left.exists()
    assert not unneeded.exists()
    assert [path.name for path in (store.root / "locks").iterdir()] == ["eddies.lock"]
    assert store.read("eddies") == eddies


# Locks


@pytest.fixture(params=["flock", "link"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that locks, and one that does not."""
    if request.param == "link":

        def refuse(fd: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return str(request.param)


HOLD = (
    "import fcntl, errno\n"
    "def refuse(*a): raise OSError(errno.ENOLCK, '')\n"
    "if sys.argv[2] == 'link': fcntl.flock = refuse\n"
    "with store.locked('eddies', 10):\n    print('held', flush=True); sys.stdin.readline()\n"
    "print('freed', flush=True); sys.stdin.readline()"
)


def test_a_lock_that_is_held_tells_by_whom_and_is_free_afterwards(store: Store, locks: str) -> None:
    other = running(HOLD, store, locks)
    assert said(other) == "held"
    with pytest.raises(WaitTimeout, match=f"eddies is being started or ended by process {other.pid} on "):  # noqa: SIM117
        with store.locked("eddies", 0.1):
            pytest.fail("two hold it")
    with store.locked("waves", 0.1):
        pass  # another name
    other.stdin.write("\n")  # type: ignore[union-attr]
    other.stdin.flush()  # type: ignore[union-attr]
    assert said(other) == "freed"
    with store.locked("eddies", 10):
        pass
    other.communicate()


def test_the_lock_of_a_killed_holder_is_free(store: Store, locks: str) -> None:
    other = running(HOLD, store, locks)
    assert said(other) == "held"
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with store.locked("eddies", 10):
        pass
    left = {path.name for path in (store.root / "locks").iterdir()}
    assert left == {"eddies.lock"}


def test_the_lock_of_another_host_is_never_broken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.claim(record("waves"))
    locks = store._own("locks")
    (locks / "eddies.holder").write_text(locks_._Holder(token="t", process=FAR).model_dump_json())
    with (
        failing("flock", errno.ENOLCK, fcntl),
        pytest.raises(WaitTimeout, match=r"hal-login1.*remove .*eddies\.holder"),
        store.locked("eddies", 0.1),
    ):
        pytest.fail("it is held")
    assert (locks / "eddies.holder").exists()


def test_who_breaks_a_stale_lock_too_late_leaves_the_new_one_alone(store: Store) -> None:
    holder = store._own("locks") / "eddies.holder"
    stale, fresh = (locks_._Holder(token=token, process=Process.this()) for token in ("stale", "fresh"))
    holder.write_text(fresh.model_dump_json())
    locks_._break(holder, stale)
    assert locks_._holder(holder) == fresh
    holder.with_name("eddies.holder.fresh").write_text("")  # another one is breaking it
    locks_._break(holder, fresh)
    assert locks_._holder(holder) == fresh


def test_threads_exclude_each_other_even_where_locks_belong_to_processes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)  # what NFS gives a second thread
    inside, most, done = [0], [0], []

    def work() -> None:
        for _ in range(5):
            with store.locked("eddies", 60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(done)) == ([1], 8)


def test_processes_that_count_under_the_lock_lose_no_count(store: Store, locks: str) -> None:
    program = (
        "import fcntl, errno\n"
        "def refuse(*a): raise OSError(errno.ENOLCK, '')\n"
        "if sys.argv[2] == 'link': fcntl.flock = refuse\n"
        "count = Path(sys.argv[3])\n"
        "for _ in range(10):\n"
        "    with store.locked('eddies', 120):\n"
        "        n = int(count.read_text()); time.sleep(0.001); count.write_text(str(n + 1))\n"
    )
    count = store._own("locks").parent / "count"
    count.write_text("0")
    processes = [running(program, store, locks, str(count)) for _ in range(4)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert count.read_text() == "40"


def test_an_error_inside_a_lock_frees_it_and_is_told_as_it_is(store: Store, locks: str) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), store.locked("eddies", 1):
        raise FileNotFoundError("mine")
    with store.locked("eddies", 0):
        pass


def test_a_lock_that_was_swept_away_while_it_was_waited_for_is_taken_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, list[int]()

    def sweeps_first(fd: int, operation: int) -> None:
        if not swept:
            swept.append(fd)
            (store.root / "locks" / "eddies.lock").unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", sweeps_first)
    with store.locked("eddies", 10):
        assert (store.root / "locks" / "eddies.lock").exists()
        with pytest.raises(WaitTimeout), store.locked("eddies", 0):
            pytest.fail("two hold it")


# How it fares


def test_the_heartbeat_is_told_by_the_file_systems_clock_and_not_by_ours(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.heartbeat_age("eddies") is None
    store.write_status(UID, "eddies", status())
    path = store.folder("eddies") / "status.json"
    written = path.stat().st_mtime
    os.utime(path, (written - 3600, written - 3600))
    monkeypatch.setattr(time, "time", lambda: written + 10 * 365 * 86400)
    age = store.heartbeat_age("eddies")
    assert age is not None
    assert 3600 <= age < 7200
    os.utime(path, (written + 3600, written + 3600))  # the server's clock was set back
    assert store.heartbeat_age("eddies") == 0.0
    assert not list(store.root.glob(".clock-*"))


def test_where_the_time_cannot_be_asked_no_age_is_invented(store: Store, eddies: Record) -> None:
    store.write_status(UID, "eddies", status())
    with failing("open", errno.EROFS):
        assert store.heartbeat_age("eddies") is None


@pytest.mark.parametrize(
    ("facts", "life", "beat", "condition", "words"),
    [
        ({}, Life.ALIVE, None, Condition.LIVING, "its keeper, process 123 on hal-login1, lives"),
        ({}, Life.STOPPED, 0.0, Condition.STOPPED, "is stopped; it goes on after: kill -CONT 123"),
        ({}, Life.DEAD, 0.0, Condition.DEAD, "its keeper, process 123 on hal-login1, is gone"),
        ({}, Life.UNKNOWN, 3 * BEAT - 1, Condition.LIVING, "heard of 44s ago from hal-login1"),
        ({}, Life.UNKNOWN, 3 * BEAT, Condition.UNKNOWN, "not heard of for 45s; it lives or lived on hal-login1"),
        (
            {},
            Life.UNKNOWN,
            10800.0,
            Condition.UNKNOWN,
            "not heard of for 3h; it lives or lived on hal-login1, ask there",
        ),
        ({}, Life.UNKNOWN, None, Condition.UNKNOWN, "never heard of; it lives or lived on hal-login1, ask there"),
        ({"keeper": None, "state": "starting"}, Life.ALIVE, None, Condition.STARTING, "which was starting it, lives"),
        ({"keeper": None, "state": "starting"}, Life.DEAD, None, Condition.DEAD, "which was starting it, is gone"),
        ({"keeper": None, "state": "starting"}, Life.UNKNOWN, None, Condition.UNKNOWN, "ask there"),
        ({"end": ENDED}, Life.ALIVE, 0.0, Condition.DEAD, "it ended: idle for 1h"),
    ],
)
def test_how_a_cluster_fares_follows_from_its_keepers_life_and_its_heartbeat(
    facts: dict[str, Any], life: Life, beat: float | None, condition: Condition, words: str
) -> None:
    found = judged(record(**facts), life, beat)
    assert found.condition is condition
    assert words in found.reason


def test_unreachable_is_not_dead(store: Store) -> None:
    elsewhere = record(keeper=FAR)
    store.claim(elsewhere)
    assert standing(elsewhere, store).condition is Condition.UNKNOWN
    store.write_status(UID, "eddies", status())
    assert standing(elsewhere, store).condition is Condition.LIVING


def test_a_keeper_that_is_gone_here_is_dead_however_fresh_its_last_words(store: Store) -> None:
    gone = record(keeper=Process.this().model_copy(update={"started": "1"}))
    store.claim(gone)
    store.write_status(UID, "eddies", status())
    assert standing(gone, store).condition is Condition.DEAD


def test_a_reboot_is_not_believed_of_a_cluster_that_still_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = record(keeper=FAR)
    store.claim(twin)
    monkeypatch.setattr(Process, "life", lambda self: Life.DEAD)
    assert standing(twin, store).condition is Condition.DEAD
    store.write_status(UID, "eddies", status())
    assert standing(twin, store).condition is Condition.LIVING
