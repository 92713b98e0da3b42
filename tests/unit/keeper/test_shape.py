"""Whether a living cluster is what is asked for: by its shape, not by how many workers it has or how long it lives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clusterhub.backend import NoOptions, Plan
from clusterhub.errors import ConfigError
from clusterhub.keeper.shape import refuse_another_shape
from clusterhub.keeper.wire import without_secrets
from clusterhub.spec import ClusterSpec


def plan(profile="hal", **said):
    return Plan(name="eddies", backend="local", profile=profile, spec=ClusterSpec(**said), options=NoOptions())


def record(**said):
    made = plan(**said)
    return SimpleNamespace(name="eddies", backend="local", profile="hal", plan=without_secrets(made))


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"workers": 7},
        {"lifecycle": {"idle_timeout": "never", "host": "process"}},
        {"description": "words", "support": "help@example.org", "limits": {"workers": 9}},
    ],
)
def test_what_says_nothing_of_the_workers_is_no_other_shape(other):
    refuse_another_shape(plan(**other), record())


def test_every_difference_is_told_with_both_values_and_a_way_out():
    with pytest.raises(ConfigError) as refused:
        refuse_another_shape(plan(worker={"memory": "64 GiB", "cores": 2}), record(worker={"memory": "16 GiB"}))
    text = str(refused.value)
    assert "worker.memory = 64 GiB" in text
    assert "16 GiB" in text
    assert "worker.cores" in text
    assert "attach('eddies')" in text


def test_another_profile_is_told():
    with pytest.raises(ConfigError, match="runs on hal"):
        refuse_another_shape(plan(profile="laptop"), record())


def test_values_of_variables_are_never_shown():
    ours = {"environment": {"variables": {"TOKEN": "mine", "SAME": "x"}}}
    theirs = {"environment": {"variables": {"TOKEN": "theirs", "SAME": "x"}}}
    with pytest.raises(ConfigError) as refused:
        refuse_another_shape(plan(**ours), record(**theirs))
    assert "environment.variables.TOKEN" in str(refused.value)
    assert "SAME" not in str(refused.value)
    for value in ("mine", "theirs"):
        assert value not in str(refused.value)
