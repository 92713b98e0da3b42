"""One at a time, on file systems that lock and on those that do not."""

from __future__ import annotations

import errno
import fcntl
import signal
import threading
import time

import pytest

from clusterhub import WaitTimeout
from clusterhub.keeper import locks as locks_
from clusterhub.keeper.identity import Process
from clusterhub.keeper.records import Store

from .writing import FAR, failing, record, running, said


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
