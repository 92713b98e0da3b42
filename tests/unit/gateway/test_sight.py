"""What a cluster is seen to be, and the units that this comes to."""

from __future__ import annotations

from typing import Any

import pytest

from clusterhub import UnitState, Workers
from clusterhub_backends.gateway.sight import Sight, units_of

LAST = Workers(minimum=0, maximum=10)


def workers(*names: str, leaving: str = "") -> dict[str, Any]:
    return {
        f"tls://{name}": {"name": name, "host": f"host-{name}", "stays": "is leaving" if name == leaving else ""}
        for name in names
    }


def told(**said: Any) -> dict[str, Any]:
    """What a caretaker tells."""
    return {"workers": {}, "count": 0, "range": None, "asked": [0, 0], "limit": None, "kept": False, **said}


def sight(**said: Any) -> Sight:
    return Sight.of(told(**said), LAST)


# The target


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ({"asked": [3, 3], "count": 3}, 3),
        ({"asked": [9, 9], "count": 8, "limit": 8}, 9),  # it works for what the limit leaves of it
        ({"asked": [3, 3], "count": 5}, 5),  # somebody told the gateway itself another number
        ({"asked": [9, 9], "count": 8}, 8),
        ({"asked": None, "count": 5}, 5),  # made without clusterhub
        ({"asked": [1, 4], "count": 2, "range": [1, 4]}, (1, 4)),
        ({"asked": [1, 40], "count": 2, "range": [1, 8], "limit": 8}, (1, 40)),
        ({"asked": [1, 4], "count": 2, "range": [0, 6]}, (0, 6)),
        ({"asked": [1, 4], "count": 2}, 2),  # its adaptation was ended from elsewhere
        ({"asked": [3, 3], "count": 3, "range": [0, 6]}, (0, 6)),
        ({"asked": None, "count": 3, "range": [2, None]}, (2, 10)),  # without end: as far as was asked for last
        ({"asked": None, "count": 30, "range": [20, None]}, (20, 20)),
    ],
)
def test_the_target_is_what_was_asked_for_while_the_gateway_works_for_it(said: dict[str, Any], target: Any):
    expected = Workers.exactly(target) if isinstance(target, int) else Workers(minimum=target[0], maximum=target[1])
    assert sight(**said).target == expected


def test_while_it_adapts_so_many_are_wanted_as_the_gateway_works_for():
    assert sight(asked=[1, 4], count=2, range=[1, 4]).wanted == 2
    assert sight(asked=[9, 9], count=8, limit=8).wanted == 9


# Units


def test_there_is_a_unit_for_each_worker_that_is_there_or_wanted():
    found = units_of(sight(workers=workers("a", "b"), asked=[3, 3], count=3))
    assert [(unit.name, unit.state) for unit in found] == [
        ("a", UnitState.CONNECTED), ("b", UnitState.CONNECTED), ("+1", UnitState.PENDING),
    ]  # fmt: skip
    assert (found[0].where, found[0].workers) == ("host-a", ("tls://a",))
    assert found[2].reason == "the gateway was asked for it, and does not tell how far it is"


def test_those_over_the_limit_say_so():
    found = units_of(sight(workers=workers("a"), asked=[4, 4], count=2, limit=2))
    reasons = [unit.reason for unit in found if unit.state is UnitState.PENDING]
    assert len(reasons) == 3
    assert "does not tell how far" in reasons[0]
    assert reasons[1:] == ["over the gateway's limit of 2 workers a cluster"] * 2


def test_one_that_leaves_is_still_there_and_none_comes_in_its_place():
    found = units_of(sight(workers=workers("a", "b", leaving="b"), asked=[1, 1], count=1))
    assert [(unit.name, unit.state, unit.reason) for unit in found] == [
        ("a", UnitState.CONNECTED, ""), ("b", UnitState.CONNECTED, "is leaving"),
    ]  # fmt: skip


def test_one_that_leaves_while_more_are_wanted_is_counted_out():
    found = units_of(sight(workers=workers("a", "b", leaving="b"), asked=[2, 2], count=2))
    assert [unit.name for unit in found] == ["a", "b", "+1"]


def test_every_pending_unit_says_why():
    for said in (
        {"asked": [5, 5], "count": 5},
        {"asked": [5, 5], "count": 3, "limit": 3},
        {"asked": [0, 9], "range": [0, 9], "count": 4},
    ):
        assert all(unit.reason for unit in units_of(sight(**said)) if unit.state is UnitState.PENDING)


def test_nothing_asked_for_and_nothing_there_is_no_unit():
    assert units_of(sight()) == []


# Without a caretaker


@pytest.mark.parametrize(
    ("last", "there", "wanted"), [(Workers.exactly(3), 1, 3), (LAST, 2, 2), (Workers(minimum=4, maximum=9), 2, 4)]
)
def test_without_a_caretaker_the_scheduler_tells_who_is_there(last: Workers, there: int, wanted: int):
    names = [f"w{index}" for index in range(there)]
    bare = Sight.bare({f"tls://{name}": {"name": name, "host": "h"} for name in names}, last, None, True)
    assert (bare.wanted, bare.target, bare.kept) == (wanted, last, True)
    assert len(units_of(bare)) == wanted
    assert [unit.name for unit in units_of(bare)][:there] == names


def test_a_worker_whose_name_is_a_number_has_a_name():
    bare = Sight.bare({"tls://a": {"name": 7, "host": "h"}}, Workers.exactly(1), None, False)
    assert [unit.name for unit in units_of(bare)] == ["7"]
