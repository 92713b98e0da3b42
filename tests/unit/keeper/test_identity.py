"""Who lives is told by the kernel or not at all: pids repeat, host names too, and a wrong "dead" ends a living cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clusterhub.keeper import identity
from clusterhub.keeper.identity import HOST_NAMESPACE, Life, OutOfReach, Process, Watch, end, open_watch

STAT = b"%d (%s) %s 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 %d 0 4711 1 1 18446744073709551615"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "600"])
    yield child
    child.kill()
    child.wait()


def ended_with(child: subprocess.Popen[bytes], flags: int = os.WEXITED) -> None:
    """Wait for a change of its state without reaping it."""
    os.waitid(os.P_PID, child.pid, flags | os.WNOWAIT)


def changed(process: Process, **facts: Any) -> Process:
    return process.model_copy(update=facts)


def on_a_host(monkeypatch: pytest.MonkeyPatch, **facts: str) -> Process:
    """This process as if it ran on a host itself rather than in a container, and one with a machine id."""
    here = identity._Place("hal-login1", "boot-2", HOST_NAMESPACE, "m4ch1ne")._replace(**facts)
    monkeypatch.setattr(identity, "_here", lambda: here)
    return Process.this()


def test_this_process_lives_and_is_itself() -> None:
    me = Process.this()
    assert me.pid == os.getpid()
    assert me.life() is Life.ALIVE
    assert Process.of(os.getpid()) == me


def test_it_crosses_processes_as_json() -> None:
    me = Process.this()
    assert Process.model_validate_json(me.model_dump_json()) == me


@pytest.mark.parametrize("pid", [0, -1, 2**31])
def test_a_pid_that_would_signal_a_whole_group_is_no_pid(pid: int) -> None:
    with pytest.raises(ValidationError):
        Process(pid=pid, started="1", host="hal")


def test_a_child_that_was_killed_and_reaped_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    child = Process.of(sleeper.pid)
    assert child.life() is Life.ALIVE
    sleeper.kill()
    sleeper.wait()
    assert child.life() is Life.DEAD
    with pytest.raises(ProcessLookupError):
        Process.of(sleeper.pid)


def test_a_zombie_is_dead_although_it_has_its_pid(sleeper: subprocess.Popen[bytes]) -> None:
    child = Process.of(sleeper.pid)
    sleeper.kill()
    ended_with(sleeper)
    os.kill(sleeper.pid, 0)  # the pid is in use
    assert child.life() is Life.DEAD
    with pytest.raises(ProcessLookupError):
        end(child, signal.SIGTERM)


def test_a_stopped_process_is_not_dead_and_goes_on_living(sleeper: subprocess.Popen[bytes]) -> None:
    child = Process.of(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    ended_with(sleeper, os.WSTOPPED)
    assert child.life() is Life.STOPPED
    sleeper.send_signal(signal.SIGCONT)
    ended_with(sleeper, os.WCONTINUED)
    assert child.life() is Life.ALIVE


def test_another_process_that_got_the_pid_is_not_taken_for_it_nor_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    former = changed(Process.of(sleeper.pid), started="1")
    assert former.life() is Life.DEAD
    with pytest.raises(ProcessLookupError):
        end(former, signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        open_watch(former)
    assert sleeper.poll() is None


@pytest.mark.parametrize("pidfd", [True, False])
def test_a_pid_that_is_reused_while_it_is_opened_is_noticed_and_no_signal_sent(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    child, looks = Process.of(sleeper.pid), iter([child_seen := Life.ALIVE, Life.DEAD])
    monkeypatch.setattr(Process, "life", lambda self: next(looks))
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(ProcessLookupError):
        end(child, signal.SIGKILL)
    assert child_seen is Life.ALIVE
    assert sleeper.poll() is None


@pytest.mark.parametrize("name", [b"a b", b"sleep) R 1 (", b")))", b"\xff\xfe", b""])
@pytest.mark.parametrize(
    ("state", "threads", "life"),
    [
        (b"S", 1, Life.ALIVE),
        (b"D", 1, Life.ALIVE),
        (b"T", 1, Life.STOPPED),
        (b"t", 1, Life.STOPPED),
        (b"Z", 3, Life.ALIVE),  # its first thread ended, others run
        (b"Z", 1, None),
        (b"X", 1, None),
    ],
)
def test_no_program_name_confuses_what_the_kernel_says(
    name: bytes, state: bytes, threads: int, life: Life | None
) -> None:
    sight = identity._parsed(STAT % (123, name, state, threads))
    assert (sight and tuple(sight)) == (("4711", life) if life else None)


@pytest.mark.parametrize("elsewhere", [{"host": "hal-login2"}, {"namespace": "pid:[4026532201]"}, {"boot": ""}])
def test_of_another_host_or_container_nothing_is_known_and_nothing_done(
    sleeper: subprocess.Popen[bytes], elsewhere: dict[str, str]
) -> None:
    far = changed(Process.of(sleeper.pid), **elsewhere)
    assert far.life() is Life.UNKNOWN
    with pytest.raises(OutOfReach, match="do it there"):
        end(far, signal.SIGKILL)
    with pytest.raises(OutOfReach):
        open_watch(far)
    assert sleeper.poll() is None


def test_a_rebooted_host_has_none_of_its_processes_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(on_a_host(monkeypatch), boot="boot-1").life() is Life.DEAD


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"machine": "another"}, {}),  # two nodes of one name, as clouds make them
        ({"machine": ""}, {"machine": ""}),  # no machine id: a container, or no Linux
        ({"namespace": "pid:[1]"}, {"namespace": "pid:[1]"}),  # containers of one image, with its machine id and name
        ({"namespace": "pid:[1]"}, {}),
        ({}, {"boot": ""}),
    ],
)
def test_another_boot_proves_no_reboot_where_names_may_repeat(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, str], here: dict[str, str]
) -> None:
    before = changed(on_a_host(monkeypatch, **here), boot="boot-1", **there)
    assert before.life() is Life.UNKNOWN


def test_the_proc_of_another_namespace_is_not_believed(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = Process.of(sleeper.pid)
    (tmp_path / "self").symlink_to("1")
    (tmp_path / "1").mkdir()
    place = identity._here()
    monkeypatch.setattr(identity, "_here", lambda: place)
    monkeypatch.setattr(identity, "PROC", tmp_path)
    assert child.life() is Life.UNKNOWN


def test_a_process_that_proc_hides_is_unknown_and_not_dead(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child, place = Process.of(sleeper.pid), identity._here()
    (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(identity, "_here", lambda: place)
    monkeypatch.setattr(identity, "PROC", tmp_path)
    assert child.life() is Life.UNKNOWN
    with pytest.raises(PermissionError):
        Process.of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert child.life() is Life.DEAD


def test_where_there_is_no_proc_psutil_knows(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = identity.PROC
    monkeypatch.setattr(identity, "PROC", tmp_path / "nothing")
    assert real.exists()
    child = Process.of(sleeper.pid)
    assert child.machine == ""
    assert child.life() is Life.ALIVE
    assert changed(child, started="1.5").life() is Life.DEAD
    assert changed(child, boot="since 1").life() is Life.UNKNOWN
    sleeper.send_signal(signal.SIGSTOP)
    ended_with(sleeper, os.WSTOPPED)
    assert child.life() is Life.STOPPED
    sleeper.kill()
    ended_with(sleeper)
    assert child.life() is Life.DEAD
    sleeper.wait()
    assert child.life() is Life.DEAD


@pytest.mark.parametrize("pidfd", [True, False])
def test_end_signals_exactly_that_process(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    end(Process.of(sleeper.pid), signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM


def test_a_kernel_or_container_without_pidfds_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("ENOSYS", "EPERM"):

        def refuse(pid: int, number: str = number) -> int:
            raise OSError(getattr(identity.errno, number), "no")

        monkeypatch.setattr(os, "pidfd_open", refuse)
        assert open_watch(Process.this()) is None


@pytest.mark.parametrize("pidfd", [True, False])
async def test_the_end_of_a_process_can_be_awaited(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    watching = asyncio.ensure_future(_watched(Process.of(sleeper.pid)))
    await asyncio.sleep(0)
    assert not watching.done()
    sleeper.kill()
    await asyncio.wait_for(watching, 30)


async def test_one_that_has_ended_before_need_not_be_awaited(sleeper: subprocess.Popen[bytes]) -> None:
    child = Process.of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    await asyncio.wait_for(_watched(child), 30)


async def test_who_stops_waiting_leaves_no_watch_open(sleeper: subprocess.Popen[bytes]) -> None:
    child, before = Process.of(sleeper.pid), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it counts itself, twice
    watching = asyncio.ensure_future(_watched(child))
    await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait([watching])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def _watched(process: Process) -> None:
    await Watch(process, interval=0.01)


def test_a_thread_asks_for_its_whole_process() -> None:
    found: list[Process] = []
    thread = threading.Thread(target=lambda: found.append(Process.this()))
    thread.start()
    thread.join()
    assert found == [Process.this()]


def test_who_only_reads_records_loads_neither_dask_nor_psutil() -> None:
    told = "import sys, clusterhub.keeper.identity, clusterhub.keeper.records; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    assert not {"distributed", "dask", "psutil"} & set(loaded)
