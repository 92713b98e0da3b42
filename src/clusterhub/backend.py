"""The contract between the hub and a backend: what a backend promises, and the words in which it tells what it sees.

A backend is two things. A :class:`Backend` is stateless and mostly pure: it turns a spec into a :class:`Plan` (what would
be sent) and starts plans. A :class:`Deployment` is one living cluster: it keeps the target it was last told, and tells
the truth about its units. ``clusterhub.native.NativeDeployment`` is a ready-made one for any object of Dask's own
cluster interface; ``clusterhub.testing`` holds the suite that a backend passes to be called one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, Field, JsonValue, SerializeAsAny

from clusterhub.errors import Failure, Problem, Unsupported
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec, Frozen, Workers
from clusterhub.tls import TlsFiles

if TYPE_CHECKING:
    from distributed import Scheduler, Security

CONTRACT = 1
"""The version of this contract. It rises when a backend written for the one before would no longer work."""


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


class UnitState(StrEnum):
    """Where a unit stands: ``SUBMITTING → PENDING → RUNNING → CONNECTED → DONE``, or one of three bad ends."""

    SUBMITTING = "submitting"
    """On its way to the system, or waiting for a place in a full queue."""
    PENDING = "pending"
    """The system knows it and has not started it."""
    RUNNING = "running"
    """The system runs it; its workers have not all connected yet, and it is too early to worry."""
    CONNECTED = "connected"
    """All its workers are connected to the scheduler."""
    DONE = "done"
    """Ended as it was meant to."""
    FAILED = "failed"
    """Ended badly before it was of use."""
    MISSING = "missing"
    """The system says that it runs, or that it ended well, but its workers never came."""
    LOST = "lost"
    """Was connected, and is gone without having been told to go."""


NEEDS_REASON = frozenset({UnitState.PENDING, UnitState.FAILED, UnitState.MISSING, UnitState.LOST})
ALIVE = frozenset({UnitState.SUBMITTING, UnitState.PENDING, UnitState.RUNNING, UnitState.CONNECTED})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a backend launches (a job, a pod, a process), as last observed.

    Raises ValueError for a state that needs a reason and has none: a person is never told "pending" without a why.
    """

    name: str
    """The system's own name for it: a job's id, a pod's name."""
    state: UnitState
    reason: str = ""
    """Why it is in this state, in our words: ``needs 24 free cores, 6 are free``."""
    source: str = ""
    """The system's own words for the same."""
    since: datetime = field(default_factory=_now)
    """When it came into this state, as far as is known; with a time zone."""
    where: str = ""
    """The node or host it runs on, empty before."""
    workers: tuple[str, ...] = ()
    """Addresses of its workers that are connected now."""
    expected: int = 1
    """How many workers it brings when all have come."""
    starts: datetime | None = None
    """When the system expects to start it, where it says so; with a time zone."""
    failure: Failure | None = None
    """The evidence, for a unit that ended badly."""

    def __post_init__(self) -> None:
        if self.state in NEEDS_REASON and not self.reason:
            raise ValueError(f"unit {self.name} is {self.state} without a reason")


Mark = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``check`` looked at: whether it is well, and what was seen.

    Raises ValueError for a finding that says nothing.
    """

    mark: Mark
    """``ok``; ``warn`` for what may disappoint; ``fail`` for what keeps workers from starting."""
    title: str
    """What was looked at, in a word or two: ``queue qdev``, ``log folder``."""
    text: str
    """What was seen, and, where it is not well, what to do about it."""
    because: str = ""
    """The key of a profile that decides it, as ``job.walltime``. Where that was written is added by the hub."""

    def __post_init__(self) -> None:
        if not (self.title and self.text):
            raise ValueError(f"a finding needs a title and a text: {self}")


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory of one unit: what is asked for, and what of it each worker gets."""

    memory: Bytes
    """Bytes that one unit asks its system for: those of its workers, and of what runs around them."""
    worker_memory: Bytes
    """Bytes that each worker may use. Less than was asked for where the unit fills its node."""


class Document(Frozen):
    """One thing that would be sent: a job script, a manifest, a request."""

    title: str
    """``job script``, ``DaskCluster manifest``."""
    text: str
    """Exactly as it would be sent, except that secrets are hidden."""
    language: str = ""
    """What highlights it: ``bash``, ``yaml``, ``json``."""


O = TypeVar("O", bound=BaseModel)  # noqa: E741 - the options of one backend; the name the docs use


class NoOptions(Frozen):
    """For a backend that has no options of its own."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a resolved profile."""

    path: str
    """The dotted key: ``worker.memory``, ``pbs.queue``."""
    text: str
    """The value as one would write it, except that secrets are hidden."""
    origin: str
    """``~/.clusterhub.yaml:9``, ``call``, ``backend local``, ``default``."""
    is_default: bool
    """Whether nobody said it: the vocabulary or the backend supplies it."""
    left: bool = False
    """Whether it is left to the system to decide: then ``text`` says so, and there is no value."""


class Plan(Frozen, Generic[O]):
    """What a cluster will be, decided before anything is sent; it is plain data and crosses processes as JSON.

    A backend fills in what it would send. Who asked for it, under which profile, is added by the hub.
    """

    name: str
    backend: str
    spec: ClusterSpec
    options: SerializeAsAny[O]
    summary: str = ""
    documents: tuple[Document, ...] = ()
    profile: str = ""
    """The profile that was asked for; empty where none was."""
    unit_noun: str = "unit"
    """What people call one of its units."""
    values: tuple[Leaf, ...] = ()
    """Every value of the profile with the place it was said, secrets hidden."""
    uid: str = ""
    """Unique among all clusters of all times: what their jobs are named by."""
    named: bool = False
    """Whether a person chose its name: then it outlives its creator by ``lifecycle.linger``, to be found again."""
    kept: bool = False
    """Whether it is to outlive its creator for good."""
    tls: TlsFiles | None = None
    """The keys to use, where the hub has made some: the backend uses these and makes none of its own."""
    dashboard_prefix: str = Field(default="", repr=False)
    """Where not empty: the secret path below which the scheduler serves its dashboard, as its ``http_prefix``."""


class Ref(Frozen):
    """All that is needed to find a living cluster again; holds no secret and serialises to JSON."""

    backend: str
    name: str
    data: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allocation:
    """A unit of a backend's own system that this process is part of, and ends with: a notebook that is a job itself."""

    name: str
    """What people call it: ``PBS job 81``."""
    unit: str
    """The system's own name for it."""
    ends: datetime | None = None
    """When the system will end it, where that was asked for and is known; with a time zone."""


class Deployment(Protocol):
    """One living cluster. Every coroutine runs on the loop it was started on; none blocks it.

    The deployment keeps its target by itself: after :meth:`scale` or :meth:`adapt` returns, lost workers are replaced and
    failed starts tried again, until it is told otherwise or gives up and says why in :meth:`failure`.
    """

    @property
    def native(self) -> Any:
        """The native manager's object, or None where there is none; the way out, and no part of the guarantees."""

    @property
    def ref(self) -> Ref:
        """Where to find it again."""

    @property
    def scheduler_address(self) -> str:
        """The address that clients connect to; known as soon as the deployment exists."""

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in, or None for an open scheduler."""

    @property
    def dashboard_link(self) -> str:
        """A link to the dashboard that works from here, or an empty text."""

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target and stop adapting. Returns once the target is set, not once it is reached.

        Going down loses no result: whole units are drained first, and what cannot go is told in :meth:`units`.
        """

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load between ``minimum`` and ``maximum`` workers."""

    async def units(self) -> Sequence[Unit]:
        """Every living unit, and those that ended badly and were not yet made good."""

    async def failure(self) -> Failure | None:
        """Why nothing more is launched, or None while the target is still being worked on."""

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The logs by name: of the scheduler and every unit, or of one unit. KeyError for an unknown one."""

    async def close(self, *, shutdown: bool = True) -> None:
        """End everything that this deployment started; with ``shutdown=False`` only let go of it. Idempotent."""


@runtime_checkable
class HostsScheduler(Deployment, Protocol):
    """A deployment whose scheduler runs in the process that started it. A backend that offers ``Feature.HOST`` starts such
    ones: their cluster can then live in a keeper, which answers through that scheduler."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler itself."""


@runtime_checkable
class Remarks(Protocol):
    """A deployment that has more to tell than the states of its units."""

    async def remarks(self) -> Sequence[str]:
        """What whoever looks at the cluster should know, a sentence each: ``task x is longer than any job``."""


@runtime_checkable
class Standalone(Deployment, Protocol):
    """A deployment that does not live in the process that uses it, and so can be kept, let go of and found again."""

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from; an attached facade has no other source."""

    @property
    def target(self) -> Workers:
        """How many workers were asked for last, as far as known here."""

    @property
    def started(self) -> datetime:
        """When it was started; with a time zone."""

    @property
    def named(self) -> bool:
        """Whether somebody chose its name: then it outlives its creators for a while, to be found again."""

    @property
    def kept(self) -> bool:
        """Whether it outlives its creators for good."""

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """What ``units`` and ``failure`` say, of one moment; refreshes :attr:`target` and :attr:`kept`."""

    async def keep(self) -> None:
        """From now on it ends only when it is told to, or by its idle timeout or age."""

    async def release(self) -> bool:
        """This process needs it no more: it ends, unless it is kept or other processes hold it.

        Returns whether it ended, and when all of it has.
        """


@dataclass(frozen=True, slots=True)
class Said:
    """A value, and the place where it was said: ``~/.config/dask/jobqueue.yaml:9``."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the config of another tool comes to in our words, and what of it does not come along."""

    source: str
    """Where it stands: ``~/.config/dask/jobqueue.yaml``."""
    profile: Mapping[str, Any]
    """The profile; any value in it may be a :class:`Said`. Empty where the other config says nothing."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By dotted key of the profile: how its value follows from what was said, where it is not the same."""
    lost: tuple[Problem, ...] = ()
    """What was asked for and cannot be had here, each with the other tool's key and a reason."""
    unused: tuple[Problem, ...] = ()
    """What has no effect here, or happens by itself, each with the other tool's key and a reason."""


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


@dataclass(frozen=True, slots=True)
class Sighting:
    """A living cluster, as its own system tells of it to whoever lists clusters or looks for one."""

    ref: Ref
    """Where to find it; ``ref.name`` is what people call it, the system's own name where nobody chose one."""
    state: Literal["starting", "running", "ending"] = "running"
    reason: str = ""
    """What its owner should know of it: ``made without clusterhub``."""
    profile: str = ""
    """The profile that it was asked for under; empty where that is not known."""
    kept: bool = False
    target: Workers | None = None
    """How many workers were asked for last, where that is known."""
    connected: int | None = None
    """Workers that are connected now, where that is known."""
    created: datetime | None = None
    """With a time zone."""
    where: str = ""
    """The host or service that it lives on."""
    own_name: str = ""
    """What its system itself calls it, where that is not ``ref.name``: it is found by either."""


@runtime_checkable
class Holdable(Standalone, Protocol):
    """A deployment that whoever attached to it can hold, as its creator does: it does not end for want of others then."""

    async def hold(self) -> None:
        """From now on this process holds it, until it releases it, lets go of it, or ends."""


@runtime_checkable
class SupportsAttach(Protocol):
    """A backend whose clusters live elsewhere, in a system that knows of them: they outlive the process that made them.

    It starts :class:`Standalone` deployments, and honours ``Plan.named`` and ``Plan.kept``. ``options`` say which system is
    asked, and as whom.
    """

    async def attach(self, ref: Ref, options: Any) -> Standalone:
        """The living cluster behind ``ref``; raises ClusterGone where there is none."""

    async def discover(self, options: Any) -> Sequence[Sighting]:
        """The clusters of this user that are alive, whoever made them. Raises ClusterhubError where that cannot be told."""


@runtime_checkable
class SupportsEnd(Protocol):
    """A backend that can end a cluster which nobody can attach to yet, or any more: that only starts, or does not answer."""

    async def end(self, ref: Ref, options: Any) -> None:
        """End the cluster behind ``ref``, and return when all of it has ended. Idempotent."""


@runtime_checkable
class SupportsCleanup(Protocol):
    """A backend whose units can outlive a keeper that was killed."""

    async def clean_up(self, ref: Ref, uid: str) -> Sequence[str]:
        """End what is left of the cluster of that uid, and nothing else; the names of the units that were ended."""


@runtime_checkable
class TakesJobqueue(Protocol):
    """A backend for a system that dask-jobqueue serves as well: it reads the sections of ``jobqueue`` in the Dask config."""

    def claims(self, section: str) -> bool | None:
        """Whether the section is for this system; None where it does not tell."""

    def from_jobqueue(self, section: str) -> Conversion:
        """The section in our words. Raises ConfigError with every value that cannot be meant, each with its key."""


@dataclass(frozen=True, slots=True)
class KeeperCommand:
    """What starts a keeper on a node, in the working directory of whoever wants the cluster."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it needs, and nothing secret: scripts can be read by others."""


@runtime_checkable
class SubmitsKeeper(SupportsCleanup, Protocol):
    """A backend whose system can run a cluster's keeper as a unit of its own, for ``lifecycle.host: job``.

    That unit is found by the cluster's uid, by any process and from any host, as ``clean_up`` finds the others: so it is
    never submitted twice, and one that nobody waits for any more can be ended. ``unit`` is the system's name for it, where
    that is known: the quicker way to the same.
    """

    def keeper_document(self, plan: Plan[Any], command: KeeperCommand) -> Document:
        """What would be sent to start ``command``, exactly. Pure."""

    async def submit_keeper(self, plan: Plan[Any], command: KeeperCommand) -> str:
        """Send it, and return the system's name for the unit. One whose answer was lost is found, and not sent again.

        Raises SubmitRejected with the key that decides it, QueueFull, and ClusterhubError where it is not known whether the
        system took it.
        """

    async def keeper_unit(self, plan: Plan[Any], unit: str = "") -> Unit | None:
        """The unit as the system tells of it now, with ``failure`` where it has ended; None where it knows no such unit.

        Raises ClusterhubError where the system does not answer.
        """

    async def end_keeper(self, plan: Plan[Any], unit: str = "") -> None:
        """Have the system end it, softly, as whoever cancels a unit by hand does. Idempotent. Raises as :meth:`keeper_unit`."""

    def addresses(self, address: str) -> Sequence[str]:
        """The addresses of this host at which others may reach what listens at ``address``, the likeliest first."""


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
