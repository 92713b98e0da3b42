"""What ``check`` looks at on this host for a batch system: Python, folders, addresses, keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clusterhub import ClusterhubError, ClusterSpec, Finding
from clusterhub.keeper.records import Store
from clusterhub.profile import here
from clusterhub.versions import differences
from clusterhub.versions import here as versions_here
from clusterhub_backends.batch.addresses import interfaces_here, named_addresses_here
from clusterhub_backends.batch.interpreters import Interpreter, expanded_here, interpreter_here
from clusterhub_backends.batch.places import Place, Seen, place_of

TRY = "clusterhub check --start tells"
TEMPORARY = "of which every host has its own"


@dataclass(frozen=True)
class Surroundings:
    """Looks at this host for one profile. It starts one process, the workers' Python, and writes nothing."""

    spec: ClusterSpec
    logs: Path
    """The folder of all logs, expanded."""

    def findings(self) -> Iterator[Finding]:
        """Everything, in the order in which it is told."""
        yield from self._python()
        yield from self._directory()
        yield self._log_folder()
        yield from self._scratch()
        yield self._state_folder()
        yield from self._encryption()
        yield self._addresses()
        if here.in_allocation() and self.spec.lifecycle.host == "process":
            text = "this is inside a job, with which a keeper beside us ends; leave lifecycle.host auto, or write job"
            yield Finding("warn", "this host", text, "lifecycle.host")

    # Python

    def _python(self) -> Iterator[Finding]:
        said = self.spec.environment.python or "python3"
        key, path = "environment.python", expanded_here(said, self.spec)
        setup = "after its setup lines, " if self.spec.environment.setup else ""
        if path is None:
            yield Finding("ok", "python", f"{said}, which expands on the node, {setup}and was not looked at here")
            return
        python = interpreter_here(path, self.spec)
        if not python.path:
            where = "is found on the node" if setup and "/" not in path else "is not on this host"
            text = f"{said} {where}; whether nodes have it, {setup}{TRY}"
            yield Finding("warn", "python", text, key)
        elif not python.versions:
            text = (
                f"{said} does not run on this host{f' without its setup lines; {TRY}' if setup else ''}\n{python.words}"
            )
            yield Finding("warn" if setup else "fail", "python", text, key)
        else:
            yield self._versions(said, python)

    def _versions(self, said: str, python: Interpreter) -> Finding:
        theirs, ours, key = python.versions, versions_here(), "environment.python"
        setup = bool(self.spec.environment.setup)
        missing = [name for name in ("dask", "distributed") if not theirs.get(name)]
        head = f"{said} {theirs['python']}"
        if missing:
            remedy = "install them there, in the versions that you have here, or name another python"
            text = f"{head} has no {' and no '.join(missing)}; {remedy}"
            return Finding("warn" if setup else "fail", "python", text, key)
        if not python.ssl and self.spec.network.tls is not False:
            text = f"{head} cannot speak TLS (it has no ssl); name another python, or set network.tls: false"
            return Finding("fail", "python", text, key)
        alike = place_of(Path(python.path)).seen is Seen.SHARED
        head = f"{head}, dask {theirs['dask']} (here: {ours['dask']}){'' if alike else '; that is this host, nodes may differ'}"
        if different := differences(ours, theirs, where="there"):
            return Finding("warn", "python", f"{head}\n{different}; install the same in both", key)
        return Finding("ok", "python", head)

    # Folders

    def _directory(self) -> Iterator[Finding]:
        """Only where there is something to say: most directories are a home's."""
        said = self.spec.environment.directory
        path = expanded_here(said, self.spec) if said is not None else None
        if path is None or not Path(path).is_absolute():
            return
        place, key = place_of(Path(path)), "environment.directory"
        if place.existing != place.path:
            yield Finding("warn", "directory", f"{said} is not on this host; whether nodes have it, {TRY}", key)
        elif place.seen is Seen.LOCAL:
            text = f"{said} is in {_kind(place)}, {TEMPORARY}: workers may not find it; name one that nodes see"
            yield Finding("warn", "directory", text, key)

    def _log_folder(self) -> Finding:
        place, key = place_of(self.logs), "storage.logs"
        shown = _home(self.logs)
        if wrong := _unwritable(place):
            return Finding(
                "fail", "log folder", f"{shown} {wrong}; name a folder that this host and the nodes can write", key
            )
        if place.seen is Seen.LOCAL:
            text = f"{shown} is in {_kind(place)}, {TEMPORARY}: logs stay on the nodes, or jobs fail; name one that nodes see"
            return Finding("warn", "log folder", text, key)
        return Finding("ok", "log folder", f"{shown} writable{_doubt(place)}")

    def _scratch(self) -> Iterator[Finding]:
        said, key = self.spec.storage.scratch, "storage.scratch"
        if said is None:
            return
        path = expanded_here(said, self.spec)
        if path is None or not Path(path).is_absolute():
            yield Finding("ok", "scratch", f"{said}, which expands on the node, and was not looked at here")
            return
        place = place_of(Path(path))
        wrong = _unwritable(place)
        if wrong and place.seen is Seen.SHARED:
            yield Finding("fail", "scratch", f"{said} {wrong}; name a folder that jobs may write to, as $TMPDIR", key)
        elif wrong:
            yield Finding("warn", "scratch", f"{said} {wrong} on this host; whether on nodes, {TRY}", key)
        else:
            yield Finding("ok", "scratch", f"{said} writable on this host; nodes have their own, or the same")

    def _state_folder(self) -> Finding:
        elsewhere = "set CLUSTERHUB_STATE to a folder of your own that nodes see"
        try:
            place = place_of(Store.here().root)
        except ClusterhubError as error:
            return Finding("fail", "state folder", str(error))
        shown = _home(place.path)
        if wrong := _unwritable(place):
            return Finding("fail", "state folder", f"{shown} {wrong}; {elsewhere}")
        if place.seen is Seen.LOCAL and self.spec.network.tls is not False:
            return Finding(
                "warn", "state folder", f"{shown} is in {_kind(place)}, {TEMPORARY}: workers need its keys; {elsewhere}"
            )
        return Finding("ok", "state folder", f"{shown} writable{_doubt(place)}")

    # Network

    def _encryption(self) -> Iterator[Finding]:
        key = "network.tls"
        if self.spec.network.tls is False:
            text = "off: whoever reaches the scheduler's port can read your data, and run programs as you"
            yield Finding("warn", "encryption", text, key)
            return
        try:
            yield Finding(
                "ok", "encryption", f"TLS, with keys of each cluster's own (cryptography {version('cryptography')})"
            )
        except PackageNotFoundError:
            backend = self.spec.backend
            text = f'keys are made with cryptography, which is not installed: pip install "clusterhub[{backend}]"'
            yield Finding("fail", "encryption", text, key)

    def _addresses(self) -> Finding:
        title, key, asked = "scheduler address", "network.interface", self.spec.network.interface
        if asked != "auto":
            up = dict(interfaces_here())
            if asked not in up:
                text = f"there is no interface {asked} here that is up; there are {', '.join(up)}"
                return Finding("fail", title, text, key)
            found = {up[asked]: asked}
        else:
            found = named_addresses_here()
        shown = ", ".join(f"{address} ({name})" for address, name in found.items())
        if all(address.startswith("127.") for address in found):
            return Finding(
                "warn", title, f"{shown}, which no other host reaches; name an interface that nodes reach", key
            )
        if len(found) > 1:
            text = (
                f"{len(found)} candidates: {shown}\njobs take the first that answers them; network.interface names one"
            )
            return Finding("warn", title, text)
        return Finding("ok", title, shown)


def _unwritable(place: Place) -> str:
    """``cannot be written (/softs: Permission denied)``; empty where it can."""
    if not (words := place.unwritable()):
        return ""
    return f"cannot be written ({words if place.existing == place.path else f'{place.existing}: {words}'})"


def _kind(place: Place) -> str:
    """``/tmp (tmpfs)``."""
    return f"{place.holder} ({place.kind})" if place.kind else str(place.holder)


def _doubt(place: Place) -> str:
    """What is known of a file system that is neither surely shared nor surely not."""
    if place.seen is Seen.SHARED:
        return f" ({place.kind})"
    return f" (on {place.kind}: nodes see it only if this host shares it)" if place.kind else ""


def _home(path: Path) -> str:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
