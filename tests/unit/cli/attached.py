"""A cluster that lives by its record alone, and what a command says of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from click.testing import CliRunner, Result

from clusterhub.backend import CONTRACT, NoOptions, Plan, Unit, UnitState
from clusterhub.cli import clusterhub
from clusterhub.display import Report
from clusterhub.errors import Failure
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import Record
from clusterhub.keeper.wire import without_secrets
from clusterhub.spec import ClusterSpec, Workers

HOST = os.uname().nodename
PREFIX = "cfG9cMn_3qVnZxw-71ViEg"


def hub(*args: str, **options: Any) -> Result:
    return CliRunner().invoke(clusterhub, args, prog_name="clusterhub", **options)


def report(connected: int = 2, target: Workers | None = None, failure: Failure | None = None) -> Report:
    units = tuple(Unit(str(n), UnitState.CONNECTED, workers=(f"tls://{n}",)) for n in range(connected))
    wanted = target or Workers.exactly(2)
    link = f"http://127.0.0.1:8787/{PREFIX}/status"
    return Report(
        "eddies", "hal", "pbs", "job", wanted, connected, units, failure, "tls://a:1", link, datetime.now(UTC)
    )


def plan(**changes: Any) -> Plan[NoOptions]:
    return Plan(
        name="eddies", backend="local", profile="hal", spec=ClusterSpec(backend="local", workers=Workers.exactly(2)),
        options=NoOptions(), uid="a" * 32, dashboard_prefix=PREFIX, **changes,
    )  # fmt: skip


def record(name: str = "eddies", **changes: Any) -> Record:
    plain = {
        "contract": CONTRACT, "uid": "a" * 32, "name": name, "profile": "hal", "backend": "local", "state": "running",
        "named": True, "kept": True, "creator": Process.this(), "keeper": Process.this(), "address": "tls://a:1",
        "dashboard": f"http://127.0.0.1:8787/{PREFIX}/status", "created": datetime.now(UTC),
        "plan": without_secrets(plan()), "version": "0.1.0", "python": "/usr/bin/python",
    }  # fmt: skip
    return Record(**{**plain, **changes})


class Living:
    """An attached cluster."""

    name = "eddies"

    def __init__(self) -> None:
        self.reports: list[Any] = [report()]
        self.texts: Mapping[str, str] = {"0": "a worker", "scheduler": "the scheduler", "keeper": "the keeper"}
        self.told: list[Any] = []
        self.closed = False
        self.scheduler_address, self.security = "tcp://127.0.0.1:1", None
        self.waiting: Callable[[], None] = lambda: None

    def __enter__(self) -> Living:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def report(self) -> Report:
        found = self.reports[0] if len(self.reports) == 1 else self.reports.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def wait(self, n: int | None = None, **options: Any) -> None:
        self.waiting()

    def scale(self, n: int) -> None:
        self.told.append(n)
        self.reports = [report(target=Workers.exactly(n))]

    def adapt(self, minimum: int, maximum: int) -> None:
        self.told.append((minimum, maximum))
        self.reports = [report(target=Workers(minimum=minimum, maximum=maximum))]

    def units(self) -> Any:
        return self.report().units

    def logs(self, unit: str | None = None) -> Mapping[str, str]:
        return self.texts if unit is None else {unit: self.texts[unit]}
