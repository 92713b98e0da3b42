"""What the contract is kept with on top of cluster objects that know little: adaptation, a roster, failures, the surface."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub.backend import UnitState
from clusterhub.errors import Failure, WorkersFailed
from clusterhub.native import roster
from clusterhub.native.adaptation import Adaptation
from clusterhub.native.deployment import failure_from
from clusterhub.native.roster import Roster
from clusterhub.native.surface import Surface
from clusterhub.spec import Workers

# Adaptation

counts = st.integers(0, 50)
ranges = st.tuples(counts, counts).map(lambda ends: Workers(minimum=min(ends), maximum=max(ends)))


@given(ranges, st.lists(counts, max_size=20), counts)
def test_the_target_stays_within_the_range(limits, recommendations, current):
    adaptation = Adaptation(limits)
    for recommended in recommendations:
        current = adaptation.decide(recommended, current)
        assert limits.minimum <= current <= limits.maximum


@given(ranges, st.integers(1, 5), st.lists(counts, max_size=30))
def test_the_target_never_falls_before_patience(limits, patience, recommendations):
    adaptation, current, falling = Adaptation(limits, patience), limits.maximum, 0
    for recommended in recommendations:
        before, current = current, adaptation.decide(recommended, current)
        wanted = max(limits.minimum, min(recommended, limits.maximum))
        falling = falling + 1 if wanted < before else 0
        if current < before:
            assert falling >= patience
            falling = 0


@given(ranges, counts, counts)
def test_the_target_rises_at_once(limits, recommended, current):
    wanted = max(limits.minimum, min(recommended, limits.maximum))
    if wanted >= current:
        assert Adaptation(limits).decide(recommended, current) == wanted


def test_the_target_falls_to_the_highest_of_what_was_recommended():
    adaptation = Adaptation(Workers(minimum=0, maximum=10), patience=3)
    assert [adaptation.decide(recommended, 10) for recommended in (2, 5, 1)] == [10, 10, 5]


def test_a_burst_in_between_starts_patience_anew():
    adaptation = Adaptation(Workers(minimum=0, maximum=10), patience=2)
    assert [adaptation.decide(recommended, 10) for recommended in (0, 10, 0, 0)] == [10, 10, 10, 0]


# The roster


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes when told to."""
    clock = SimpleNamespace(now=1_000_000.0, time=lambda: clock.now)
    monkeypatch.setattr(roster, "time", clock)
    return clock


def here(*names: str, port: int = 1) -> dict[str, dict[str, str]]:
    """The scheduler's account of connected workers."""
    return {f"tcp://{name}:{port}": {"name": name, "host": f"host-{name}"} for name in names}


def told(found: Roster, wanted: int = 0, leaving: frozenset[str] = frozenset()) -> dict[str, tuple[UnitState, str]]:
    return {unit.name: (unit.state, unit.reason) for unit in found.units(wanted, leaving)}


def states(found: Roster, wanted: int = 0) -> dict[str, UnitState]:
    return {name: state for name, (state, _) in told(found, wanted).items()}


@pytest.fixture
def empty(clock: SimpleNamespace) -> Roster:
    return Roster(startup_timeout=60)


def test_a_planned_worker_is_on_its_way(empty):
    empty.observe({}, {"0"}, {})
    assert states(empty) == {"0": UnitState.RUNNING}


def test_a_worker_that_came_is_connected(empty):
    empty.observe(here("0"), {"0"}, {})
    (unit,) = empty.units(1, frozenset())
    assert (unit.state, unit.workers, unit.where) == (UnitState.CONNECTED, ("tcp://0:1",), "host-0")


def test_a_worker_that_was_there_and_is_not_is_lost(empty):
    empty.observe(here("0"), {"0"}, {})
    empty.observe({}, {"0"}, {})
    assert told(empty)["0"] == (UnitState.LOST, "its process ended, and is being replaced")


def test_a_lost_worker_may_come_back_by_itself(empty, clock):
    empty.observe(here("0"), {"0"}, {})
    empty.observe({}, {"0"}, {})
    clock.now += 30
    assert empty.dead == []
    empty.observe(here("0", port=2), {"0"}, {})
    assert states(empty) == {"0": UnitState.CONNECTED}


def test_a_worker_that_never_came_is_missing_after_the_time_out(empty, clock):
    empty.observe({}, {"0"}, {})
    clock.now += 61
    assert told(empty)["0"] == (UnitState.MISSING, "was launched 61 s ago, but its worker never came")
    assert empty.dead == ["0"]


def test_a_worker_is_not_missing_before_the_time_out(empty, clock):
    empty.observe({}, {"0"}, {})
    clock.now += 59
    assert (states(empty), empty.dead) == ({"0": UnitState.RUNNING}, [])


def test_a_worker_whose_object_ended_is_dead_at_once(empty):
    empty.observe({}, {"0", "1"}, {"0": "failed"})
    assert (empty.dead, empty.living) == (["0"], ["1"])


def test_a_worker_that_is_planned_no_longer_is_forgotten(empty):
    empty.observe(here("0"), {"0"}, {})
    empty.observe({}, set(), {})
    assert states(empty) == {}


def test_a_new_worker_makes_a_lost_one_good_where_no_plan_is_named(empty, clock):
    empty.observe(here("a", "b"), None, {})
    empty.observe(here("b"), None, {})
    clock.now += 1
    empty.observe(here("b", "c"), None, {})
    assert states(empty) == {"b": UnitState.CONNECTED, "c": UnitState.CONNECTED}


def test_what_is_not_launched_yet_is_told_too(empty):
    empty.observe(here("0"), {"0"}, {})
    assert states(empty, wanted=3) == {
        "0": UnitState.CONNECTED,
        "+1": UnitState.SUBMITTING,
        "+2": UnitState.SUBMITTING,
    }


def test_a_start_that_failed_is_told_with_its_cause(empty):
    failure = Failure("no such python", source="exec: not found")
    empty.failed(["0"], failure)
    (unit,) = empty.units(1, frozenset())
    assert (unit.state, unit.reason, unit.source, unit.failure) == (
        UnitState.FAILED,
        "no such python",
        "exec: not found",
        failure,
    )


def test_a_failed_start_that_was_made_good_is_told_no_longer(empty):
    empty.failed([], Failure("out of memory"))
    empty.observe(here("1"), {"1"}, {})
    empty.made_good()
    assert states(empty, wanted=1) == {"1": UnitState.CONNECTED}


def test_a_worker_that_leaves_says_so(empty):
    empty.observe(here("0"), {"0"}, {})
    assert told(empty, leaving=frozenset({"tcp://0:1"}))["0"] == (UnitState.CONNECTED, "leaving")


def test_a_worker_that_could_not_leave_says_why(empty):
    empty.observe(here("0"), {"0"}, {})
    empty.stays({"tcp://0:1"}, "holds results")
    assert told(empty)["0"] == (UnitState.CONNECTED, "holds results")


def test_a_new_target_forgets_why_somebody_could_not_leave(empty):
    empty.observe(here("0"), {"0"}, {})
    empty.stays({"tcp://0:1"}, "holds results")
    empty.forget_notes()
    assert told(empty)["0"] == (UnitState.CONNECTED, "")


def test_workers_that_left_in_order_are_struck_off(empty):
    empty.observe(here("0", "1"), {"0", "1"}, {})
    assert empty.retired({"tcp://0:1"}) == ["0"]
    assert list(states(empty)) == ["1"]


def test_a_worker_that_left_in_order_is_not_lost_when_it_was_seen_gone_first(empty):
    """Retiring takes a moment to be answered, and a look in between finds the worker gone."""
    empty.observe(here("0", "1"), None, {})
    empty.observe(here("1"), None, {})
    assert empty.retired({"tcp://0:1"}) == ["0"]
    assert states(empty) == {"1": UnitState.CONNECTED}


def test_a_worker_that_is_leaving_does_not_count_even_when_it_was_seen_gone_first(empty):
    empty.observe(here("0", "1"), None, {})
    empty.observe(here("1"), None, {})
    assert empty.staying({"tcp://0:1"}) == ["1"]


def test_units_come_in_the_order_that_people_count(empty):
    names = {"10", "9", "b", "a"}
    empty.observe({}, names, {})
    assert list(states(empty)) == ["9", "10", "a", "b"]


# Failures


def test_the_innermost_cause_is_the_summary():
    try:
        try:
            raise ModuleNotFoundError("No module named 'x'")
        except ModuleNotFoundError as inner:
            raise RuntimeError("Nanny failed to start.") from inner
    except RuntimeError as outer:
        failure = failure_from(outer)
    assert (failure.summary, failure.source) == (
        "ModuleNotFoundError: No module named 'x'",
        "Nanny failed to start.",
    )


def test_a_failure_that_was_told_already_passes_unchanged():
    failure = Failure("their python does not exist", exit_code=127)
    assert failure_from(WorkersFailed(failure)) is failure


def test_an_exception_without_words_has_a_name():
    assert failure_from(KeyError()).summary == "KeyError"


# The surface


@pytest.mark.parametrize("error", [IndexError, AttributeError, KeyError, ValueError])
def test_a_dashboard_link_that_is_not_there_yet_is_empty(error):
    class Early:
        @property
        def dashboard_link(self) -> str:
            raise error

    assert Surface(Early()).dashboard_link == ""


def test_an_object_that_tells_nothing_counts_as_running():
    surface = Surface(object())
    assert (surface.status, surface.keeps_names, surface.planned, dict(surface.ended)) == ("running", False, None, {})
