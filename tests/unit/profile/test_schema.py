"""The schema describes what files say, and the types describe what calls say; both are held to the models."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import jsonschema
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from clusterhub.profile import Overrides, schema
from clusterhub.profile.fields import models_in
from clusterhub.spec import ClusterSpec

SITE = YAML(typ="safe", pure=True).load(Path(__file__).with_name("site.yaml").read_text())


@pytest.fixture
def validate(machine: Any) -> Any:
    found = schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found).validate


def test_the_sites_example_is_valid(validate: Any) -> None:
    validate(SITE)
    validate({})
    validate({"profiles": {"hal": {"pbs": {"account": "ocean"}}}})


@pytest.mark.parametrize(
    "profile",
    [
        {"node": {"cores": 12}},
        {"workers": 4},
        {"workers": {"maximum": 4}},
        {"worker": None, "support": None, "job": {"walltime": None}},
        {"extends": "dask"},
        {"network": {"tls": "auto"}},
        {"environment": {"setup": "module load x"}},
        {"cloud": {"tolerations": [{"seconds": 5}], "login": {"pin": "x"}}},
        {"broken": {"anything": 1}},
        None,
    ],
)
def test_a_layer_may_say_a_part_of_a_profile(validate: Any, profile: Any) -> None:
    validate({"profiles": {"hal": profile}})


@pytest.mark.parametrize(
    "config",
    [
        {"profile": {}},
        {"profiles": {"hal": {"wroker": {}}}},
        {"profiles": {"hal": {"worker": {"memory": "8G"}}}},
        {"profiles": {"hal": {"workers": -1}}},
        {"profiles": {"hal": {"pbs": {"quue": "x"}}}},
        {"profiles": {"hal": {"pbs": {"mode": "x"}}}},
        {"profiles": {"hal": 5}},
        {"default": {}},
    ],
)
def test_slips_are_underlined(validate: Any, config: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(config)


def test_editors_are_told_what_keys_mean(machine: Any) -> None:
    found = schema()
    profile = found["$defs"]["profile"]["properties"]
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "What only PBS knows." in str(profile["pbs"])
    assert "CPU cores the worker may use" in str(found["$defs"]["Worker"])
    assert profile["hosts"]["examples"] == [["hal-*"]]
    assert {"local", "pbs", "cloud", "broken", "extends"} <= profile.keys()


def parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for alternative in get_args(annotation) for part in parts(alternative)]
    return [annotation]


def test_the_types_of_a_call_are_the_models(machine: Any) -> None:
    backends = {"local", "pbs", "slurm", "kubernetes", "gateway"}
    assert Overrides.__annotations__.keys() == ClusterSpec.model_fields.keys() | backends
    compare(Overrides, ClusterSpec, backends)


def compare(typed: Any, model: type[BaseModel], extra: set[str]) -> None:
    assert typed.__total__ is False
    hints = get_type_hints(typed)
    assert hints.keys() == model.model_fields.keys() | extra
    for name, field in model.model_fields.items():
        tables = [part for part in parts(hints[name]) if is_typeddict(part)]
        below = models_in(field.annotation)
        assert len(tables) == len(below), name
        for table, inner in zip(tables, below, strict=True):
            compare(table, inner, set())


def test_options_of_backends_are_free_tables_in_a_call() -> None:
    assert Mapping[str, Any] in parts(get_type_hints(Overrides)["pbs"])
