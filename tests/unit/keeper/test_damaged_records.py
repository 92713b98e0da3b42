"""What is damaged is refused with what to do, and a disk that is full costs nothing that was there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterhub import ClusterhubError
from clusterhub.keeper.record import FORMAT, Newer, Record, Unreadable
from clusterhub.keeper.records import Store

from .writing import ENDED, OTHER, failing, record


def everything(store: Store) -> list[Path]:
    return sorted(store.root.rglob("*"))


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


@settings(max_examples=300)
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
