"""``gc`` and orphans elsewhere: what its system proves that nobody needs is ended, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from simulated_queue import SimulatedBackend, system
from simulated_queue.system import LIVING

import clusterhub
from clusterhub.cli import clusterhub as command
from clusterhub.errors import ClusterGone, ClusterhubError

from .conftest import connect, living

PROOF = "process 7 on there, which made it, is gone"


def hub(*args: str) -> Result:
    return CliRunner().invoke(command, args, prog_name="clusterhub")


@pytest.fixture
def eddies(sites):
    """A kept cluster on profile near."""
    connect("near", name="eddies", keep=True).close()
    (cluster,) = LIVING.values()
    return cluster


def proven(monkeypatch, state: str = "starting") -> None:
    """The system proves of every cluster that it is an orphan."""
    discover = SimulatedBackend.discover

    async def told(self, options):
        return [replace(sighting, state=state, orphaned=PROOF) for sighting in await discover(self, options)]

    monkeypatch.setattr(SimulatedBackend, "discover", told)


def ends(monkeypatch, outcome: bool | Exception = True) -> None:
    async def end_orphan(self: Any, ref: Any, options: Any) -> bool:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome:
            await system.asked(system.ended(LIVING[ref.data["id"]]))
        return outcome

    monkeypatch.setattr(SimulatedBackend, "end_orphan", end_orphan, raising=False)


def test_an_orphan_is_ended_and_the_proof_is_told(eddies, monkeypatch):
    proven(monkeypatch)
    ends(monkeypatch)
    (would,) = json.loads(hub("gc", "--dry-run", "--json").stdout)
    assert would == {
        "name": "eddies", "verdict": "would be removed", "reason": f"on near (site near): {PROOF}", "ended": []
    }  # fmt: skip
    assert living() == ["eddies"]
    told = hub("gc")
    assert told.exit_code == 0
    assert PROOF in told.stdout
    assert living() == []
    assert hub("gc").stdout == "nothing to remove\n"


def test_one_that_is_no_orphan_any_more_is_left_alone_and_not_mentioned(eddies, monkeypatch):
    proven(monkeypatch)
    ends(monkeypatch, False)
    assert hub("gc").stdout == "nothing to remove\n"
    assert living() == ["eddies"]


def test_one_that_cannot_be_ended_is_told_with_why(eddies, monkeypatch):
    proven(monkeypatch)
    ends(monkeypatch, ClusterhubError("its pods do not end"))
    told = hub("gc")
    assert told.exit_code == 1
    assert "what it left cannot be removed: its pods do not end" in told.stdout


def test_what_lives_elsewhere_is_never_ended_without_proof(eddies, monkeypatch):
    ends(monkeypatch)
    assert hub("gc").stdout == "nothing to remove\n"
    assert living() == ["eddies"]


def test_a_system_that_does_not_answer_is_named(sites, monkeypatch):
    async def discover(self, options):
        raise ConnectionError("no route")

    monkeypatch.setattr(SimulatedBackend, "discover", discover)
    told = hub("gc")
    assert told.stdout == "nothing to remove, as far as could be asked\n"
    assert "! near could not be asked for its clusters: no route\n" in told.stderr


@pytest.mark.parametrize("asked", [["ls"], ["status", "eddies"]])
def test_an_orphan_is_shown_as_dead_with_what_removes_it(eddies, monkeypatch, asked):
    proven(monkeypatch)
    told = hub(*asked).stdout
    assert "dead" in told
    assert f"{PROOF}; clusterhub gc removes what is left" in told


def test_whoever_connects_to_the_name_of_an_orphan_takes_it_over(eddies, monkeypatch):
    proven(monkeypatch)
    with connect("near", name="eddies", keep=True) as cluster:
        assert cluster.name == "eddies"
    assert list(LIVING) == [eddies.id], "no second one"


def test_one_whose_end_hangs_is_told_with_what_ends_it(eddies, monkeypatch):
    proven(monkeypatch, "ending")
    with pytest.raises(ClusterGone, match=f"{PROOF}; clusterhub gc removes what is left"):
        connect("near", name="eddies", keep=True)
    with pytest.raises(ClusterGone, match="ending"):
        clusterhub.attach("eddies")
