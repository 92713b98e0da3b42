"""The lab as tests use it: a server that is started, stopped, killed and looked at from outside."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labs.gateway import certificate, processes
from labs.gateway.processes import MARK, Found

HERE = Path(__file__).parent
TESTS = HERE.parent.parent
PASSWORD_VARIABLE = "GATEWAY_PASSWORD"
"""Where a client finds the password, in :meth:`Gateway.environment`."""
HOST = "127.0.0.1"
_UP, _DOWN = 90.0, 90.0  # seconds; a cluster whose processes hang takes the server 13 of them
_ANSWER = 60.0  # seconds in which it answers, on a machine that has stopped it for a while as well
_PORTS = range(20_000, 30_000)  # systems take those of outgoing connections from above: a restart finds its own free


class LabError(RuntimeError):
    """The lab could not do what was asked for; says why, with the end of the server's log."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a server is, for all its lives. Kept in ``lab.json``."""

    database: str = "memory"
    """``memory``: clusters end with the server. ``sqlite``: they outlive it."""
    options: str = "site"
    """The cluster options that it offers: a name in config.py."""
    tls: bool = False
    max_workers: int = 8
    heartbeat: int = 15
    """Seconds between a scheduler's words to the server, which takes it for dead after twice as many."""
    password: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(12))
    key: str = dataclasses.field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    """What the database is encrypted with."""
    public: int = dataclasses.field(default_factory=lambda: free_port())
    private: int = dataclasses.field(default_factory=lambda: free_port())


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind((HOST, port))
            return port
    raise LabError(f"no free port in {_PORTS}")


class Gateway:
    """A dask-gateway server in a folder, with its proxy, and clusters whose processes run beside it.

    ``said`` are :class:`Settings`. ``watched``: it ends, with all clusters, when this process does, also when that is
    killed; otherwise only by :meth:`stop`. A folder in which there is a lab already is that lab.
    """

    def __init__(self, folder: Path, *, watched: bool = True, **said: Any) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.folder.stat().st_uid != os.geteuid():
            raise LabError(f"{self.folder} belongs to somebody else, and passwords are kept there: take another folder")
        self._kept = self.folder / "lab.json"
        self._watched = watched
        self._watch: subprocess.Popen[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        if self._kept.exists():
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            self.settings = Settings(**kept)
            if changed := {name for name, value in said.items() if kept[name] != value}:
                raise LabError(
                    f"the lab in {self.folder} has another {', '.join(sorted(changed))}: take another folder"
                )
        else:
            self.settings = Settings(**said)
            self._kept.touch(mode=0o600)
            self._kept.write_text(json.dumps(dataclasses.asdict(self.settings), indent=1), encoding="utf-8")

    # What a client needs

    @property
    def address(self) -> str:
        """Where clients find the API; on the same port is the proxy of the schedulers."""
        return f"{'https' if self.settings.tls else 'http'}://{HOST}:{self.settings.public}"

    @property
    def password(self) -> str:
        """Of every user: any name is one."""
        return self.settings.password

    @property
    def certificate(self) -> Path:
        """What the server shows with ``tls``, signed by itself."""
        return self.folder / "cert.pem"

    def table(self, user: str = "ann") -> dict[str, Any]:
        """The options ``gateway`` of a profile; the password is where :meth:`environment` has it."""
        auth = {"type": "basic", "username": user, "password_variable": PASSWORD_VARIABLE}
        return {"address": self.address, "auth": auth}

    def environment(self, *, trusted: bool = True) -> dict[str, str]:
        """The variables of a client: the password, and with ``tls`` whom to trust, unless not ``trusted``."""
        found = {PASSWORD_VARIABLE: self.password}
        return found | ({"SSL_CERT_FILE": str(self.certificate)} if self.settings.tls and trusted else {})

    def clusters(self, user: str = "ann", patience: float = _ANSWER) -> list[str]:
        """The names of the clusters that the server holds as pending or running for a user."""
        login = base64.b64encode(f"{user}:{self.password}".encode()).decode()
        return list(self._ask("/api/v1/clusters/", {"Authorization": f"Basic {login}"}, patience))

    def _ask(self, path: str, headers: dict[str, str] | None = None, patience: float = _ANSWER) -> Any:
        trust = ssl.create_default_context(cafile=str(self.certificate)) if self.settings.tls else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if trust:
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        request = urllib.request.Request(self.address + path, headers=headers or {})
        with urllib.request.build_opener(*handlers).open(request, timeout=patience) as answer:
            return json.loads(answer.read())

    # Its life

    def start(self) -> None:
        """Start the server, again with its ports and its database, and return once it answers.

        Raises LabError, with the end of its log, where it does not come; then nothing of it is left.
        """
        if self.server():
            raise LabError(f"the server in {self.folder} is up already")
        if self._watched and self._watch is None:
            self._watch = self._start_watch()
        if self.settings.tls and not self.certificate.exists():
            certificate.write(self.certificate, self.folder / "key.pem")
        (self.folder / "home").mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "dask_gateway_server", "-f", str(HERE / "config.py")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
                env=self._server_environment(),
            )  # fmt: skip
        deadline = time.monotonic() + _UP
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                processes.sweep(self.folder)
                self._reap()
                raise LabError(f"the gateway did not start; its log {self.log} ends\n{self._tail()}")
            time.sleep(0.05)
        if not self._watched:
            self._child.returncode = 0  # it is meant to outlive us
            self._child = None

    def stop(self) -> None:
        """End it in an orderly way, and then whatever is left of its clusters.

        Raises LabError where it had to be killed; nothing is left then either.
        """
        try:
            self._end()
        finally:
            processes.sweep(self.folder)
            self._reap()
            if self._watch is not None:
                self._watch.kill()
                self._watch.wait()
                self._watch = None

    def kill(self) -> None:
        """Kill the server, as a crash would: its proxy goes with it, schedulers and workers stay."""
        for one in self._of_server():
            if not one.says("-is-child-process"):
                os.kill(one.pid, signal.SIGKILL)
        self._reap()
        self._until(lambda: not self._of_server(), "its proxy does not go")

    def restart(self) -> None:
        """End the server alone, unless it is gone already, and start it again."""
        self._end()
        self.start()

    def forget(self) -> None:
        """Remove what a folder keeps of it, but for its log. The next lab there is another one."""
        for name in ("lab.json", "gateway.sqlite", "cert.pem", "key.pem"):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("clusters", "home"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The server takes what is sent to it, and answers nobody meanwhile."""
        pid = self.server()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
                os.kill(pid, signal.SIGCONT)

    def _end(self) -> None:
        if (pid := self.server()) is not None:
            os.kill(pid, signal.SIGTERM)
            self._until(lambda: not self._of_server(), "it does not end")
        self._reap()

    def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _DOWN
        while not holds():
            if time.monotonic() > deadline:
                processes.kill(self._of_server())
                raise LabError(f"{otherwise}; its log {self.log} ends\n{self._tail()}")
            if self._child is not None:
                self._child.poll()
            time.sleep(0.02)

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait(_DOWN)
            self._child = None

    def _answers(self) -> bool:
        try:
            healthy = self._ask("/api/health")["status"] == "pass"
        except (OSError, ValueError):  # nobody listens, or its proxy does not know yet whom to ask
            return False
        # Had somebody else taken the port, it would be somebody else's server that answers.
        return healthy and any(one.says("-is-child-process") for one in self._of_server())

    def _start_watch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "labs.gateway.watch", str(os.getpid()), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, cwd="/",
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )  # fmt: skip

    def _server_environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("DASK_", "CLUSTERHUB_"))}
        said = self.settings
        return ours | {
            MARK: str(self.folder),
            "HOME": str(self.folder / "home"),
            "DASK_GATEWAY_ENCRYPT_KEYS": said.key,
            "GATEWAY_LAB_PUBLIC": f"{HOST}:{said.public}",
            "GATEWAY_LAB_PRIVATE": f"{HOST}:{said.private}",
            "GATEWAY_LAB_PASSWORD": said.password,
            "GATEWAY_LAB_DATABASE": said.database,
            "GATEWAY_LAB_OPTIONS": said.options,
            "GATEWAY_LAB_TLS": "1" if said.tls else "",
            "GATEWAY_LAB_MAX_WORKERS": str(said.max_workers),
            "GATEWAY_LAB_HEARTBEAT": str(said.heartbeat),
        }

    # Looked at from outside

    @property
    def log(self) -> Path:
        """What the server and its proxy said, in all their lives."""
        return self.folder / "server.log"

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])

    def processes(self) -> list[Found]:
        """All its living processes."""
        return list(processes.of(self.folder))

    def _of_server(self) -> list[Found]:
        return [one for one in self.processes() if not one.cluster]

    def server(self) -> int | None:
        """The pid of the server, or None while there is none."""
        return next((one.pid for one in self._of_server() if one.says("dask_gateway_server")), None)

    def scheduler(self, cluster: str) -> int | None:
        """The pid of a cluster's scheduler, or None while there is none."""
        found = (one for one in self.processes() if one.cluster == cluster and one.says("dask", "scheduler"))
        return next((one.pid for one in found), None)

    def workers(self, cluster: str) -> dict[str, list[int]]:
        """The workers of a cluster by name, as they are started, each with its pids: the nanny first, then those below it."""
        found = [one for one in self.processes() if one.cluster == cluster and one.says("--name")]
        return {one.command[one.command.index("--name") + 1]: processes.tree(one.process) for one in found}

    def kill_scheduler(self, cluster: str) -> None:
        """Kill a cluster's scheduler."""
        pid = self.scheduler(cluster)
        assert pid is not None, f"{cluster} has no scheduler"
        os.kill(pid, signal.SIGKILL)

    def kill_worker(self, cluster: str, worker: str | None = None) -> str:
        """Kill a worker, one of them unless it is named, with its nanny; return its name."""
        workers = self.workers(cluster)
        assert workers, f"{cluster} has no workers"
        name = worker or next(iter(workers))
        for pid in workers[name]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return name
