"""What a backend says of itself, and what it refuses: nothing here starts anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import clusterhub
from clusterhub.backend import CONTRACT, Feature, Finding, Plan, SupportsAttach
from clusterhub.errors import ConfigError, Unsupported
from clusterhub.testing.base import Base

ASKING: Mapping[Feature, Mapping[str, Any]] = {
    Feature.GPUS: {"worker": {"gpus": 1}},
    Feature.NODE: {"node": {"cores": 1024, "memory": "64 TiB", "gpus": 8}},
    Feature.WALLTIME: {"job": {"walltime": "1h"}},
    Feature.WORKERS_PER_JOB: {"job": {"workers_per_job": 2}},
    Feature.STARTUP_TIMEOUT: {"job": {"startup_timeout": "5m"}},
    Feature.PYTHON: {"environment": {"python": "/usr/bin/python3"}},
    Feature.DIRECTORY: {"environment": {"directory": "/tmp"}},
    Feature.SETUP: {"environment": {"setup": ["true"]}},
    Feature.VARIABLES: {"environment": {"variables": {"CLUSTERHUB_TEST": "1"}}},
    Feature.INTERFACE: {"network": {"interface": "lo"}},
    Feature.TLS: {"network": {"tls": True}},
    Feature.SCRATCH: {"storage": {"scratch": "/tmp"}},
    Feature.LOGS: {"storage": {"logs": "/tmp"}},
    Feature.HOST: {"lifecycle": {"host": "process"}},
    Feature.IDLE_TIMEOUT: {"lifecycle": {"idle_timeout": "90m"}},
    Feature.MAX_AGE: {"lifecycle": {"max_age": "90m"}},
    Feature.LINGER: {"lifecycle": {"linger": "90m"}},
    Feature.KEEPER_JOB: {"lifecycle": {"job": {"cores": 2}}},
}
"""For each feature, a call that asks for it."""


class Declarations(Base):
    """Declarations, plans and refusals."""

    def test_it_says_which_contract_it_was_written_for(self) -> None:
        assert self.loaded().contract == CONTRACT

    def test_its_features_are_features(self) -> None:
        assert all(isinstance(feature, Feature) for feature in self.loaded().features)

    def test_its_options_forbid_unknown_keys(self) -> None:
        backend = self.loaded()
        with pytest.raises(ConfigError, match="no_such_option"):
            clusterhub.plan(self.backend, **{**self.overrides, backend.name: {"no_such_option": 1}})

    def test_its_options_have_a_schema(self) -> None:
        assert self.loaded().options_type.model_json_schema()["type"] == "object"

    def test_a_plan_says_what_would_be_sent(self) -> None:
        plan = clusterhub.plan(self.backend, **self.overrides)
        assert plan.summary
        assert plan.documents
        assert all(document.title and document.text for document in plan.documents)

    def test_what_check_finds_is_told_in_words(self) -> None:
        resolved = self.resolved()
        resolved.backend.load()
        for found in resolved.backend.problems(resolved.spec, resolved.options):
            if isinstance(found, Finding):
                assert found.mark in ("ok", "warn", "fail")
                assert found.title == " ".join(found.title.split()), "a title is on one line"
            else:
                assert found.strip(), "a sentence says something"

    def test_one_unit_asks_for_the_memory_of_its_workers_and_more(self) -> None:
        resolved = self.resolved()
        footprint = resolved.backend.footprint(resolved.spec)
        assert 0 < footprint.worker_memory <= resolved.spec.worker.memory
        assert footprint.memory >= footprint.worker_memory * self.per_unit()

    def test_the_same_spec_gives_the_same_plan(self) -> None:
        resolved = self.resolved()
        resolved.backend.load()
        plans = [resolved.backend.plan("twice", resolved.spec, resolved.options) for _ in range(2)]
        assert plans[0] == plans[1]

    def test_a_plan_crosses_processes_as_json(self) -> None:
        resolved = self.resolved()
        resolved.backend.load()
        plan = resolved.backend.plan("json", resolved.spec, resolved.options)
        again = Plan[resolved.backend.options_type].model_validate_json(plan.model_dump_json())  # type: ignore[name-defined]
        assert again.spec == plan.spec
        assert again.documents == plan.documents

    @pytest.mark.parametrize("feature", list(Feature))
    def test_what_it_cannot_do_is_refused_with_a_reason(self, feature: Feature) -> None:
        backend = self.loaded()
        if feature in backend.features:
            pytest.skip(f"{backend.name} offers {feature}")
        with pytest.raises(Unsupported, match=feature.value) as refusal:
            clusterhub.plan(self.backend, **{**self.overrides, **ASKING[feature]})
        assert refusal.value.refusals[feature.value]

    def test_attaching_is_either_offered_whole_or_not_at_all(self) -> None:
        backend = self.loaded()
        offered = [hasattr(backend, part) for part in ("attach", "discover")]
        assert all(offered) == any(offered) == isinstance(backend, SupportsAttach)
