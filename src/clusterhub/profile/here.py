"""What can be told of this machine by looking, without starting anything: its names, batch system and allocation."""

from __future__ import annotations

import fnmatch
import os
import shutil
import socket
from collections.abc import Iterable

# In this order: SLURM brings a `qsub` of its own for people who come from PBS.
_COMMANDS = {"sbatch": "SLURM", "bsub": "LSF", "oarsub": "OAR", "condor_submit": "HTCondor", "qsub": "PBS"}
BACKENDS = {"PBS": "pbs", "SLURM": "slurm"}
"""The names of backends, whether they are installed or not, by the batch system that they are for."""
_ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "OAR_JOB_ID", "_CONDOR_JOB_AD", "_CONDOR_SCRATCH_DIR")


def batch_system() -> str | None:
    """The batch system whose commands are here, as people call it, or None."""
    for command, system in _COMMANDS.items():
        if shutil.which(command) is not None:
            return "SGE" if command == "qsub" and os.environ.get("SGE_ROOT") else system
    return None


def backend() -> str | None:
    """The name of the backend for the batch system whose commands are here, or None."""
    return BACKENDS.get(batch_system() or "")


def in_allocation() -> bool:
    """Whether this process runs inside a job of a batch system."""
    if any(os.environ.get(name) for name in _ALLOCATIONS):
        return True
    # SGE's JOB_ID is too common a name to mean anything without SGE itself.
    return bool(os.environ.get("JOB_ID") and os.environ.get("SGE_ROOT"))


def host_names() -> tuple[str, ...]:
    """This host's name, in full and short."""
    full = socket.gethostname()
    return tuple(dict.fromkeys((full, full.partition(".")[0])))


def matches_here(patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names this host; none at all means everywhere."""
    wanted = [pattern.lower() for pattern in patterns]
    names = [name.lower() for name in host_names()]
    return not wanted or any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in wanted)
