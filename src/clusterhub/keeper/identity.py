"""Who a process is, and whether it still lives: said only where it can be proven.

A pid alone proves nothing: it is used again within minutes, by another process or on another host that shares this home.
So a process is its pid *and* when the kernel started it, on one boot of one host, in one pid namespace. From anywhere else
its life is unknown, and whoever wants to clean up after it has to ask there.
"""

from __future__ import annotations

import errno
import os
import signal as signals
from collections.abc import Generator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import Field

from clusterhub.errors import ClusterhubError
from clusterhub.spec import Frozen

PROC = Path("/proc")
MACHINE_ID = Path("/etc/machine-id")
HOST_NAMESPACE = "pid:[4026531836]"
"""The pid namespace of a host itself, the same number on every Linux (``PROC_PID_INIT_INO`` in its sources)."""
_STOPPED = frozenset("Tt")  # by a signal; by a debugger
_GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.EINVAL})  # the latter two: the pid is a mere thread's by now
_NO_PIDFD = frozenset({errno.ENOSYS, errno.EPERM})  # an old kernel; a container whose filter does not know the call


class Life(StrEnum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    STOPPED = "stopped"
    """It lives, and a signal or a debugger keeps it from running."""
    DEAD = "dead"
    """Proven: it is gone and will not come back."""
    UNKNOWN = "unknown"
    """It is, or was, where this process cannot look: on another host, or in another container."""


class OutOfReach(ClusterhubError):
    """A process of another host or container, which can be neither watched nor signalled from here."""


class _Place(NamedTuple):
    """Where this very process runs."""

    host: str
    boot: str
    namespace: str
    machine: str


class _Sight(NamedTuple):
    """What the kernel says of a pid."""

    started: str
    life: Life


class Process(Frozen):
    """One process, told apart from every other one, also from those that get its pid later or have it elsewhere."""

    pid: Annotated[int, Field(gt=0, lt=2**31)]
    started: str
    """When it was started, in the kernel's own words (clock ticks since its boot); never a wall clock's on Linux."""
    host: str
    boot: str = ""
    """Which boot of its host: a random text on Linux."""
    namespace: str = ""
    """The namespaces in which pid and start time were read; empty where the system has none."""
    machine: str = ""
    """``/etc/machine-id``, empty where there is none: host names repeat, among containers and in clouds."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has ``pid`` here. Raises ProcessLookupError where none has, PermissionError where it is hidden."""
        sight = _look(pid)
        if sight is None:
            raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}")
        if sight.life is Life.UNKNOWN:
            raise PermissionError(errno.EPERM, f"process {pid} is hidden from us")
        return cls(pid=pid, started=sight.started, **_here()._asdict())

    @classmethod
    def this(cls) -> Self:
        """The process that asks."""
        return cls.of(os.getpid())

    def life(self) -> Life:
        """Whether it lives. DEAD is a proof: its pid is free, is another's or a zombie's here, or its host was rebooted."""
        here = _here()
        if here.host != self.host or not self.boot:
            return Life.UNKNOWN
        if (here.boot, here.namespace) == (self.boot, self.namespace):
            sight = _look(self.pid)
            if sight is None:
                return Life.DEAD
            return sight.life if sight.life is Life.UNKNOWN or sight.started == self.started else Life.DEAD
        return Life.DEAD if self._rebooted(here) else Life.UNKNOWN

    def _rebooted(self, here: _Place) -> bool:
        # Containers repeat host names, and images bake machine ids in; only a host itself, seen from itself, reboots.
        one_machine = bool(here.machine) and here.machine == self.machine
        on_hosts = here.namespace == self.namespace and self.namespace.startswith(HOST_NAMESPACE)
        return here.boot != self.boot and bool(here.boot) and one_machine and on_hosts

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def open_watch(process: Process) -> int | None:
    """A pidfd of exactly ``process``: readable once it has ended, the caller's to close. None where there are no pidfds.

    Raises ProcessLookupError where the process is gone, and OutOfReach where that cannot be known from here.
    """
    _demand(process)
    opener = getattr(os, "pidfd_open", None)  # absent on other systems, and in Pythons built on old Linux headers
    if opener is None:
        return None
    try:
        watch: int = opener(process.pid)
    except OSError as error:
        if error.errno in _GONE:
            raise _gone(process) from error
        if error.errno in _NO_PIDFD:
            return None
        raise
    try:
        _demand(process)  # only now: the pid may have passed to another process before it was opened
    except BaseException:
        os.close(watch)
        raise
    return watch


def end(process: Process, signal: int) -> None:
    """Send ``signal`` to exactly ``process``, and never to another one that got its pid.

    Without pidfds the start time is compared right before, which is as exact as such a system allows. Raises
    ProcessLookupError where the process is gone, and OutOfReach where that cannot be known from here.
    """
    watch = open_watch(process)
    send = getattr(signals, "pidfd_send_signal", None)
    if watch is None or send is None:
        _demand(process)
        os.kill(process.pid, signal)
        return
    try:
        send(watch, signal)
    finally:
        os.close(watch)


class Watch:
    """The end of a process, to be awaited: ``await Watch(process)`` returns once it is gone, or was before.

    By a pidfd where there is one, else by looking every ``interval`` seconds. Raises OutOfReach where it cannot be seen.
    """

    def __init__(self, process: Process, interval: float = 1.0) -> None:
        self.process = process
        self.interval = interval

    def __await__(self) -> Generator[object, None, None]:
        return self._ended().__await__()

    async def _ended(self) -> None:
        import asyncio  # a quarter of this module's import, and most who import it wait for nobody

        try:
            watch = open_watch(self.process)
        except ProcessLookupError:
            return
        if watch is None:
            while self.process.life() is not Life.DEAD:
                await asyncio.sleep(self.interval)
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(watch, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(watch)
            os.close(watch)


def _demand(process: Process) -> None:
    life = process.life()
    if life is Life.DEAD:
        raise _gone(process)
    if life is Life.UNKNOWN:
        raise OutOfReach(f"{process} cannot be reached from here ({_here().host}); do it there")


def _gone(process: Process) -> ProcessLookupError:
    return ProcessLookupError(errno.ESRCH, f"{process} is gone")


def _here() -> _Place:
    host = os.uname().nodename
    boot = _text(PROC / "sys/kernel/random/boot_id")
    if boot:
        return _Place(host, boot, _namespaces(), _text(MACHINE_ID))
    import psutil

    # This time moves when the clock is set, so a different one is no reboot: without a machine id, none is concluded.
    return _Place(host, f"since {int(psutil.boot_time())}", _namespaces(), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _namespaces() -> str:
    # Start times count from a boot that a time namespace may shift: two processes must agree on both to compare them.
    found = []
    for kind in ("pid", "time"):
        try:
            found.append(str((PROC / "self/ns" / kind).readlink()))
        except OSError:
            continue
    return " ".join(found)


def _look(pid: int) -> _Sight | None:
    """What the kernel says of ``pid``; None is a proof that no living process has it."""
    own = pid == os.getpid()
    try:
        myself = (PROC / "self").readlink().name
    except OSError:
        return _look_without_proc(pid)
    if not own and myself != str(os.getpid()):  # the /proc of another pid namespace, left mounted in ours
        return _Sight("", Life.UNKNOWN)
    try:
        return _parsed((PROC / ("self" if own else str(pid)) / "stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while it was read
        return _hidden(pid)
    except PermissionError:
        return _Sight("", Life.UNKNOWN)


def _parsed(stat: bytes) -> _Sight | None:
    """The state and start time in ``/proc/PID/stat`` (proc(5)); None for a zombie, all of whose threads have ended."""
    # The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
    fields = stat.rpartition(b")")[2].decode("ascii").split()
    state, threads, started = fields[0], int(fields[17]), fields[19]
    if state in "XxZ" and threads <= 1:
        return None
    return _Sight(started, Life.STOPPED if state in _STOPPED else Life.ALIVE)


def _hidden(pid: int) -> _Sight | None:
    # A /proc mounted with hidepid shows other users' processes to nobody; the kernel itself denies only what is not there.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return _Sight("", Life.UNKNOWN)


def _look_without_proc(pid: int) -> _Sight | None:
    import psutil

    try:
        process = psutil.Process(pid)
        state, started = process.status(), repr(process.create_time())
    except psutil.NoSuchProcess:  # zombies are of this kind too
        return None
    except psutil.AccessDenied:
        return _Sight("", Life.UNKNOWN)
    if state == psutil.STATUS_ZOMBIE:
        return None
    return _Sight(started, Life.STOPPED if state == psutil.STATUS_STOPPED else Life.ALIVE)
