"""The first config of a user: commented, fitted to this machine, and never written over another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clusterhub import registry
from clusterhub.errors import BackendUnavailable, ConfigError
from clusterhub.profile import here
from clusterhub.profile.converting import Converted
from clusterhub.profile.sources import shown_path, user_file
from clusterhub.quantities import Bytes

HERE = "here"
"""The profile of this machine."""
_OPTIONS = {
    "pbs": ("{queue: NAME, account: NAME}", "where to, and who pays; qstat -Q lists the queues"),
    "slurm": ("{partition: NAME, account: NAME}", "where to, and who pays; sinfo lists the partitions"),
}
"""The options of a backend that most people need, and what they mean."""


@dataclass(frozen=True, slots=True)
class Found:
    """What can be seen of this machine without asking anything but the file system."""

    cores: int
    memory: Bytes
    batch_system: str | None
    """As people call it."""
    in_allocation: bool
    kube_config: str | None
    """The path of a kubectl config, as people write it."""
    gateway: bool
    """Whether the dask config speaks of a gateway."""

    @classmethod
    def here(cls) -> Found:
        """What is found on this machine, now."""
        return cls(
            cores=_cores(),
            memory=_memory(),
            batch_system=here.batch_system(),
            in_allocation=here.in_allocation(),
            kube_config=_kube_config(),
            gateway=_gateway(),
        )


def starter(found: Found | None = None, converted: Sequence[Converted] = ()) -> str:
    """The text of a first config. It resolves as it is: profiles of backends that are not installed are comments.

    Where profiles are ``converted`` from the config of another tool, they stand in place of an example.
    """
    found = found or Found.here()
    sections = [_head(found)]
    if all(profile.name != HERE for profile in converted):
        sections.append(_local(found))
    sections += [profile.as_yaml() for profile in converted] or [_batch(found)]
    sections.append(_kubernetes(found))
    sections.append(_hub(found))
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def write_starter(
    path: Path | str | None = None, found: Found | None = None, converted: Sequence[Converted] = ()
) -> Path:
    """Write the first config to ``path``, by default the user's config file, readable by its owner alone.

    Never overwrites: raises ConfigError where anything is there already, or where the file cannot be made.
    """
    target = Path(path) if path is not None else user_file()
    if target is None:
        raise ConfigError.of("there is no home directory to write to; set HOME or CLUSTERHUB_CONFIG")
    origin = shown_path(target)
    text = starter(found, converted)
    try:
        # O_EXCL also refuses a link that points nowhere, so nothing is written through it.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        told = "is there already, and is left as it is; edit it, or move it away"
        if converted:
            told += "; to paste from another file: CLUSTERHUB_CONFIG=new.yaml clusterhub init --from-jobqueue"
        raise ConfigError.of(told, origin=origin) from None
    except OSError as error:
        raise ConfigError.of(f"cannot be written: {error.strerror}", origin=origin) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return target


def _head(found: Found) -> str:
    default = ""
    if found.batch_system and not found.in_allocation:
        default = f"# This looks like a {found.batch_system} login node, so nothing runs here unless it is named.\n"
    return f"""\
# The places where your Dask workers run; see them with: clusterhub profiles
#   clusterhub.connect("here", workers=4)       in Python
#   clusterhub show here                        every value, and where it was said
# Keys are merged over your site's and the built-in ones; null takes one back. All keys: clusterhub schema
{default}
# The profile that is used where none is named; of a list the first that matches this host.
# default: here

profiles:
"""


def _local(found: Found) -> str:
    workers = max(1, min(4, found.cores))
    cores = max(1, found.cores // workers)
    # Three quarters: the rest is for the notebook, the system, and everybody else.
    memory = Bytes(max(2**28, int(found.memory * 3 // 4 // workers) // 2**28 * 2**28))
    return f"""\
  {HERE}:                                  # this machine: {found.cores} cores, {found.memory.about()}
    backend: local
    description: this machine
    workers: {workers}
    worker: {{cores: {cores}, memory: {memory}}}   # of one worker
"""


def _batch(found: Found) -> str:
    system = found.batch_system or "SLURM"
    backend = here.BACKENDS.get(system)
    seen = f"{system} commands were found here" if found.batch_system else f"for a batch system: {system}"
    if backend is None:
        return f"  # {seen}; clusterhub has no backend for it yet. See: clusterhub backends\n"
    options, meaning = _OPTIONS[backend]
    text = f"""\
  batch:                                 # {seen}; see whether it fits: clusterhub check batch
    backend: {backend}
    workers: {{minimum: 0, maximum: 20}}   # a range: the cluster adapts to its load
    worker: {{cores: 4, memory: 16 GiB}}   # of one worker; a job asks for a little more, for what runs around it
    job: {{walltime: 2h}}                  # of one job; its successor comes before it ends, and short ones start sooner
    # node: {{cores: 24, memory: 120 GiB}} # what one node offers: how many workers share a job follows from it
    # environment:
    #   python: /path/to/env/bin/python  # by default the one that runs clusterhub; nodes must see it
    #   setup: [module load conda]       # lines of shell before the worker starts
    # storage: {{logs: ~/clusterhub-logs}} # a folder that nodes can write
    # {backend}: {options}{" " * max(1, 33 - len(backend) - len(options))}# {meaning}
"""
    return _live(text, backend, wanted=bool(found.batch_system))


def _kubernetes(found: Found) -> str:
    seen = f"{found.kube_config} was found" if found.kube_config else "for Kubernetes"
    text = f"""\
  cloud:                                 # {seen}
    backend: kubernetes
    workers: {{minimum: 0, maximum: 20}}
    worker: {{cores: 2, memory: 8 GiB}}    # of one worker, which has a pod of its own
    # kubernetes:                        # by default the current context, its namespace, and Dask's public image
    #   context: NAME                    # kubectl config get-contexts lists them
    #   namespace: NAME                  # where you have the rights; see whether you do: clusterhub check cloud
    #   image: registry/image:tag        # with your packages, the Python that you have here, and Dask 2026.6 or newer
"""
    return _live(text, "kubernetes", wanted=bool(found.kube_config))


def _hub(found: Found) -> str:
    seen = "your dask config names a gateway" if found.gateway else "for a Dask Gateway"
    text = f"""\
  hub:                                   # {seen}
    extends: dask                        # takes the address from the dask config (gateway.address)
    backend: gateway
"""
    return _live(text, "gateway", wanted=found.gateway)


def _live(text: str, backend: str, *, wanted: bool) -> str:
    """The profile as it is where its backend was found and is installed, else as a comment."""
    if wanted and _complete(backend):
        return text
    hint = "" if backend in registry.candidates() else f'  # needs: pip install "clusterhub[{backend}]"\n'
    return hint + "".join(f"  # {line[2:]}\n" for line in text.splitlines())


def _complete(backend: str) -> bool:
    """Whether a profile of that backend is valid without options of its own."""
    try:
        registry.backend(backend).options_type()
    except (BackendUnavailable, ValueError):
        return False
    return True


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _memory() -> Bytes:
    try:
        return Bytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        return Bytes("4 GiB")


def _kube_config() -> str | None:
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(named) if named else Path(os.path.expanduser("~/.kube/config"))  # noqa: PTH111 - never raises
    return shown_path(path) if _is_file(path) else None


def _gateway() -> bool:
    if any(name.startswith("DASK_GATEWAY__") for name in os.environ):
        return True
    folders = [os.environ.get("DASK_CONFIG", ""), os.path.expanduser("~/.config/dask"), "/etc/dask"]  # noqa: PTH111
    return any(_is_file(Path(folder) / "gateway.yaml") for folder in folders if folder)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
