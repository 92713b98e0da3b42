"""Records outlive crashes, full disks, races and later versions: what is read is whole, or refused with what to do."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clusterhub import ClusterhubError, ConfigError
from clusterhub.keeper import records
from clusterhub.keeper.record import End, NotOurs, NotThere, Record, Taken, Unreadable
from clusterhub.keeper.records import KEPT_ENDED, Store

from .writing import ENDED, NOON, OTHER, UID, failing, record, running, said, status


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


def test_at_no_time_is_a_cluster_neither_in_use_nor_remembered(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[list[Record]] = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        freed.append(store.ended("eddies"))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    store.retire(eddies, ENDED)
    assert freed == [[eddies.model_copy(update={"end": ENDED})]]
    assert store.names() == []


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
