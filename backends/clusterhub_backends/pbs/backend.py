"""The PBS backend: its options, and its directives as qsub(1B) and pbs_resources(7B) read them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from clusterhub import ClusterSpec, Frozen
from clusterhub.spec import Lines
from clusterhub_backends.batch.backend import BatchBackend, Word
from clusterhub_backends.batch.jobqueue import JobqueueConfig
from clusterhub_backends.batch.queues import Wish
from clusterhub_backends.batch.script import MIB, Shape
from clusterhub_backends.pbs.driver import PbsDriver
from clusterhub_backends.pbs.jobqueue import PbsDialect

PBS_CONF = Path("/etc/pbs.conf")
"""What every host of PBS has, unless ``PBS_CONF_FILE`` names another."""


def _resources(value: object) -> object:
    """Names as PBS takes them, and values as the text that they stand for: without blanks, and ``True`` for a boolean."""
    if not isinstance(value, Mapping):
        return value
    for name, amount in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            raise ValueError(f"{name!r} is no name of a resource of PBS; write it as qstat shows it: model")
        if not isinstance(amount, int | str) or not re.fullmatch(r"[^\s:+]+", str(amount)):
            raise ValueError(f"{name} must be a text, a whole number, true or false, without blanks, : and +")
    return {name: str(amount) for name, amount in value.items()}


Resources = Annotated[
    dict[str, str],
    BeforeValidator(_resources, json_schema_input_type=dict[str, str | int | bool]),
    Field(examples=[{"model": "bro", "scratch": "10gb"}]),
]
Chunk = Annotated[str, Field(pattern=r"^[^\s+]+$", examples=["1:ncpus=1:mem=2gb:host=login-fs"])]
Chunks = Annotated[tuple[Chunk, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class PbsOptions(Frozen):
    """What only PBS knows, each in its native meaning."""

    queue: Annotated[Word, Field(examples=["qdev"])] | None = None
    """``-q``: a queue, ``queue@server``, or a reservation's queue."""
    account: Annotated[Word, Field(examples=["ocean"])] | None = None
    """``-A``."""
    project: Annotated[Word, Field(examples=["ocean"])] | None = None
    """``-P``."""
    resources: Resources = Field(default_factory=dict)
    """Further resources of the chunk that holds the workers, as in ``-l select=1:ncpus=4:…:model=bro``. ``ncpus``, ``mem`` and
    ``ngpus`` follow from the workers unless they are given here."""
    chunks: Annotated[Chunks, Field(strict=False)] = ()
    """Further chunks of the select statement, which it joins by ``+``; workers run in the first one."""
    place: Annotated[Word, Field(examples=["scatter:excl"])] | None = None
    """``-l place``."""
    live_logs: bool = True
    """Whether jobs write their logs as they go (``-k oed``), which PBS knows from 18 on; else they come at a job's end."""
    directives: Annotated[Lines, Field(examples=[["-W group_list=ocean"]])] = ()
    """Further lines, without ``#PBS``."""


class PbsBackend(JobqueueConfig, BatchBackend[PbsOptions]):
    """Jobs of PBS Professional or OpenPBS, from 14 on."""

    name = "pbs"
    contract = 1
    options_type = PbsOptions
    driver = PbsDriver()
    jobqueue = PbsDialect()
    log_index = "^array_index^"

    def unusable(self) -> str | None:
        """Why there is no PBS here: Grid Engine's commands have the same names."""
        if os.environ.get("SGE_ROOT") and not (os.environ.get("PBS_CONF_FILE") or PBS_CONF.exists()):
            return "qsub, qstat and qdel are Grid Engine's here (SGE_ROOT is set): no login node of PBS"
        return super().unusable()

    def wish(self, options: PbsOptions) -> Wish:
        """The resources of its chunk say which nodes it can be on."""
        queues = (options.queue,) if options.queue is not None else ()
        return Wish.of_us(queues, account=options.account, resources=options.resources)

    def directives(self, spec: ClusterSpec, options: PbsOptions, name: str, shape: Shape, log: Path) -> Iterator[str]:
        """One chunk on one node for all workers of a job. PBS exports nothing of the submitter's unless it is told to."""
        yield f"-N {name}"
        for flag, value in (("-q", options.queue), ("-A", options.account), ("-P", options.project)):
            if value is not None:
                yield f"{flag} {value}"
        yield f"-l select={'+'.join([_chunk(options, shape), *options.chunks])}"
        if options.place is not None:
            yield f"-l place={options.place}"
        if spec.job.walltime is not None:
            yield f"-l walltime={_time(spec.job.walltime)}"
        yield "-S /bin/bash"  # whatever the login shell is
        yield "-j oe"
        if options.live_logs:
            yield "-k oed"
        yield f"-o {_quoted(str(log))}"
        if not any(line.strip().startswith("-m") for line in options.directives):
            yield "-m n"  # by default it writes a letter for every job that is ended, and we end many

    keeper_directives = ("-r n",)

    def keeper_options(self, options: PbsOptions, queue: str | None) -> PbsOptions:
        """Account, project and the user's own lines."""
        hardware: dict[str, Any] = {"resources": {}, "chunks": (), "place": None}
        return options.model_copy(update={**hardware, "queue": queue or options.queue})

    def extra_directives(self, options: PbsOptions) -> Iterable[str]:
        """The user's own."""
        return options.directives


def _chunk(options: PbsOptions, shape: Shape) -> str:
    asked = {"ncpus": str(shape.cores), "mem": f"{math.ceil(shape.memory / MIB)}mb"}
    if shape.gpus:
        asked["ngpus"] = str(shape.gpus)
    return ":".join(["1", *(f"{name}={amount}" for name, amount in (asked | options.resources).items())])


def _time(seconds: float) -> str:
    """As PBS reads it: hours may be more than a day."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}"


def _quoted(path: str) -> str:
    return f'"{path}"' if any(character.isspace() for character in path) else path
