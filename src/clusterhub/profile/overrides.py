"""What a call may say, as types: editors complete it, type checkers check it. A test holds it equal to the models.

Values are typed as people write them: memory and durations as text, lists as any sequence. ``None`` takes back what the
profile says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class WorkersOverrides(TypedDict, total=False):
    """A range, within which the cluster adapts to its load."""

    minimum: int | None
    maximum: int | None


class WorkerOverrides(TypedDict, total=False):
    """The shape of one Dask worker process."""

    cores: float | None
    memory: str | None
    gpus: int | None
    threads: int | None


class NodeOverrides(TypedDict, total=False):
    """What one node of a batch system offers to jobs."""

    cores: int | None
    memory: str | None
    gpus: int | None


class JobOverrides(TypedDict, total=False):
    """One allocation of a batch system."""

    walltime: str | None
    workers_per_job: int | None
    startup_timeout: str | None


class EnvironmentOverrides(TypedDict, total=False):
    """What is around a worker when it starts."""

    python: str | None
    directory: str | None
    setup: str | Sequence[str] | None
    variables: Mapping[str, str | int] | None


class NetworkOverrides(TypedDict, total=False):
    """How scheduler, workers and client reach one another."""

    interface: str | None
    tls: bool | Literal["auto"] | None


class StorageOverrides(TypedDict, total=False):
    """Where files go."""

    scratch: str | None
    logs: str | None


class KeeperJobOverrides(TypedDict, total=False):
    """The job that the cluster itself lives in."""

    queue: str | None
    walltime: str | None
    cores: int | None
    memory: str | None


class LifecycleOverrides(TypedDict, total=False):
    """What starts, keeps and ends a cluster."""

    host: Literal["auto", "inline", "process", "job"] | None
    idle_timeout: str | None
    max_age: str | None
    linger: str | None
    job: KeeperJobOverrides | None


class LimitsOverrides(TypedDict, total=False):
    """Tighter limits than the profile's; a call cannot raise them."""

    workers: int | None
    walltime: str | None


class Overrides(TypedDict, total=False):
    """Everything that ``connect`` takes besides the profile: the keys of a profile, and the tables of backends.

    The options of backends that are not named here are given through a profile, a ``ClusterSpec`` or ``--set``.
    """

    backend: str
    description: str | None
    hosts: str | Sequence[str] | None
    workers: int | WorkersOverrides | None
    worker: WorkerOverrides | None
    node: NodeOverrides | None
    job: JobOverrides | None
    environment: EnvironmentOverrides | None
    network: NetworkOverrides | None
    storage: StorageOverrides | None
    lifecycle: LifecycleOverrides | None
    limits: LimitsOverrides | None
    required: Mapping[str, str] | None
    support: str | None
    local: Mapping[str, Any] | None
    pbs: Mapping[str, Any] | None
    slurm: Mapping[str, Any] | None
    kubernetes: Mapping[str, Any] | None
    gateway: Mapping[str, Any] | None
