"""The SLURM backend: its options, and its directives as sbatch(1) reads them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from clusterhub import ClusterSpec, Frozen
from clusterhub.spec import Lines
from clusterhub_backends.batch.backend import BatchBackend, Word
from clusterhub_backends.batch.jobqueue import JobqueueConfig
from clusterhub_backends.batch.queues import Wish
from clusterhub_backends.batch.script import MIB, Shape
from clusterhub_backends.slurm.driver import SlurmDriver
from clusterhub_backends.slurm.jobqueue import SlurmDialect

EXPORTED = {
    "account": "SBATCH_ACCOUNT", "partition": "SBATCH_PARTITION", "qos": "SBATCH_QOS",
    "constraint": "SBATCH_CONSTRAINT", "reservation": "SBATCH_RESERVATION",
}  # fmt: skip
"""Variables of sbatch(1) that say where jobs go, by the option that they are here."""


class SlurmOptions(Frozen):
    """What only SLURM knows, each in its native meaning."""

    partition: Annotated[Word, Field(examples=["compute"])] | None = None
    """``--partition``."""
    account: Annotated[Word, Field(examples=["ocean"])] | None = None
    """``--account``."""
    qos: Word | None = None
    """``--qos``."""
    constraint: Annotated[Word, Field(examples=["skylake&ib"])] | None = None
    """``--constraint``: features that the nodes must have."""
    gres: Annotated[Word, Field(examples=["gpu:a100:1"])] | None = None
    """``--gres`` of one job; what ``worker.gpus`` asks for is added by itself unless this says it otherwise."""
    reservation: Word | None = None
    """``--reservation``."""
    nodelist: Word | None = None
    """``--nodelist``."""
    exclude: Word | None = None
    """``--exclude``."""
    directives: Annotated[Lines, Field(examples=[["--mail-type=FAIL"]])] = ()
    """Further lines, without ``#SBATCH``."""


class SlurmBackend(JobqueueConfig, BatchBackend[SlurmOptions]):
    """Jobs of SLURM, from 20.11 on."""

    name = "slurm"
    contract = 1
    options_type = SlurmOptions
    driver = SlurmDriver()
    jobqueue = SlurmDialect()
    queue_noun = "partition"
    log_index = "%a"

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What sites have their users export for sbatch: seen in the profile, and weaker than what it says itself.

        sbatch would put these before the script's own directives, so it is run without them.
        """
        exported = {option: os.environ[name] for option, name in EXPORTED.items() if os.environ.get(name)}
        supplied = super().defaults(given)
        return {**supplied, self.name: exported} if exported else supplied

    def wish(self, options: SlurmOptions) -> Wish:
        """A list of partitions is SLURM's way to let it choose."""
        partitions = tuple(name.strip() for name in (options.partition or "").split(",") if name.strip())
        return Wish.of_us(partitions, account=options.account, qos=options.qos)

    def directives(self, spec: ClusterSpec, options: SlurmOptions, name: str, shape: Shape, log: Path) -> Iterator[str]:
        """One job on one node. Nothing of the submitter's environment is exported but what the profile says.

        Not by ``--export=NIL``: that has slurmd run a login shell for each job, one after the other on a node, and hand on what
        it sets. All that sbatch sees is exported, and it sees next to nothing (``Command.bare``).
        """
        yield f"--job-name={name}"
        for option in ("partition", "account", "qos", "constraint", "reservation", "nodelist", "exclude"):
            if (value := getattr(options, option)) is not None:
                yield f"--{option}={value}"
        yield "--nodes=1"
        yield "--ntasks=1"
        yield f"--cpus-per-task={shape.cores}"
        yield f"--mem={math.ceil(shape.memory / MIB)}M"
        if gres := options.gres or (f"gpu:{shape.gpus}" if shape.gpus else None):
            yield f"--gres={gres}"
        if spec.job.walltime is not None:
            yield f"--time={_time(spec.job.walltime)}"
        yield "--export=ALL"
        yield f"--output={_pattern(log)}"
        yield "--open-mode=append"

    keeper_directives = ("--no-requeue",)

    def keeper_options(self, options: SlurmOptions, queue: str | None) -> SlurmOptions:
        """Account, qos and the user's own lines; a reservation holds for the partition that it was made with."""
        theirs = {"partition": queue, "reservation": None} if queue is not None else {}
        hardware = dict.fromkeys(("constraint", "gres", "nodelist", "exclude"))
        return options.model_copy(update={**hardware, **theirs})

    def extra_directives(self, options: SlurmOptions) -> Iterable[str]:
        """The user's own."""
        return options.directives


def _time(seconds: float) -> str:
    """As sbatch reads it: minutes and seconds, with days and hours before."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}" if days else f"{hour:02d}:{minute:02d}:{second:02d}"


def _pattern(log: Path) -> str:
    """The path as sbatch reads patterns: only our own ``%a`` is one; blanks need quotes."""
    folder = str(log.parent).replace("%", "%%")
    path = f"{folder}/{log.name}"
    return f'"{path}"' if any(character.isspace() for character in path) else path
