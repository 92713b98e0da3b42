"""What crosses between a keeper and its users arrives as it was sent; secrets cross in one direction only."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_queue.backend import SimulatedBackend, SimulatedOptions

from clusterhub import errors
from clusterhub.backend import Leaf, Unit, UnitState
from clusterhub.errors import (
    BackendUnavailable,
    ClusterGone,
    ClusterhubError,
    ConfigError,
    Failure,
    LeftBehind,
    Problem,
    QueueFull,
    SubmitRejected,
    Unsupported,
    WaitTimeout,
    WorkersFailed,
)
from clusterhub.keeper import wire
from clusterhub.spec import ClusterSpec

FAILURE = Failure("no python", unit="27[3]", exit_code=127, log_tail=("line 9", "line 10"), because="x.y", count=3)
ERRORS = [
    ConfigError([Problem("f:1", "a.b", "is wrong", "3"), Problem("call", "c", "too")], subject="profile hal"),
    BackendUnavailable("pip install it"),
    Unsupported("local", {"worker.gpus": "none here"}, origins={"worker.gpus": "f:2"}),
    SubmitRejected("no such queue", source="qsub: Unknown queue"),
    LeftBehind(["27.hal"], "1 job"),
    QueueFull(limit=100, used=99, source="qsub"),
    WorkersFailed(FAILURE, cluster="hal", support="help@example.org"),
    WaitTimeout("waited"),
    ClusterGone("away", final=False),
    ClusterhubError("plain"),
]


def crossed(data):
    """As it is read on the other side."""
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_type_text_and_fields(error):
    again = wire.error_from(crossed(wire.plain_error(error)))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_of_the_tree_is_tested():
    known = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClusterhubError)}
    assert known == {type(error) for error in ERRORS}


def test_a_key_error_stays_one_and_a_strange_error_says_what_it_was():
    assert wire.error_from(crossed(wire.plain_error(KeyError("7")))).args == ("7",)
    again = wire.error_from(crossed(wire.plain_error(ZeroDivisionError("by nought"))))
    assert type(again) is ClusterhubError
    assert str(again) == "ZeroDivisionError: by nought"


def test_an_error_of_a_later_keeper_keeps_its_text():
    again = wire.error_from({"type": "Unheard", "args": ["all is new"], "state": {}})
    assert type(again) is ClusterhubError
    assert str(again) == "all is new"


def plan():
    options = SimulatedOptions(password="hunter2", queue="long")
    spec = ClusterSpec(backend="simulated", workers=3, job={"walltime": "1h30m"}, worker={"memory": "1.5 GiB"})
    made = SimulatedBackend().plan("eddies", spec, options)
    return made.model_copy(update={"uid": "f" * 32, "values": (Leaf("a", "b", "c", is_default=False),)})


def test_a_plan_reaches_its_keeper_with_its_secrets():
    again = wire.plan_from(crossed(wire.with_secrets(plan())), SimulatedOptions)
    assert again.model_dump() == plan().model_dump()
    assert again.options.password.get_secret_value() == "hunter2"


def test_a_plan_is_written_down_without_its_secrets():
    data = crossed(wire.without_secrets(plan()))
    assert "hunter2" not in json.dumps(data)
    again = wire.plan_from(data)  # by somebody who has not installed the backend
    assert (again.spec, again.values, again.options.queue) == (plan().spec, plan().values, "long")


@given(
    st.builds(
        Unit,
        name=st.text(),
        state=st.sampled_from(UnitState),
        reason=st.text(min_size=1),
        source=st.text(),
        since=st.datetimes(timezones=st.just(UTC)),
        workers=st.lists(st.text()).map(tuple),
        starts=st.none() | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
        failure=st.sampled_from([None, FAILURE]),
    )
)
def test_units_arrive_as_they_were_sent(unit):
    assert wire.units_from(crossed(wire.plain_units([unit]))) == (unit,)


@pytest.mark.parametrize("failure", [None, FAILURE])
def test_failures_arrive_as_they_were_sent(failure):
    assert wire.failure_from(crossed(wire.plain_failure(failure))) == failure
