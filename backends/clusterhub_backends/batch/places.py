"""Which folders of this host the nodes probably see as well, told by the file system that holds them."""

from __future__ import annotations

import os
import re
import tempfile
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
    holder: Path
    """What every host has its own of, where it is LOCAL: ``/tmp``."""

    def unwritable(self) -> str:
        """Why no file can be made there, in the system's words; empty where one can.

        It makes one without a name: rights alone do not tell of quotas, full disks and the root of NFS.
        """
        try:
            with tempfile.TemporaryFile(dir=self.existing):
                return ""
        except OSError as error:
            return error.strerror or str(error)


def place_of(path: Path, mounts: Path = MOUNTS) -> Place:
    """Where ``path`` is, or would be. Raises nothing: what cannot be looked at is unknown."""
    existing = next((folder for folder in (path, *path.parents) if _exists(folder)), Path("/"))
    real = Path(os.path.realpath(existing)) / path.relative_to(existing)
    point, kind = _mounted(real, mounts)
    temporary = next((folder for folder in TEMPORARY if real.is_relative_to(folder)), None)
    if kind in SHARED or kind.startswith("fuse."):
        seen = Seen.SHARED
    else:
        seen = Seen.LOCAL if kind in MEMORY or temporary is not None else Seen.UNKNOWN
    return Place(path, existing, kind, seen, temporary or point)


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a folder above it is closed to us
        return False


def _mounted(real: Path, mounts: Path) -> tuple[Path, str]:
    """The mount nearest above, and its type; of several mounted on one folder, the last one is seen."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    nearest, kind = Path("/"), ""
    for line in lines:  # proc_pid_mountinfo(5): "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw"
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        if real.is_relative_to(point) and len(point.parts) >= len(nearest.parts):
            nearest, kind = point, after.split(" ")[0]
    return nearest, kind
