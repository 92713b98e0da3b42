"""The portable vocabulary: what a person may say about a cluster, with one meaning on every backend.

The models are the single source: the schema of the config file, the reference in the docs and the errors come from them.
They are frozen, refuse unknown keys, and convert nothing silently: ``workers: "4"``, ``tls: no`` (a text in YAML 1.2) and
``memory: 16`` are refused rather than guessed at.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from clusterhub.quantities import Bytes, Duration

LARGEST_COUNT = 1_000_000
"""More workers than any machine has: above it a number is taken for a slip, not for a wish."""


class Frozen(BaseModel):
    """The base of every model of the vocabulary, and a good one for the options of a backend."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # a value may be a secret; whoever shows it decides after redaction
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The docstring under a field becomes its description; read only here, since that costs a third of our import."""
        described = handler(schema)
        properties = handler.resolve_ref_schema(described).get("properties", {})
        for name, text in field_docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return described


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings under the fields of ``model`` and of its ancestors, by field; those without one are left out."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        except (OSError, TypeError, SyntaxError):  # from a prompt, `python -c` or exec: there is no source to read
            continue
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def _lines(value: object) -> object:
    """One line stands for a list of one, so that ``setup: module load conda`` says what it seems to."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _variables(value: object) -> object:
    """Whole numbers become text, since ``OMP_NUM_THREADS: 1`` can mean only one thing."""
    if not isinstance(value, Mapping):
        return value
    for name, content in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name for a variable; use letters, digits and _")
        if isinstance(content, bool) or not isinstance(content, str | int):
            raise ValueError(f"{name} must be a text; put it in quotes")
        if "\0" in str(content):
            raise ValueError(f"{name} holds a NUL byte, which no environment can carry")
    return {name: str(content) for name, content in value.items()}


def _tls(value: object) -> object:
    if value is True or value is False or value == "auto":
        return value
    raise ValueError("write true, false or auto")


def _never(value: object) -> object:
    return value if value == "never" or value is None else Duration.parse(value)


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


Lines = Annotated[
    tuple[str, ...], BeforeValidator(_lines, json_schema_input_type=str | tuple[str, ...]), Field(strict=False)
]
Names = Lines
Cores = Annotated[float, Field(gt=0, le=LARGEST_COUNT), PlainSerializer(_number)]
Tls = Annotated[bool | Literal["auto"], BeforeValidator(_tls)]
Span = Annotated[Duration | Literal["never"], BeforeValidator(_never)]
Text = Annotated[str, Field(min_length=1)]


class Workers(Frozen):
    """How many workers are wanted: a number, which is kept, or a range, within which the cluster adapts to its load."""

    minimum: Annotated[int, Field(ge=0, le=LARGEST_COUNT, examples=[0])] = 0
    """The fewest workers to keep, also while there is nothing to do."""
    maximum: Annotated[int, Field(ge=0, le=LARGEST_COUNT, examples=[200])] = 10
    """The most workers to ask for, however much there is to do."""

    @model_validator(mode="wrap")
    @classmethod
    def _number_or_range(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, bool):
            raise ValueError("must be a number of workers, or {minimum: 0, maximum: 10}")
        if isinstance(value, int):
            if value < 0:
                raise ValueError("must be 0 or more")
            if value > LARGEST_COUNT:
                raise ValueError(f"more than any machine has; must be {LARGEST_COUNT} or fewer")
            value = {"minimum": value, "maximum": value}
        elif not isinstance(value, Mapping | cls):
            raise ValueError("must be a whole number of workers, or {minimum: 0, maximum: 10}")
        workers = handler(value)
        if workers.minimum > workers.maximum:
            raise ValueError(f"minimum {workers.minimum} is more than maximum {workers.maximum}")
        return workers

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> int | dict[str, int]:
        return handler(self) if self.adapts else self.minimum

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        ranged = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(schema, handler))
        number = {"type": "integer", "minimum": 0, "examples": [20], "title": "a number, which is kept"}
        return {"anyOf": [number, ranged], "description": cls.__doc__}

    @classmethod
    def exactly(cls, n: int) -> Workers:
        """A target of ``n`` workers."""
        return cls(minimum=n, maximum=n)

    @property
    def adapts(self) -> bool:
        """Whether the number follows the load, within the range."""
        return self.minimum != self.maximum

    def __str__(self) -> str:
        return f"{self.minimum} to {self.maximum}" if self.adapts else str(self.minimum)


class Worker(Frozen):
    """The shape of one Dask worker process, the same on every backend."""

    cores: Annotated[Cores, Field(examples=[4])] = 1
    """CPU cores the worker may use. Fractions are for Kubernetes; batch systems refuse them."""
    memory: Annotated[Bytes, Field(examples=["16 GiB"])] = Bytes("4 GiB")
    """Memory limit of this one process, in bytes. Above 95 % of it Dask restarts the worker."""
    gpus: Annotated[int, Field(ge=0, le=1024, examples=[1])] = 0
    """GPUs for this one worker alone."""
    threads: Annotated[int, Field(ge=1, le=LARGEST_COUNT, examples=[4])] | None = None
    """Tasks that the worker runs at a time; by default as many as it has cores, and at least one."""

    @property
    def nthreads(self) -> int:
        """The number of threads that follows from ``threads`` and ``cores``."""
        return self.threads or max(1, math.floor(self.cores))


class Node(Frozen):
    """What one node of a batch system offers to jobs; how many workers fit into a job follows from it."""

    cores: Annotated[int, Field(gt=0, le=LARGEST_COUNT, examples=[24])]
    """CPU cores of one node that a job may ask for."""
    memory: Annotated[Bytes, Field(examples=["120 GiB"])]
    """Memory of one node that a job may ask for, in bytes."""
    gpus: Annotated[int, Field(ge=0, le=1024, examples=[4])] = 0
    """GPUs of one node."""


class Job(Frozen):
    """One allocation of a batch system."""

    walltime: Annotated[Duration, Field(examples=["12h"])] | None = None
    """How long a job may run, in seconds; successors are asked for before it ends."""
    workers_per_job: Annotated[int, Field(ge=1, le=LARGEST_COUNT, examples=[6])] | None = None
    """Workers in one job; by default as many as fit into a node, or one where no node is described."""
    startup_timeout: Annotated[Duration, Field(examples=["3m"])] = Duration("3m")
    """How long the workers of a running job may take to connect, in seconds; then the job counts as missing."""


class Environment(Frozen):
    """What is around a worker when it starts."""

    python: Annotated[Text, Field(examples=["/softs/pangeo/bin/python"])] | None = None
    """The Python interpreter that runs the workers, by default this one. ``$VAR`` and ``~`` expand on the worker."""
    directory: Annotated[Text, Field(examples=["."])] | None = None
    """Where workers run; by default the caller's directory on batch systems. ``$VAR`` and ``~`` expand on the worker."""
    setup: Annotated[Lines, Field(examples=[["module load conda"]])] = ()
    """Lines of shell that run before the worker starts."""
    variables: Annotated[
        dict[str, str],
        BeforeValidator(_variables, json_schema_input_type=dict[str, str | int]),
        Field(examples=[{"OMP_NUM_THREADS": "1"}]),
    ] = Field(default_factory=dict, repr=False)  # their values may be secrets, and reprs end in logs
    """Environment variables of the workers."""


class Network(Frozen):
    """How scheduler, workers and client reach one another."""

    interface: Annotated[Text, Field(examples=["auto", "ib0"])] = "auto"
    """The network interface the scheduler listens on; ``auto`` finds by trial one that workers reach."""
    tls: Annotated[Tls, Field(examples=["auto", True])] = "auto"
    """Whether traffic is encrypted and authenticated; ``auto`` does so wherever it leaves this machine."""


class Storage(Frozen):
    """Where files go."""

    scratch: Annotated[Text, Field(examples=["$TMPDIR"])] | None = None
    """Where workers spill what memory cannot hold. ``$VAR`` and ``~`` expand on the worker."""
    logs: Annotated[Text, Field(examples=["~/clusterhub-logs"])] | None = None
    """Where the logs of jobs are kept. ``$VAR`` and ``~`` expand at submission."""


class KeeperJob(Frozen):
    """The job that the cluster itself lives in, with ``lifecycle.host: job``; its workers are submitted from there."""

    queue: Annotated[Text, Field(pattern=r"^[^\n\r]+$", examples=["services"])] | None = None
    """The queue of PBS, or the partition of SLURM, that it goes to; by default that of the workers."""
    walltime: Annotated[Duration, Field(examples=["2d"])] | None = None
    """How long it may run, in seconds: the cluster ends shortly before. By default ``job.walltime``, else the site's."""
    cores: Annotated[int, Field(ge=1, le=LARGEST_COUNT, examples=[1])] = 1
    """Its CPU cores: the scheduler uses one, or little more."""
    memory: Annotated[Bytes, Field(examples=["2 GiB"])] = Bytes("2 GiB")
    """Its memory, in bytes: a scheduler of a million tasks needs some GiB."""


class Lifecycle(Frozen):
    """What starts, keeps and ends a cluster."""

    host: Literal["auto", "inline", "process", "job"] = "auto"
    """Where the cluster lives: in the calling process (inline), beside it (process), or as a job of the system (job)."""
    idle_timeout: Annotated[Span, Field(examples=["1h", "never"])] = Duration("1h")
    """The cluster ends when nothing was processing for so long (seconds), whoever is connected; or ``never``."""
    max_age: Annotated[Span, Field(examples=["7d", "never"])] = Duration("7d")
    """The cluster ends at this age (seconds), whatever it does; or ``never``."""
    linger: Annotated[Duration, Field(examples=["10m"])] = Duration("10m")
    """A named cluster outlives its creator for so long (seconds), so that a restarted notebook finds it again."""
    job: KeeperJob = KeeperJob()


class Limits(Frozen):
    """What calls and patches may not exceed: a guard rail against slips, not security."""

    workers: Annotated[int, Field(ge=0, le=LARGEST_COUNT, examples=[200])] | None = None
    """The most workers that may be asked for."""
    walltime: Annotated[Duration, Field(examples=["24h"])] | None = None
    """The longest job that may be asked for, in seconds."""


class Contradiction(ValueError):
    """Values that are fine alone and impossible together; ``found`` holds each dotted key with what to do."""

    def __init__(self, found: Mapping[str, str]) -> None:
        self.found = dict(found)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.found.items()))


@dataclass(frozen=True, slots=True)
class Packing:
    """How workers fill one job: how many, and which of the node's resources decides it."""

    workers_per_job: int
    decided_by: str
    """``cores``, ``memory``, ``gpus``, ``given`` (by the profile) or ``default`` (no node is described)."""


class ClusterSpec(Frozen):
    """Everything that can be said about a cluster without naming a cluster manager's own words."""

    backend: Annotated[Text, Field(examples=["pbs", "slurm", "kubernetes", "gateway", "local"])] = "local"
    """The backend that gets the workers: a name from ``clusterhub backends``."""
    description: str | None = None
    """What ``clusterhub profiles`` says of it."""
    hosts: Annotated[Names, Field(examples=[["hal-*"]])] = ()
    """Patterns of the host names where the profile can be used; none means everywhere."""
    workers: Workers = Workers()
    """How many workers: a number, which is kept, or a range, within which the cluster adapts."""
    worker: Worker = Worker()
    node: Node | None = None
    job: Job = Job()
    environment: Environment = Environment()
    network: Network = Network()
    storage: Storage = Storage()
    lifecycle: Lifecycle = Lifecycle()
    limits: Limits = Limits()
    required: Annotated[dict[str, str], Field(examples=[{"pbs.account": "your project"}])] = Field(default_factory=dict)
    """Keys that whoever uses the profile must give, each with a hint on where to find the value."""
    support: Annotated[Text, Field(examples=["pangeo-support@example.org"])] | None = None
    """Whom to ask; printed under every failure."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if found := dict(self._contradictions()):
            raise Contradiction(found)
        return self

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if self.node is not None:
            for what in ("cores", "memory", "gpus"):
                wanted, offered = getattr(self.worker, what), getattr(self.node, what)
                if wanted > offered:
                    yield (
                        f"worker.{what}",
                        f"one worker of {wanted:g} would not fit on a node of {offered:g}"
                        if what != "memory"
                        else f"one worker of {wanted} would not fit on a node of {offered}",
                    )
            fitting = min(count for count, _ in self._fits()) if self.node else 0
            if self.job.workers_per_job is not None and 1 <= fitting < self.job.workers_per_job:
                yield "job.workers_per_job", f"only {fitting} such workers fit on a node"
        if self.limits.workers is not None:
            for end in ("maximum", "minimum"):
                asked = getattr(self.workers, end)
                # The default range is nobody's wish: the resolver lowers it to the limit.
                if asked > self.limits.workers and "workers" in self.model_fields_set:
                    yield "workers", f"{asked} is over the limit of {self.limits.workers} (limits.workers)"
                    break
        for path, asked in (
            ("job.walltime", self.job.walltime),
            ("lifecycle.job.walltime", self.lifecycle.job.walltime),
        ):
            if self.limits.walltime is not None and asked is not None and asked > self.limits.walltime:
                yield path, f"{asked} is over the limit of {self.limits.walltime} (limits.walltime)"

    @property
    def keeper_walltime(self) -> tuple[Duration | None, str]:
        """How long the keeper's own job may run, and the key that says so; None leaves it to the site."""
        own = self.lifecycle.job.walltime
        if own is None and self.job.walltime is not None:
            return self.job.walltime, "job.walltime"
        return own, "lifecycle.job.walltime"

    def _fits(self) -> Iterator[tuple[int, str]]:
        """How many workers fit on a node by each of its resources."""
        if self.node is None:
            return
        # A hair of slack: 0.1 cores fit ten times into one, whatever binary fractions say.
        yield math.floor(min(self.node.cores / self.worker.cores + 1e-9, LARGEST_COUNT)), "cores"
        yield self.node.memory // self.worker.memory, "memory"
        if self.worker.gpus:
            yield self.node.gpus // self.worker.gpus, "gpus"

    @property
    def packing(self) -> Packing:
        """How many workers share a job, and what decides that."""
        if self.job.workers_per_job is not None:
            return Packing(self.job.workers_per_job, "given")
        if self.node is None:
            return Packing(1, "default")
        return Packing(*min(self._fits(), key=lambda fit: fit[0]))
