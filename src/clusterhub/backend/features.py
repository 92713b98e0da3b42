"""What a spec can ask for, and which of it one does."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from clusterhub.spec import ClusterSpec


class Feature(StrEnum):
    """What a spec can ask for and a backend may not offer; the value is the key that asks for it.

    A backend lists what it honours in ``Backend.features``. Everything else that a profile or a call asks for is refused
    with a reason before anything is started, never dropped.
    """

    GPUS = "worker.gpus"
    NODE = "node"
    WALLTIME = "job.walltime"
    WORKERS_PER_JOB = "job.workers_per_job"
    STARTUP_TIMEOUT = "job.startup_timeout"
    PYTHON = "environment.python"
    DIRECTORY = "environment.directory"
    SETUP = "environment.setup"
    VARIABLES = "environment.variables"
    INTERFACE = "network.interface"
    TLS = "network.tls"
    SCRATCH = "storage.scratch"
    LOGS = "storage.logs"
    HOST = "lifecycle.host"
    IDLE_TIMEOUT = "lifecycle.idle_timeout"
    MAX_AGE = "lifecycle.max_age"
    LINGER = "lifecycle.linger"
    KEEPER_JOB = "lifecycle.job"


NEUTRAL: Mapping[Feature, object] = {Feature.IDLE_TIMEOUT: "never", Feature.MAX_AGE: "never"}
"""Where the vocabulary's default asks for something: the value that asks for nothing."""


def asked_features(spec: ClusterSpec) -> frozenset[Feature]:
    """The features that ``spec`` asks for: those whose value is not the one that asks for nothing."""
    plain = ClusterSpec()
    return frozenset(feature for feature in Feature if _at(spec, feature) != NEUTRAL.get(feature, _at(plain, feature)))


def _at(spec: ClusterSpec, path: str) -> object:
    value: object = spec
    for key in path.split("."):
        value = getattr(value, key)
    return value
