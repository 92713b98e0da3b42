"""This machine, through ``distributed.LocalCluster``."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from clusterhub import (
    BackendUnavailable,
    Bytes,
    ClusterSpec,
    Deployment,
    Document,
    Feature,
    Frozen,
    Plan,
)
from clusterhub.backend import Backend
from clusterhub.spec import LARGEST_COUNT, Lines, Workers

if TYPE_CHECKING:
    from distributed import LocalCluster, Security

DASHBOARD_PORT = 8787

IGNORE_INTERRUPTS = "import signal\ndef dask_setup(worker):\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run by each worker process: Ctrl-C on a terminal, and a notebook's interrupt, reach the whole process group, and workers
that died of it would take their results with them."""


class LocalOptions(Frozen):
    """What only LocalCluster knows."""

    processes: bool = True
    """Each worker in a process of its own; false runs them as threads of this process (no copies, one GIL, one memory)."""
    preload: Annotated[Lines, Field(examples=[["dask_cuda.initialize"]])] = ()
    """Modules or scripts that each worker imports before it starts."""
    dashboard: bool = True
    """Whether the scheduler serves a dashboard, on loopback at port 8787 or the next free one."""


class LocalBackend(Backend[LocalOptions]):
    """Workers on this machine."""

    name = "local"
    contract = 1
    options_type = LocalOptions
    unit_noun = "process"
    remote = False
    features = frozenset(
        {
            Feature.GPUS,
            Feature.VARIABLES,
            Feature.INTERFACE,
            Feature.TLS,
            Feature.SCRATCH,
            Feature.IDLE_TIMEOUT,
            Feature.MAX_AGE,
            Feature.HOST,
            Feature.LINGER,
        }
    )

    def load(self) -> None:
        """Import distributed. Raises BackendUnavailable where that is broken."""
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise BackendUnavailable(f"distributed cannot be imported: {error}; pip install distributed") from error

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What LocalCluster would take: all cores and all memory that this process may use, shared among its workers."""
        workers, cores = _split(given)
        if given.get("workers") is None:
            workers = min(workers, _that_fit(given.get("worker")))
        shape = {"cores": cores, "memory": str(_share_of_memory(workers))}
        supplied: dict[str, Any] = {"worker": shape}
        if not _in_keeper(given):
            # It ends with its process, and whoever has that before their eyes needs no second end.
            supplied["lifecycle"] = {"idle_timeout": "never", "max_age": "never"}
        return supplied if given.get("workers") is not None else {**supplied, "workers": workers}

    def refusals(self, spec: ClusterSpec, options: LocalOptions) -> Mapping[str, str]:
        """What this machine has not got."""
        reasons: dict[str, str] = {}
        if too_much := _too_much_memory(spec):
            reasons["worker.memory"] = too_much
        gpus, visible = spec.worker.gpus * spec.workers.maximum, visible_gpus()
        if gpus > len(visible):
            reasons[Feature.GPUS] = (
                f"{spec.workers.maximum} workers need {gpus} GPUs, this machine shows {len(visible) or 'none'}"
            )
        elif spec.worker.gpus and not options.processes:
            reasons[Feature.GPUS] = "threads of one process share its GPUs; set local.processes: true"
        if spec.environment.variables and not options.processes:
            reasons[Feature.VARIABLES] = "threads share this process's environment; set local.processes: true"
        if spec.lifecycle.host == "job":
            reasons[Feature.HOST] = "there is no batch system to run in; write process, or leave it auto"
        if spec.network.tls is True and not _can_encrypt():
            reasons[Feature.TLS] = "keys are made with cryptography; pip install cryptography"
        if spec.network.interface not in ("auto", *_interfaces()):
            reasons[Feature.INTERFACE] = (
                f"there is no interface {spec.network.interface!r} here; there are {', '.join(_interfaces())}"
            )
        return reasons

    def problems(self, spec: ClusterSpec, options: LocalOptions) -> Iterable[str]:
        """What would make a start fail, or disappoint."""
        threads = spec.worker.nthreads * spec.workers.maximum
        if threads > 2 * cores_here():
            yield f"{threads} threads share {cores_here()} cores; ask for fewer workers or worker.cores"
        if spec.storage.scratch and not os.access(_expanded(spec.storage.scratch), os.W_OK):
            yield f"storage.scratch {spec.storage.scratch} is not writable; name a folder that is"

    def plan(self, name: str, spec: ClusterSpec, options: LocalOptions) -> Plan[LocalOptions]:
        """The call of LocalCluster that will be made."""
        arguments = _shown(spec, options)
        call = "LocalCluster(\n" + "".join(f"    {key}={value!r},\n" for key, value in arguments.items()) + ")\n"
        noun = "processes" if options.processes else "threads of this process"
        cores = f"{spec.worker.cores:g} core{'s' if spec.worker.cores != 1 else ''}"
        return Plan(
            name=name,
            backend=self.name,
            spec=spec,
            options=options,
            summary=f"workers as {noun}: {spec.workers}, of {cores} and {spec.worker.memory} each",
            documents=(Document(title="call", text=call, language="python"),),
        )

    async def start(self, plan: Plan[LocalOptions]) -> Deployment:
        """Start LocalCluster; it returns once its first workers are there, or raises WorkersFailed."""
        # Late: its control loop needs asyncio, and whoever lists the backends should not wait for that.
        from clusterhub import NativeDeployment

        return await NativeDeployment.of(_cluster(plan), plan)


def _in_keeper(given: Mapping[str, Any]) -> bool:
    lifecycle = given.get("lifecycle")
    return isinstance(lifecycle, Mapping) and lifecycle.get("host") == "process"


def _cluster(plan: Plan[LocalOptions]) -> LocalCluster:
    from distributed import LocalCluster

    from clusterhub.parts import scheduler_class
    from clusterhub_backends._local_gpus import GpuCluster

    spec, options = plan.spec, plan.options
    exposed = spec.network.interface != "auto"
    arguments: dict[str, Any] = {
        "n_workers": spec.workers.minimum,
        "threads_per_worker": spec.worker.nthreads,
        "memory_limit": int(spec.worker.memory),
        "processes": options.processes,
        "asynchronous": True,
        "name": plan.name,
        "security": plan.tls.security() if plan.tls is not None else _security(spec, exposed),
        # A keeper is reached from other processes only; by default threads of one process talk within it.
        "protocol": f"{'tls' if plan.tls is not None else 'tcp'}://" if spec.lifecycle.host == "process" else None,
        "interface": spec.network.interface if exposed else None,
        "dashboard_address": _dashboard_address() if options.dashboard else "127.0.0.1:0",
        # Without a dashboard the scheduler still serves its metrics: not on the port that others' dashboards want.
        "scheduler_kwargs": {"dashboard": options.dashboard},
    }
    if spec.storage.scratch:
        arguments["local_directory"] = _expanded(spec.storage.scratch)
    arguments["preload"] = [*options.preload, *([IGNORE_INTERRUPTS] if options.processes else [])]
    if spec.environment.variables:
        arguments["env"] = dict(spec.environment.variables)
    gpus = spec.worker.gpus
    cluster = GpuCluster(visible_gpus(), gpus, **arguments) if gpus else LocalCluster(**arguments)
    cluster.scheduler_spec["cls"] = scheduler_class(plan)
    return cluster


def _shown(spec: ClusterSpec, options: LocalOptions) -> dict[str, Any]:
    """The arguments that a reader of the plan wants to know; variables by name only, since values may be secrets."""
    shown: dict[str, Any] = {
        "n_workers": spec.workers.minimum,
        "threads_per_worker": spec.worker.nthreads,
        "memory_limit": str(spec.worker.memory),
        "processes": options.processes,
    }
    extras = {
        "local_directory": spec.storage.scratch,
        "interface": None if spec.network.interface == "auto" else spec.network.interface,
        "preload": list(options.preload),
        "env": sorted(spec.environment.variables),
    }
    return shown | {key: value for key, value in extras.items() if value}


def _security(spec: ClusterSpec, exposed: bool) -> Security | None:
    """Temporary keys, held in memory, where traffic is encrypted: when asked, and when it leaves loopback."""
    from distributed import Security

    wanted = exposed if spec.network.tls == "auto" else spec.network.tls
    if not wanted:
        return None
    if not _can_encrypt():
        raise BackendUnavailable(
            f"the scheduler would listen on {spec.network.interface} unencrypted: pip install cryptography,"
            " or accept that with network.tls: false"
        )
    return Security.temporary()


def _can_encrypt() -> bool:
    from importlib.util import find_spec

    return find_spec("cryptography") is not None


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _expanded(path: str) -> str:
    return os.path.expandvars(Path(path).expanduser())


def _dashboard_address() -> str:
    """On loopback alone: dashboards have no authentication. The usual port if it is free, since people know it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DASHBOARD_PORT))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{DASHBOARD_PORT}"


# What this machine has, as far as this process may use it


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip() not in ("", "-1"))
    devices = sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return tuple(name for name in devices if name.isdigit())


def cores_here() -> int:
    """Cores within our affinity, our cgroup, and the allocation of a batch system around us."""
    from dask.system import CPU_COUNT

    allotted = [os.environ.get(name, "") for name in ("SLURM_CPUS_ON_NODE", "NCPUS")]
    return int(min([CPU_COUNT, *(int(cores) for cores in allotted if cores.isdigit() and int(cores) > 0)]))


def memory_here() -> int:
    """Bytes of memory within our cgroup and the allocation of a batch system around us."""
    from distributed.system import MEMORY_LIMIT

    # In MiB, by sbatch(1), "OUTPUT ENVIRONMENT VARIABLES".
    allotted = os.environ.get("SLURM_MEM_PER_NODE", "")
    return min(MEMORY_LIMIT, int(allotted) * 2**20) if allotted.isdigit() and int(allotted) > 0 else int(MEMORY_LIMIT)


def _split(given: Mapping[str, Any]) -> tuple[int, int]:
    """How many workers of how many cores, from what is given of the two and the cores that are here."""
    from distributed.deploy.utils import nprocesses_nthreads

    total = cores_here()
    shape = given.get("worker")
    cores = shape.get("cores") if isinstance(shape, Mapping) else None
    workers = _largest(given.get("workers"))
    if workers is not None:
        return workers, math.ceil(total / max(1, workers))
    options = given.get("local")
    if isinstance(options, Mapping) and options.get("processes") is False:
        return 1, total
    if isinstance(cores, int | float) and cores > 0:
        return max(1, int(total // cores)), total
    processes, threads = nprocesses_nthreads(total)
    return processes, threads


def _largest(workers: object) -> int | None:
    """The most workers that ``workers`` asks for, or None where it is not there or is no such thing."""
    value = workers
    if isinstance(workers, Mapping):
        value = workers.get("maximum")
        value = Workers().maximum if value is None else value
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**6 else None


def _that_fit(shape: object) -> int:
    """How many workers of a memory that was asked for this machine holds, and at least one; else very many."""
    try:
        return max(1, memory_here() // Bytes.parse(shape.get("memory") if isinstance(shape, Mapping) else None))
    except ValueError:  # nobody asked, or for what the validation will refuse
        return LARGEST_COUNT


def _too_much_memory(spec: ClusterSpec) -> str | None:
    """Why this machine's memory does not suffice, or None. Beyond it the system kills processes, and not only ours."""
    one, here = spec.worker.memory, memory_here()
    if one > here:
        return f"one worker of {one} is more than the {Bytes(here).about()} that this machine has"
    if (total := spec.workers.maximum * one) > here:
        return (
            f"{spec.workers.maximum} workers of {one} need {Bytes(total).about()}, this machine has"
            f" {Bytes(here).about()}; {here // one} would fit"
        )
    return None


def _share_of_memory(workers: int) -> Bytes:
    """An equal share of the memory, in whole MiB."""
    return Bytes(max(1, memory_here() // max(1, workers) // 2**20) * 2**20)
