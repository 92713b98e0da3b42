"""down and gc: what is ended is said, and what cannot be is a failure."""

from __future__ import annotations

import json

import pytest

from clusterhub import keeper
from clusterhub.api import attaching
from clusterhub.errors import ClusterGone, ConfigError
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store

from .attached import hub, record


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def end(name: str) -> str:
        asked.append(name)
        if name == "nope":
            raise ConfigError.of("there is no cluster of that name", path="name = 'nope'")
        if name == "far":
            raise ClusterGone("far was not ended", final=False)
        if name == "gone":
            raise ClusterGone("there is no cluster 'gone' any more")
        return f"{name} has ended"

    monkeypatch.setattr(attaching, "end", end)
    monkeypatch.setattr(keeper, "end", end, raising=False)
    return asked


def test_every_name_is_ended_whatever_becomes_of_the_others(ends: list[str]) -> None:
    result = hub("down", "nope", "eddies", "tides", "eddies")
    assert ends == ["nope", "eddies", "tides"]
    assert result.stdout == "  ✔ eddies has ended\n  ✔ tides has ended\n"
    assert result.exit_code == 2


def test_what_cannot_be_ended_is_a_failure(store: Store, ends: list[str]) -> None:
    store.claim(record("far"))
    result = hub("down", "far", "eddies")
    assert (result.exit_code, result.stdout) == (1, "  ✔ eddies has ended\n")
    assert "far was not ended" in result.stderr


def test_unreachable_is_not_ended(store: Store) -> None:
    store.claim(record(keeper=Process.this().model_copy(update={"host": "login1"})))
    result = hub("down", "eddies")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "eddies was not ended" in result.stderr
    assert "login1" in result.stderr
    assert "left alone" in hub("gc").stdout
    assert store.names() == ["eddies"]


def test_one_that_died_is_cleared_away(store: Store) -> None:
    store.claim(record(keeper=Process.this().model_copy(update={"started": "1"})))
    result = hub("down", "eddies")
    assert (result.exit_code, "eddies was dead" in result.stdout) == (0, True)
    assert store.names() == []
    again = hub("down", "eddies")
    assert (again.exit_code, "it ended at" in again.stdout) == (0, True)


def test_what_had_ended_before_is_as_it_was_wanted(ends: list[str]) -> None:
    assert hub("down", "gone").exit_code == 0


def test_all_is_asked_about_first(store: Store, eddies: Record, ends: list[str]) -> None:
    result = hub("down", "--all")
    assert (result.exit_code, result.stderr) == (2, "✘ end 1 cluster (eddies)? add --yes\n")
    assert ends == []
    assert hub("down", "--all", "--yes").exit_code == 0
    assert ends == ["eddies"]


@pytest.mark.parametrize("words", [(), ("--all", "eddies")])
def test_down_wants_names_or_all(words: tuple[str, ...], ends: list[str]) -> None:
    assert hub("down", *words).exit_code == 2
    assert ends == []


def test_gc_says_what_went_and_why(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    assert hub("gc").stdout == "nothing to remove\n"
    from clusterhub.keeper.collecting import Finding

    found = [Finding("old", "removed", "its keeper is gone", ("27.hal",)), Finding("far", "left alone", "ask there")]
    monkeypatch.setattr(keeper, "collect", lambda **options: found, raising=False)
    assert hub("gc").stdout.splitlines() == [
        "NAME  WHAT        WHY",
        "old   removed     its keeper is gone; ended: 27.hal",
        "far   left alone  ask there",
    ]
    assert json.loads(hub("gc", "--json").stdout)[0]["ended"] == ["27.hal"]
