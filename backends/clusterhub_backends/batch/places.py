"""Which folders of this host the nodes probably see as well, told by the file system that holds them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
SHARED = frozenset(
    {
        "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "panfs", "wekafs", "pvfs2", "orangefs",
        "glusterfs", "ocfs2", "gfs2", "virtiofs", "9p", "quobyte", "daos",
    }
)  # fmt: skip
"""File systems that several hosts mount; so are most that run in user space (``fuse.…``)."""
MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/run"))
"""Of these every host has its own."""


class Seen(Enum):
    """Whether nodes see a folder of this host."""

    SHARED = "shared"
    UNKNOWN = "unknown"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Place:
    """The file system that holds a folder, or will hold it once it is made."""

    path: Path
    existing: Path
    """The folder itself, or the nearest one above it that exists."""
    kind: str
    """``nfs4``; empty where it cannot be told."""
    seen: Seen

    @property
    def writable(self) -> bool:
        """Whether we may make files there, and the file system takes any."""
        return self.existing.is_dir() and os.access(self.existing, os.W_OK | os.X_OK)

    @property
    def full(self) -> bool:
        """Whether not a byte is left there."""
        try:
            return os.statvfs(self.existing).f_bavail == 0
        except OSError:
            return False


def place_of(path: Path, mounts: Path = MOUNTS) -> Place:
    """Where ``path`` is, or would be. Raises nothing: what cannot be looked at is unknown."""
    existing = next((folder for folder in (path, *path.parents) if _exists(folder)), Path("/"))
    real = Path(os.path.realpath(existing)) / path.relative_to(existing)
    kind = _kind(real, mounts)
    return Place(path, existing, kind, _seen(real, kind))


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a folder above it is closed to us
        return False


def _seen(real: Path, kind: str) -> Seen:
    if kind in SHARED or kind.startswith("fuse."):
        return Seen.SHARED
    if kind in MEMORY or any(real.is_relative_to(folder) for folder in TEMPORARY):
        return Seen.LOCAL
    return Seen.UNKNOWN


def _kind(real: Path, mounts: Path) -> str:
    """The type of the file system mounted nearest above; of several mounted on one folder, the last one is seen."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    nearest, kind = -1, ""
    for line in lines:  # proc_pid_mountinfo(5): "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw"
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        if real.is_relative_to(point) and len(point.parts) >= nearest:
            nearest, kind = len(point.parts), after.split(" ")[0]
    return kind
