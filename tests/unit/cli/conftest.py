"""Stand-ins for the rooms below the command line: what it says, takes and returns is tested here, not what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clusterhub.api.checking import CheckReport
from clusterhub.backend import Document, Finding, NoOptions, Plan
from clusterhub.cli import clusterhub, watching
from clusterhub.display import Report
from clusterhub.errors import ConfigError, Problem
from clusterhub.keeper.record import Record, Status
from clusterhub.keeper.records import Store
from clusterhub.spec import ClusterSpec, Job, Node, Worker, Workers
from clusterhub_backends.pbs import PbsBackend

from .attached import Living, record

HAL = ClusterSpec(
    backend="pbs",
    description="CNES HAL, PBS Pro",
    workers=Workers(minimum=0, maximum=200),
    worker=Worker(cores=4, memory="60 GiB"),
    node=Node(cores=24, memory="120 GiB"),
    job=Job(walltime="12h"),
)


def info(name: str, here: str = "ready", **more: Any) -> SimpleNamespace:
    fields = {"backend": "pbs", "description": None, "origin": "~/.clusterhub.yaml:3", "is_default": False}
    return SimpleNamespace(name=name, here=here, **{**fields, **more})


class Known(list[SimpleNamespace]):
    """Profiles, and what is wrong with their files."""

    problems: tuple[Problem, ...] = ()


class Profiles(ModuleType):
    """``clusterhub.profile``, and what it was asked."""

    def __init__(self) -> None:
        super().__init__("clusterhub.profile")
        self.known = [info("hal"), info("laptop", backend="local", is_default=True)]
        self.spec = HAL
        self.problems: tuple[Problem, ...] = ()
        self.asked: list[Mapping[str, Any]] = []

    def profiles(self) -> list[SimpleNamespace]:
        found = Known(self.known)
        found.problems = self.problems
        return found

    def parse_set(self, sets: Sequence[str]) -> dict[str, Any]:
        return dict(item.split("=", 1) for item in sets)  # type: ignore[misc]

    def resolve(self, profile: str, overrides: Mapping[str, Any], **options: Any) -> SimpleNamespace:
        if profile not in [known.name for known in self.known]:
            raise ConfigError.of("no such profile; did you mean hal?", origin="call", path=profile)
        self.asked.append(overrides)
        leaves = [
            SimpleNamespace(path="backend", text="pbs", origin="f:1", is_default=False),
            SimpleNamespace(path="worker.memory", text="60 GiB", origin="~/.clusterhub.yaml:8", is_default=False),
            SimpleNamespace(path="network.tls", text="true", origin="default", is_default=True),
            SimpleNamespace(path="storage.logs", text="null", origin="default", is_default=True),
        ]
        return SimpleNamespace(
            profile=profile,
            backend=PbsBackend(),
            spec=self.spec,
            leaves=lambda: leaves,
            as_yaml=lambda: "hal:\n  backend: pbs\n",
            unused=(),
        )

    def schema(self) -> dict[str, Any]:
        return {"title": "clusterhub"}

    def write_starter(self) -> Path:
        return Path("~/.clusterhub.yaml").expanduser()


class Cluster:
    """A cluster that exists in name only."""

    name, profile = "hal-1", "hal"

    def __init__(self, minimum: int = 1, address: str = "tcp://127.0.0.1:1", security: Any = None) -> None:
        self.minimum, self.scheduler_address, self.security = minimum, address, security
        self.waited: list[int] = []
        self.closed = False
        self.ending: Callable[[], object] = lambda: None

    def wait(self, n: int) -> None:
        self.waited.append(n)

    def report(self) -> Report:
        target = Workers(minimum=self.minimum, maximum=10)
        now = datetime.now(UTC)
        return Report("hal-1", "hal", "pbs", "job", target, 1, (), None, self.scheduler_address, "", now)

    def get_client(self) -> SimpleNamespace:
        return SimpleNamespace(close=lambda: None)


class Api(ModuleType):
    """``clusterhub.api``, and what it was asked."""

    def __init__(self) -> None:
        super().__init__("clusterhub.api")
        self.cluster = Cluster()
        self.steps = [("ok", "config", "2 files, no problem"), ("ok", "queue", "enabled")]
        self.asked: list[tuple[str | None, Mapping[str, Any]]] = []
        self.error: BaseException | None = None

    @contextmanager
    def connect(self, profile: str | None = None, **overrides: Any) -> Iterator[Cluster]:
        self.asked.append((profile, overrides))
        if self.error:
            raise self.error
        try:
            yield self.cluster
        finally:
            self.cluster.ending()
            self.cluster.closed = True

    def plan(self, profile: str, **overrides: Any) -> Plan[NoOptions]:
        self.asked.append((profile, overrides))
        document = Document(title="job script", text="#!/usr/bin/env bash\n#PBS -N hal\n", language="bash")
        return Plan(
            name="hal", backend="pbs", spec=HAL, options=NoOptions(), summary="34 jobs of 6", documents=(document,)
        )

    def check(
        self,
        profile: str,
        *,
        start: bool = False,
        on_step: Callable[..., None] | None = None,
        on_news: Callable[[str], None] | None = None,
        **overrides: Any,
    ) -> CheckReport:
        self.asked.append((profile, overrides | {"start": start}))
        steps = [Finding(*step) for step in self.steps]  # type: ignore[arg-type]
        if on_news and start:
            on_news("job 27.hal is pending: needs 24 free cores, 6 are free")
        for step in steps:
            if on_step:
                on_step(step)
        return CheckReport(profile, "pbs", tuple(steps))


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTERHUB_DEBUG", raising=False)


@pytest.fixture
def profile_room(monkeypatch: pytest.MonkeyPatch) -> Profiles:
    room = Profiles()
    monkeypatch.setitem(sys.modules, "clusterhub.profile", room)
    return room


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, profile_room: Profiles) -> Api:
    room = Api()
    monkeypatch.setitem(sys.modules, "clusterhub.api", room)
    return room


@pytest.fixture
def hub(profile_room: Profiles) -> Callable[..., Result]:
    """Runs a command line; its result has exit_code, stdout and stderr."""

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(clusterhub, args, prog_name="clusterhub")

    return invoke


@pytest.fixture
def store(home: Path) -> Store:
    return Store.here()


@pytest.fixture
def eddies(store: Store) -> Record:
    """A cluster that is written down, and that this process seems to keep."""
    found = record()
    store.claim(found)
    now = datetime.now(UTC)
    status = Status(
        taken=now, target=(2, 2), asked=2, connected=1, pending=1, failed=0, idle_since=now - timedelta(minutes=3),
        ends=now + timedelta(minutes=57, seconds=30), headline="", kept=True,
    )  # fmt: skip
    store.write_status(found.uid, found.name, status)
    return found


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> Living:
    import clusterhub.api

    cluster = Living()
    monkeypatch.setattr(clusterhub.api, "attach", lambda name, hold=False: cluster)
    monkeypatch.setattr(clusterhub.api.attaching, "located", lambda name: None)
    monkeypatch.setattr(watching, "EVERY", 0.0)
    return cluster


def config_error(*problems: Problem) -> ConfigError:
    return ConfigError(problems, subject="profile hal")
