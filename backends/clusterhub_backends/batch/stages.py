"""The stages of a job before its worker runs, each with an exit code of its own: what a log cannot tell in time, this does.

Logs come late over NFS, and PBS may deliver them only at the end; the exit code is in the batch system's record at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """The exit code of a job whose script gave up at that stage. Above the shell's own small ones, below 126."""

    DIRECTORY = 80
    SETUP = 81
    SCRATCH = 82
    PYTHON = 83
    MODULE = 84
    KEYS = 85
    ADDRESS = 86
    WATCHDOG = 87
    LOGS = 88


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a stage's failure means, which key of a profile decides it, and what to do."""

    summary: str
    because: str
    next_step: str


MEANINGS = {
    Stage.DIRECTORY: Meaning(
        "the directory they run in cannot be entered on the node",
        "environment.directory",
        "name one that all nodes see",
    ),
    Stage.SETUP: Meaning(
        "a line of their setup failed",
        "environment.setup",
        "run the lines on a node by hand; the log has what the failing one said",
    ),
    Stage.SCRATCH: Meaning(
        "their scratch folder cannot be written on the node",
        "storage.scratch",
        "name one that jobs may write to, as $TMPDIR",
    ),
    Stage.PYTHON: Meaning("their python does not exist", "environment.python", "correct it"),
    Stage.MODULE: Meaning(
        "their python has no dask and distributed",
        "environment.python",
        "install dask and distributed there, in the versions that you have here, or name another python",
    ),
    Stage.KEYS: Meaning(
        "the keys of the cluster cannot be read on the node",
        "network.tls",
        "set CLUSTERHUB_STATE to a folder that the nodes see",
    ),
    Stage.ADDRESS: Meaning(
        "no address of the scheduler can be reached from the node",
        "network.interface",
        "name the interface that nodes reach; where nothing reaches this login node, use lifecycle.host: job",
    ),
    Stage.LOGS: Meaning(
        "the folder of their logs cannot be written on the node",
        "storage.logs",
        "name one that the nodes see, and that you may write to",
    ),
    Stage.WATCHDOG: Meaning(
        "the scheduler did not answer for minutes, so the job ended itself",
        "",
        "see clusterhub ls, and keeper.log",
    ),
}
