"""The contract's own words: units, features, refusals, plans and refs as data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from clusterhub.backend import (
    ALIVE,
    NEEDS_REASON,
    Backend,
    Deployment,
    Document,
    Feature,
    NoOptions,
    Plan,
    Ref,
    Sighting,
    Standalone,
    SupportsAttach,
    Unit,
    UnitState,
    asked_features,
    refuse_unsupported,
)
from clusterhub.errors import Unsupported
from clusterhub.spec import ClusterSpec, Frozen
from clusterhub.testing.declarations import ASKING


class Options(Frozen):
    queue: str = "short"
    password: SecretStr | None = None


class Plain(Backend[Options]):
    """Honours two features, one of them only for small clusters."""

    name = "plain"
    contract = 1
    features = frozenset({Feature.WALLTIME, Feature.TLS})
    options_type = Options

    def refusals(self, spec: ClusterSpec, options: BaseModel) -> Mapping[Feature, str]:
        return {Feature.TLS: "there are no keys here"} if spec.network.tls is True else {}

    def plan(self, name: str, spec: ClusterSpec, options: Options) -> Plan[Options]:
        return Plan(name=name, backend=self.name, spec=spec, options=options)

    async def start(self, plan: Plan[Options]) -> Deployment:
        raise NotImplementedError


class Attachable(Plain):
    async def attach(self, ref: Ref, options: Options) -> Standalone:
        raise NotImplementedError

    async def discover(self, options: Options) -> list[Sighting]:
        return []


# Units


@pytest.mark.parametrize("state", sorted(NEEDS_REASON))
def test_a_unit_in_trouble_without_a_reason_cannot_be_made(state):
    with pytest.raises(ValueError, match=f"unit 27 is {state} without a reason"):
        Unit("27", state)


@pytest.mark.parametrize("state", sorted(set(UnitState) - NEEDS_REASON))
def test_a_unit_that_is_well_needs_no_reason(state):
    assert Unit("27", state).reason == ""


def test_a_units_state_reads_as_a_word():
    assert f"{UnitState.CONNECTED}" == "connected"


def test_a_units_time_has_a_zone():
    assert Unit("27", UnitState.RUNNING).since.tzinfo is UTC


def test_units_that_ended_are_not_alive():
    assert set(UnitState) - ALIVE == {UnitState.DONE, UnitState.FAILED, UnitState.MISSING, UnitState.LOST}


# Features


NEVER = {"idle_timeout": "never", "max_age": "never"}


def lasting(**said: Any) -> ClusterSpec:
    """A spec that asks for nothing but what is said; by the vocabulary's own default a cluster ends by itself."""
    return ClusterSpec(**{**said, "lifecycle": {**NEVER, **said.get("lifecycle", {})}})


def test_a_spec_that_ends_never_and_says_no_more_asks_for_nothing():
    assert asked_features(lasting()) == frozenset()


def test_ending_by_itself_is_asked_for_unless_never_is_written():
    assert asked_features(ClusterSpec()) == {Feature.IDLE_TIMEOUT, Feature.MAX_AGE}


@pytest.mark.parametrize("feature", list(Feature))
def test_each_feature_is_asked_for_by_its_own_key(feature):
    assert asked_features(lasting(**ASKING[feature])) == {feature}


def test_saying_a_default_asks_for_nothing():
    assert asked_features(lasting(network={"tls": "auto"}, worker={"gpus": 0})) == frozenset()


def refused(spec: ClusterSpec) -> Unsupported:
    with pytest.raises(Unsupported) as caught:
        refuse_unsupported(Plain(), spec, Options())
    return caught.value


def test_what_a_backend_honours_is_not_refused():
    assert refuse_unsupported(Plain(), lasting(job={"walltime": "1h"}), Options()) is None


def test_what_a_backend_lacks_is_refused_with_what_to_do():
    assert refused(lasting(worker={"gpus": 1})).refusals == {
        "worker.gpus": "plain has no such thing; leave worker.gpus out"
    }


def test_what_a_backend_refuses_today_is_refused_in_its_words():
    assert refused(lasting(network={"tls": True})).refusals == {"network.tls": "there are no keys here"}


def test_everything_that_is_refused_is_told_at_once():
    error = refused(lasting(worker={"gpus": 1}, network={"tls": True}, storage={"logs": "/l"}, support="help@x"))
    assert set(error.refusals) == {"worker.gpus", "network.tls", "storage.logs"}
    assert str(error).endswith("help  help@x")


# Plans and refs


def test_a_plan_keeps_its_backends_own_options_in_json():
    plan = Plain().plan("eddies", ClusterSpec(), Options(queue="big"))
    again = Plan[Options].model_validate_json(plan.model_dump_json())
    assert (again.options, again) == (Options(queue="big"), plan)


def test_a_plan_shows_no_secret():
    plan = Plain().plan("eddies", ClusterSpec(), Options(password=SecretStr("hunter2")))
    assert "hunter2" not in plan.model_dump_json() + repr(plan) + str(plan)


def test_a_plan_is_shown_as_it_is_reviewed_in_a_script_and_in_a_notebook():
    plan = Plan(
        name="eddies", backend="plain", spec=ClusterSpec(), options=Options(), summary="1 job",
        documents=(Document(title="job script", text="#!/bin/bash\nsleep 1\n"),),
    )  # fmt: skip
    told: list[str] = []
    plan._repr_pretty_(SimpleNamespace(text=told.append), cycle=False)
    assert [str(plan)] == told == ["1 job\n──── job script ────\n#!/bin/bash\nsleep 1"]


def test_a_plan_cannot_be_changed():
    plan = Plain().plan("eddies", ClusterSpec(), Options())
    with pytest.raises(ValueError, match="frozen"):
        plan.name = "tides"  # type: ignore[misc]


def test_a_document_says_nothing_that_was_not_given():
    assert Document(title="job script", text="x").language == ""


def test_a_ref_crosses_json():
    ref = Ref(backend="plain", name="eddies", data={"job": 27, "hosts": ["a", None]})
    assert Ref.model_validate_json(ref.model_dump_json()) == ref


# What a subclass gets for nothing


@pytest.mark.parametrize(
    ("given", "workers"),
    [
        ({}, {"minimum": 0, "maximum": 10}),
        ({"workers": None}, {"minimum": 0, "maximum": 10}),
        ({"workers": 3}, None),
        ({"workers": 0}, None),
        ({"workers": {"maximum": 5}}, None),
    ],
)
def test_a_remote_cluster_adapts_between_0_and_10_unless_told(given: Mapping[str, Any], workers):
    assert Plain().defaults(given).get("workers") == workers


def test_ends_that_a_backend_cannot_bring_about_are_not_asked_of_it():
    assert Plain().defaults({})["lifecycle"] == NEVER


def test_a_backend_complains_of_nothing_by_itself():
    plain, spec = Plain(), ClusterSpec()
    assert (plain.unusable(), plain.dask_config(), list(plain.problems(spec, Options())), plain.load()) == (
        None,
        {},
        [],
        None,
    )


def test_a_backend_that_has_both_halves_of_attaching_supports_it():
    assert (isinstance(Plain(), SupportsAttach), isinstance(Attachable(), SupportsAttach)) == (False, True)


def test_a_backend_without_options_refuses_all_of_them():
    with pytest.raises(ValueError, match="queue"):
        NoOptions(queue="big")  # type: ignore[call-arg]
