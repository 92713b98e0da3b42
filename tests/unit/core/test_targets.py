"""What is asked for and waited for: timeouts, waits and targets, before any cluster is."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from clusterhub.backend import Leaf, NoOptions, Plan, Unit, UnitState
from clusterhub.cluster.targets import Targets
from clusterhub.cluster.waiting import Wait, seconds
from clusterhub.display import Report
from clusterhub.display.waiting import silent
from clusterhub.errors import ConfigError, Failure, WaitTimeout, WorkersFailed
from clusterhub.spec import ClusterSpec, Workers

# Timeouts


@pytest.mark.parametrize(
    ("timeout", "meant"),
    [(None, None), (0, 0), (1.5, 1.5), (30, 30), (math.inf, math.inf), ("30m", 1800), ("00:01:00", 60)],
)
def test_a_timeout_is_in_seconds_or_has_its_unit(timeout, meant):
    assert seconds(timeout) == meant


@pytest.mark.parametrize(
    ("timeout", "words"),
    [
        (-1, "must be 0 or more"),
        (math.nan, "not a duration"),
        ("30", "the unit is missing; write 30s"),
        ("soon", "or a number of seconds"),
        (True, "not a duration"),
    ],
)
def test_a_timeout_that_cannot_be_meant_is_refused(timeout, words):
    with pytest.raises(ConfigError) as refused:
        seconds(timeout)
    assert words in str(refused.value)
    assert str(refused.value).startswith("wait(): timeout = ")


# Waiting


def reported(connected: int, asked: int, failure: Failure | None = None) -> Report:
    units = tuple(Unit(str(i), UnitState.CONNECTED, workers=(f"tcp://{i}",)) for i in range(connected))
    pending = tuple(Unit(f"p{i}", UnitState.PENDING, "Resources") for i in range(asked - connected))
    return Report(
        name="eddies",
        profile="hal",
        backend="pbs",
        unit_noun="job",
        target=Workers.exactly(asked),
        connected=connected,
        units=units + pending,
        failure=failure,
        scheduler_address="tcp://h:1",
        dashboard_link="",
        started=datetime.now(UTC),
        support="help@example.org",
    )


def waiting(n: int, timeout: float | None = None) -> Wait:
    return Wait(n, timeout, silent())


def test_a_wait_is_over_when_enough_are_there():
    wait = waiting(2)
    assert [wait.over(reported(connected, 3), 1.0) for connected in (0, 1, 2)] == [False, False, True]


def test_a_wait_for_nobody_is_over_at_once():
    assert waiting(0).over(reported(0, 0), 0.0)


def test_a_wait_that_times_out_says_for_what_and_in_which_state():
    with pytest.raises(WaitTimeout) as late:
        waiting(3, timeout=60).over(reported(1, 3), 60.0)
    assert "3 workers of eddies were not there after 60 s: 1 of 3 workers connected" in str(late.value)
    assert "2 jobs pending (Resources)" in str(late.value)


def test_workers_that_came_at_the_last_moment_came():
    assert waiting(2, timeout=60).over(reported(2, 2), 61.0)


def test_a_wait_whose_workers_cannot_come_raises_the_cause():
    with pytest.raises(WorkersFailed) as failed:
        waiting(2).over(reported(0, 2, Failure("out of memory")), 1.0)
    assert (failed.value.failure.summary, failed.value.cluster, failed.value.support) == (
        "out of memory",
        "hal",
        "help@example.org",
    )


def test_a_failure_does_not_spoil_a_wait_for_those_that_are_there():
    assert waiting(1).over(reported(1, 2, Failure("out of memory")), 1.0)


@pytest.mark.parametrize(
    ("timeout", "elapsed", "pause"),
    [
        (None, 0.0, 0.1),
        (None, 5.0, 0.1),
        (None, 20.0, 0.4),
        (None, 100.0, 1.0),
        (10.0, 9.9, 0.1),
        (10.0, 11.0, 0.0),
        (0, 0.0, 0.0),
    ],
)
def test_looks_are_quick_at_first_then_calm_and_never_past_the_timeout(timeout, elapsed, pause):
    assert waiting(1, timeout).pause(elapsed) == pytest.approx(pause)


# Targets


def targets(**spec: Any) -> Targets:
    origins = {"limits.workers": "/etc/clusterhub/config.yaml:21"}
    leaves = tuple(Leaf(path, "", origin, is_default=False) for path, origin in origins.items())
    return Targets(Plan(name="told", backend="told", spec=ClusterSpec(**spec), options=NoOptions(), values=leaves))


@pytest.mark.parametrize("n", [3, np.int64(3), np.uint8(3)])
def test_a_target_is_any_whole_number(n):
    fixed = targets().fixed(n, {})
    assert (fixed, type(fixed.minimum)) == (Workers.exactly(3), int)


@pytest.mark.parametrize("n", [-1, 1.0, 1.5, "3", True, False, None, [3], np.float64(3), np.bool_(True), 10**7])
def test_a_target_that_cannot_be_meant_is_refused(n):
    with pytest.raises(ConfigError, match=r"scale\(\): n = "):
        targets().fixed(n, {})


def test_a_target_over_the_limit_is_refused_with_the_place_of_the_limit():
    with pytest.raises(ConfigError) as refused:
        targets(workers=2, limits={"workers": 10}).fixed(11, {})
    assert str(refused.value) == (
        "scale(): n = 11: is over the limit of 10 (limits.workers, set at /etc/clusterhub/config.yaml:21)"
    )


@pytest.mark.parametrize(
    ("profile", "minimum", "maximum", "meant"),
    [
        (7, None, None, (0, 7)),
        ({"minimum": 2, "maximum": 5}, None, None, (2, 5)),
        ({"minimum": 2, "maximum": 5}, 0, None, (0, 5)),
        ({"minimum": 2, "maximum": 5}, None, 1, (1, 1)),
        ({"minimum": 2, "maximum": 5}, 9, None, (9, 9)),
        (7, 1, 3, (1, 3)),
        (7, 0, 0, (0, 0)),
    ],
)
def test_a_range_is_completed_from_the_profile(profile, minimum, maximum, meant):
    found = targets(workers=profile).range(minimum, maximum, {})
    assert (found.minimum, found.maximum) == meant


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(ConfigError, match="swap them"):
        targets().range(5, 2, {})


@pytest.mark.parametrize(
    ("call", "word", "advice"),
    [
        ("scale", "jobs", "counts workers, not jobs"),
        ("adapt", "minimum_jobs", "adapt(minimum=n)"),
        ("adapt", "maximum_jobs", "adapt(maximum=n)"),
        ("scale", "cores", "worker.cores"),
        ("adapt", "interval", "leave it out"),
        ("scale", "nonsense", "unknown argument"),
    ],
)
def test_words_of_other_tools_are_translated(call, word, advice):
    refuse = {"scale": lambda: targets().fixed(1, {word: 4}), "adapt": lambda: targets().range(0, 1, {word: 4})}[call]
    with pytest.raises(ConfigError) as refused:
        refuse()
    assert advice in str(refused.value)
    assert f"{word} = 4" in str(refused.value)


def test_all_foreign_words_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        targets().fixed(1, {"jobs": 4, "cores": 8})
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(("workers", "awaited"), [(4, 4), (0, 0), ({"minimum": 2, "maximum": 5}, 2)])
def test_a_wait_is_for_all_that_are_asked_or_for_the_least_of_a_range(workers, awaited):
    assert targets(workers=workers).awaited(None) == awaited


def test_a_wait_for_more_than_will_come_is_refused():
    with pytest.raises(ConfigError, match=r"only 4 are asked for; scale\(5\) first"):
        targets(workers=4).awaited(5)
