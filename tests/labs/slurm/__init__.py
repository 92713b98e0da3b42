"""The lab from Python: for tests and benchmarks that need a real SLURM, brought up for them and gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(__file__).parent / "lab"
PATIENCE = 120.0
"""Seconds in which it comes up, and goes."""


ACCOUNTING = "--accounting"
"""The option of its command with which it comes up with accounting."""


def missing(*options: str) -> str | None:
    """Why there can be no SLURM here, with ``options`` of its command, or None."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    needed = [
        "slurmctld",
        "slurmd",
        "munged",
        "ip",
        "nsenter",
        *(("slurmdbd", "mariadbd") if ACCOUNTING in options else ()),
    ]
    lacking = [command for command in needed if shutil.which(command) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


@dataclass(frozen=True)
class Lab:
    """One that is up."""

    folder: Path
    environment: dict[str, str]
    """For its command, and for what runs on its login host."""

    def entering(self, *argv: str) -> list[str]:
        """The command that runs ``argv`` on its login host."""
        return [str(COMMAND), "enter", *argv]


@contextmanager
def standing(name: str, *options: str, **sizes: int) -> Iterator[Lab]:
    """A lab of its own, with ``options`` of its command; ``sizes`` are ``NODES``, and ``CPUS`` and ``MEMORY`` of each.

    Below /tmp, as sockets need it.
    """
    folder = Path("/tmp") / f"{name}-{os.getpid()}"
    folder.mkdir(mode=0o755)  # the nodes' munge has to pass
    environment = {**os.environ, **{size: str(n) for size, n in sizes.items()}, "CLUSTERHUB_SLURM_LAB": str(folder)}
    try:
        subprocess.run([str(COMMAND), "up", *options], env=environment, check=True, timeout=PATIENCE)
        yield Lab(folder, environment)
    finally:
        subprocess.run([str(COMMAND), "down"], env=environment, check=False, timeout=PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)
