"""`Backend`: what one cluster manager can do, and how it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal

from pydantic import BaseModel

from clusterhub.backend.deployment import Deployment
from clusterhub.backend.features import Feature, asked_features
from clusterhub.backend.plans import O, Plan
from clusterhub.backend.units import Allocation, Finding, Footprint
from clusterhub.errors import Problem, Unsupported
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec

CONTRACT = 1
"""The version of this contract. It rises when a backend written for the one before would no longer work."""


class Backend(ABC, Generic[O]):
    """What one cluster manager can do and how it is asked. Stateless: constructed without arguments, cheap, reusable."""

    name: ClassVar[str]
    """What profiles call it; equal to its entry point."""
    contract: ClassVar[int]
    """The ``CONTRACT`` that the backend was written for. It has no default, so that an old plugin is noticed."""
    features: ClassVar[frozenset[Feature]]
    """What it honours of what a spec can ask for."""
    options_type: type[O]
    """A pydantic model: the table under the backend's name in a profile."""
    unit_noun: ClassVar[str] = "unit"
    """What people call one of its units: job, pod, process."""
    remote: ClassVar[bool] = True
    """Whether workers run elsewhere, and so cost somebody something when they are forgotten."""
    home: ClassVar[Literal["inline", "process"]] = "inline"
    """Where ``lifecycle.host: auto`` puts an unnamed cluster: into the calling process, or into a keeper beside it."""
    left_open: ClassVar[frozenset[str]] = frozenset()
    """Dotted keys that its system decides where nobody says them: then they are shown as left to it, and not sent."""

    def load(self) -> None:
        """Import the native library, on the caller's thread. Raises BackendUnavailable with the line that installs it."""

    def unusable(self) -> str | None:
        """Why this backend cannot work on this machine at all, or None. Quick (milliseconds) and without the network."""
        return None

    def unconfigured(self, options: O) -> str | None:
        """Why nobody on this machine has said which system ``options`` mean, or None. Quick and without the network."""
        return None

    def allocation(self, *, with_end: bool = False) -> Allocation | None:
        """The unit of this backend's system that this process is part of, or None. Quick, and without the network, unless
        ``with_end``: then the system is asked, for a few seconds at most, when that unit has to end."""
        return None

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What this backend supplies where nobody says anything; ``given`` is what profile and call have said."""
        ends = {Feature.IDLE_TIMEOUT: "idle_timeout", Feature.MAX_AGE: "max_age"}
        lifecycle = {key: "never" for feature, key in ends.items() if feature not in self.features}
        supplied: dict[str, Any] = {"lifecycle": lifecycle} if lifecycle else {}
        return supplied if given.get("workers") is not None else {**supplied, "workers": {"minimum": 0, "maximum": 10}}

    def dask_config(self) -> Mapping[str, Any]:
        """What the user's Dask config already says of this system, in our words; a layer for ``extends: dask``.

        Any value in it may be a :class:`Said`. Raises ConfigError for what has no meaning here and would be missed.
        """
        return {}

    def dask_config_unused(self) -> Sequence[Problem]:
        """What :meth:`dask_config` leaves out since it has no effect here: each key of the Dask config, and why."""
        return ()

    def refusals(self, spec: ClusterSpec, options: O) -> Mapping[str, str]:
        """What is offered in general, but not to this spec or on this machine: dotted keys, features among them, with why."""
        return {}

    def footprint(self, spec: ClusterSpec) -> Footprint:
        """What one unit with ``spec.packing.workers_per_job`` workers asks for; quick, and without the network."""
        worker = spec.worker.memory
        return Footprint(Bytes(worker * spec.packing.workers_per_job), worker)

    def problems(self, spec: ClusterSpec, options: O) -> Iterable[Finding | str]:
        """What ``check`` finds without starting anything, in the order in which it is shown.

        A mere sentence is a warning. What asks a system may take seconds, and never longer than a time limit of its own.
        """
        return ()

    @abstractmethod
    def plan(self, name: str, spec: ClusterSpec, options: O) -> Plan[O]:
        """What would be sent for this spec. Pure: it neither writes, nor runs, nor asks anything."""

    @abstractmethod
    async def start(self, plan: Plan[O]) -> Deployment:
        """Start what was planned, with ``plan.spec.workers`` as the target, and return once a client can connect.

        It does not wait for workers. If it raises, or is cancelled, nothing that it started is left.
        """


def left_by(spec: ClusterSpec, backend: Backend[Any]) -> frozenset[str]:
    """The dotted keys that ``spec`` says nothing of, and that the system of ``backend`` decides then."""
    return frozenset(path for path in backend.left_open if not _is_said(spec, path))


def _is_said(spec: ClusterSpec, path: str) -> bool:
    model: Any = spec
    for key in path.split("."):
        if not isinstance(model, BaseModel) or key not in model.model_fields_set:
            return False
        model = getattr(model, key)
    return True


def refuse_unsupported(
    backend: Backend[Any], spec: ClusterSpec, options: BaseModel, origins: Mapping[str, str] | None = None
) -> None:
    """Raise Unsupported with everything that ``spec`` asks for and ``backend`` does not honour.

    ``origins`` tells by dotted key where each value was written.
    """
    reasons: dict[str, str] = {
        str(feature): f"{backend.name} has no such thing; leave {feature} out"
        for feature in sorted(asked_features(spec) - backend.features)
    }
    reasons |= {str(feature): reason for feature, reason in backend.refusals(spec, options).items()}
    if reasons:
        raise Unsupported(backend.name, reasons, origins=origins or {}, support=spec.support)
