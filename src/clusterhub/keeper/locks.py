"""Locks that hold among threads, processes and nodes, and that no killed holder keeps."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from clusterhub.errors import WaitTimeout
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.private import (
    close_to_others,
    opened_own,
    replace_in,
    write_all,
    writing,
)
from clusterhub.keeper.record import as_bytes
from clusterhub.spec import Frozen

_NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_MUTEXES: dict[str, threading.Lock] = {}
os.register_at_fork(after_in_child=_MUTEXES.clear)  # the threads that hold them are not in the child


class _Holder(Frozen):
    """Who holds a lock; ``token`` tells this time from every other."""

    token: str
    process: Process


@contextmanager
def locked_file(path: Path, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    # NFS emulates flock by byte-range locks, which are a process's: they do not keep its threads apart.
    mutex = _MUTEXES.setdefault(str(path), threading.Lock())
    if not mutex.acquire(timeout=max(0.0, timeout)):
        raise _is_held(path, timeout)
    try:
        with writing(path):
            while (release := _try_flock(path)) is None:
                if time.monotonic() >= deadline:
                    raise _is_held(path, timeout)
                time.sleep(0.05)
        try:
            yield
        finally:
            with suppress(OSError):
                release()
    finally:
        mutex.release()


def _is_held(path: Path, timeout: float) -> WaitTimeout:
    fallback = path.with_suffix(".holder")
    advice = f"; if it is gone, remove {fallback}" if fallback.exists() else ""
    who = holder_of(path)
    return WaitTimeout(f"{path.stem} is being started or ended by {who}, for longer than {timeout:g} s{advice}")


def holder_of(path: Path) -> str:
    """Who holds the lock, as far as that can be told."""
    holder = _holder(path.with_suffix(".holder")) or _holder(path)
    return str(holder.process) if holder else "another process"


def _holder(path: Path) -> _Holder | None:
    try:
        return _Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _try_flock(path: Path) -> Callable[[], None] | None:
    """Lock ``path``, which the kernel frees however its holder ends; returns what frees it, or None where it is held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        close_to_others(fd, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(os.fstat(fd), path.stat()):
            raise BlockingIOError  # it was swept away before it was locked: another file has its place, or will
        with suppress(OSError):  # on a full disk nobody learns who holds it, and it holds all the same
            os.ftruncate(fd, 0)
            write_all(fd, as_bytes(_Holder(token=uuid4().hex, process=Process.this())))
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        if error.errno in _NO_FLOCK:
            return _try_link(path.with_suffix(".holder"))
        raise
    owner = os.getpid()

    def release() -> None:
        try:
            if os.getpid() == owner:  # a forked child shares the lock, and must not free it for its parent
                with suppress(OSError):
                    os.ftruncate(fd, 0)
                fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            os.close(fd)

    return release


def _try_link(path: Path) -> Callable[[], None] | None:
    """The same where there are no locks: a link is made once only, also on NFS. That of a dead process is broken."""
    mine = _Holder(token=uuid4().hex, process=Process.this())
    with opened_own(path.parent) as folder:
        replace_in(folder, f".{mine.token}", as_bytes(mine), durable=True)
    draft = path.with_name(f".{mine.token}")
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        won = draft.stat().st_nlink == 2  # the answer may have been lost, and the second try refused
    finally:
        draft.unlink(missing_ok=True)
    if won:
        return lambda: path.unlink() if _holder(path) == mine else None
    there = _holder(path)
    if there is not None and there.process.life() is Life.DEAD:
        _break(path, there)
    return None


def _break(path: Path, stale: _Holder) -> None:
    """Remove the lock that ``stale`` left, and never the one that somebody took after it."""
    right = path.with_name(f"{path.name}.{stale.token}")
    try:
        os.close(os.open(right, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    # Only who has this right removes that lock, so what is seen now cannot change before it is removed.
    try:
        if _holder(path) == stale:
            path.unlink()
    finally:
        right.unlink()
