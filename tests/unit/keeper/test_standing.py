"""How a cluster fares: what its keeper's life and its heartbeat tell."""

from __future__ import annotations

import errno
import os
import time
from typing import Any

import pytest

from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.record import BEAT, Record
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, judged, standing

from .writing import ENDED, FAR, UID, failing, record, status


def test_the_heartbeat_is_told_by_the_file_systems_clock_and_not_by_ours(
    store: Store, eddies: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.heartbeat_age("eddies") is None
    store.write_status(UID, "eddies", status())
    path = store.folder("eddies") / "status.json"
    written = path.stat().st_mtime
    os.utime(path, (written - 3600, written - 3600))
    monkeypatch.setattr(time, "time", lambda: written + 10 * 365 * 86400)
    age = store.heartbeat_age("eddies")
    assert age is not None
    assert 3600 <= age < 7200
    os.utime(path, (written + 3600, written + 3600))  # the server's clock was set back
    assert store.heartbeat_age("eddies") == 0.0
    assert not list(store.root.glob(".clock-*"))


def test_where_the_time_cannot_be_asked_no_age_is_invented(store: Store, eddies: Record) -> None:
    store.write_status(UID, "eddies", status())
    with failing("open", errno.EROFS):
        assert store.heartbeat_age("eddies") is None


@pytest.mark.parametrize(
    ("facts", "life", "beat", "condition", "words"),
    [
        ({}, Life.ALIVE, None, Condition.LIVING, "its keeper, process 123 on hal-login1, lives"),
        ({}, Life.STOPPED, 0.0, Condition.STOPPED, "is stopped; it goes on after: kill -CONT 123"),
        ({}, Life.DEAD, 0.0, Condition.DEAD, "its keeper, process 123 on hal-login1, is gone"),
        ({}, Life.UNKNOWN, 3 * BEAT - 1, Condition.LIVING, "heard of 44s ago from hal-login1"),
        ({}, Life.UNKNOWN, 3 * BEAT, Condition.UNKNOWN, "not heard of for 45s; it lives or lived on hal-login1"),
        (
            {},
            Life.UNKNOWN,
            10800.0,
            Condition.UNKNOWN,
            "not heard of for 3h; it lives or lived on hal-login1, ask there",
        ),
        ({}, Life.UNKNOWN, None, Condition.UNKNOWN, "never heard of; it lives or lived on hal-login1, ask there"),
        ({"keeper": None, "state": "starting"}, Life.ALIVE, None, Condition.STARTING, "which was starting it, lives"),
        ({"keeper": None, "state": "starting"}, Life.DEAD, None, Condition.DEAD, "which was starting it, is gone"),
        ({"keeper": None, "state": "starting"}, Life.UNKNOWN, None, Condition.UNKNOWN, "ask there"),
        ({"end": ENDED}, Life.ALIVE, 0.0, Condition.DEAD, "it ended: idle for 1h"),
    ],
)
def test_how_a_cluster_fares_follows_from_its_keepers_life_and_its_heartbeat(
    facts: dict[str, Any], life: Life, beat: float | None, condition: Condition, words: str
) -> None:
    found = judged(record(**facts), life, beat)
    assert found.condition is condition
    assert words in found.reason


def test_unreachable_is_not_dead(store: Store) -> None:
    elsewhere = record(keeper=FAR)
    store.claim(elsewhere)
    assert standing(elsewhere, store).condition is Condition.UNKNOWN
    store.write_status(UID, "eddies", status())
    assert standing(elsewhere, store).condition is Condition.LIVING


def test_a_keeper_that_is_gone_here_is_dead_however_fresh_its_last_words(store: Store) -> None:
    gone = record(keeper=Process.this().model_copy(update={"started": "1"}))
    store.claim(gone)
    store.write_status(UID, "eddies", status())
    assert standing(gone, store).condition is Condition.DEAD


def test_a_reboot_is_not_believed_of_a_cluster_that_still_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = record(keeper=FAR)
    store.claim(twin)
    monkeypatch.setattr(Process, "life", lambda self: Life.DEAD)
    assert standing(twin, store).condition is Condition.DEAD
    store.write_status(UID, "eddies", status())
    assert standing(twin, store).condition is Condition.LIVING
