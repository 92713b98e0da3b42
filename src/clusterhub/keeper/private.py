"""Folders and files that are nobody else's: made so, kept so, and replaced in one step."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from clusterhub.errors import ClusterhubError

ELSEWHERE = "set CLUSTERHUB_STATE to a folder of your own that all your nodes see"
"""What to do where records cannot be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong in it becomes one clear message."""
    try:
        yield
    except ClusterhubError:  # a WaitTimeout is an OSError too
        raise
    except OSError as error:
        raise ClusterhubError(
            f"cannot write {path}: {error.strerror or error}; what clusters live is written down there; {ELSEWHERE}"
        ) from error


def make_own(folder: Path, *, follow: bool = False) -> None:
    """Make ``folder`` where it is missing, and close it to others. OSError where it is a symlink (unless ``follow``)."""
    missing = [path for path in (folder, *folder.parents) if not path.is_symlink() and not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):  # somebody else was quicker
            path.mkdir(mode=0o700)
            path.chmod(0o700)  # a umask may take more than we would
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        close_to_others(fd, 0o700)
    finally:
        os.close(fd)


@contextmanager
def opened_own(folder: Path) -> Iterator[int]:
    """``folder``, opened, and closed to others: what is done below it is done there even if it is renamed meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        close_to_others(fd, 0o700)
        yield fd
    finally:
        os.close(fd)


def close_to_others(fd: int, mode: int) -> None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to somebody else")
    if found.st_mode & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, "it is a folder for everybody")  # /tmp must not become ours alone
    if stat.S_IMODE(found.st_mode) & 0o777 != mode:
        os.fchmod(fd, mode)
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o777 != mode:  # some file systems only pretend
            raise PermissionError(errno.EPERM, "it is open to others, and its file system cannot close it")


def read_in(folder: int, name: str) -> bytes:
    # Not blocking: what lies there might be a pipe.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:  # which refuses a folder, and leaves it open
            return file.read()
    finally:
        os.close(fd)


def replace_in(folder: int, name: str, content: bytes, *, durable: bool) -> None:
    """Put ``content`` in the place of ``name`` in one step; nothing else is left there, whatever goes wrong."""
    draft = f".{name}.{uuid4().hex}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        try:
            close_to_others(fd, 0o600)
            write_all(fd, content)
            os.utime(fd)  # by the file system's clock: NFS clients may stamp what they write with their own
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)  # NFS tells only here that the disk is full
        os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]


def removed_wholly(folder: Path) -> None:
    """Remove ``folder`` with all that is in it, following no link. What NFS keeps for those who have it open may stay."""
    shutil.rmtree(folder, ignore_errors=True)
    left = [path for path in folder.rglob("*") if not path.name.startswith(".nfs")] if folder.exists() else []
    if left:
        raise ClusterhubError(f"cannot remove {left[0]}, which may be a key; remove {folder}")
