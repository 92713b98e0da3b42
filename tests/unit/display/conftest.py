"""Reports as a batch system would give rise to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusterhub.backend import Unit, UnitState
from clusterhub.display import Report
from clusterhub.spec import Workers

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NEEDS = "needs 24 free cores, 6 are free"
PBS = "PBS: Not Running: Insufficient amount of resource: ncpus"


def pending(number: int, reason: str = NEEDS, **more: Any) -> Unit:
    more = {"source": PBS, "expected": 6, "since": NOW - timedelta(minutes=6), **more}
    return Unit(f"27[{number}]", UnitState.PENDING, reason, **more)


def connected(number: int, workers: int = 6) -> Unit:
    addresses = tuple(f"tls://10.0.0.{number}:{port}" for port in range(workers))
    since = NOW - timedelta(minutes=19)
    return Unit(f"27[{number}]", UnitState.CONNECTED, where="node-4", workers=addresses, expected=6, since=since)


def bad(number: int, state: UnitState = UnitState.FAILED, reason: str = "out of memory") -> Unit:
    return Unit(f"27[{number}]", state, reason, expected=6, since=NOW - timedelta(seconds=40))


@pytest.fixture
def report() -> Callable[..., Report]:
    def make(*units: Unit, **fields: Any) -> Report:
        given = {
            "name": "eddies",
            "profile": "hal",
            "backend": "pbs",
            "unit_noun": "job",
            "target": Workers.exactly(24),
            "connected": sum(len(unit.workers) for unit in units),
            "units": units,
            "failure": None,
            "scheduler_address": "tls://10.12.0.2:41873",
            "dashboard_link": "http://127.0.0.1:8787/status",
            "started": NOW - timedelta(minutes=20),
            "taken": NOW,
        }
        return Report(**{**given, **fields})

    return make
