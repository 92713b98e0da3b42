"""The JSON Schema of the config file, for editors: made from the models, installed backends included."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from clusterhub import registry
from clusterhub.errors import BackendUnavailable
from clusterhub.spec import ClusterSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DATA = frozenset({"examples", "default", "enum", "const"})


def schema() -> dict[str, Any]:
    """The schema of the whole file, draft 2020-12.

    It describes what one file may say, which is less than a whole profile: layers are merged, so no key is required,
    and any key may be null, which takes back what a weaker layer said.
    """
    definitions: dict[str, Any] = {}
    profile = _partial(_model(ClusterSpec, "", definitions))
    properties = profile["properties"]
    properties["extends"] = _nullable(
        {
            "type": "string",
            "minLength": 1,
            "description": "The profile that this one builds on; dask for what the dask config says of the backend.",
            "examples": ["hal", "dask"],
        }
    )
    for name, candidate in registry.candidates().items():
        properties[name] = _nullable(_options(name, candidate, definitions))
    profile["description"] = "A profile: a place where Dask workers can be had, and their shape."
    definitions["profile"] = profile
    return {
        "$schema": DIALECT,
        "title": "clusterhub",
        "description": "The config of clusterhub: ~/.clusterhub.yaml, and the files of sites and packages.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "default": {
                "description": "The profile used where none is named; of a list the first that matches this host.",
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string", "minLength": 1}},
                    {"type": "null"},
                ],
                "examples": ["laptop", ["hal", "laptop"]],
            },
            "profiles": _nullable(
                {
                    "description": "The profiles by name. One that a weaker layer has as well is patched.",
                    "type": "object",
                    "propertyNames": {"minLength": 1},
                    "additionalProperties": _nullable({"$ref": "#/$defs/profile"}),
                }
            ),
        },
        "$defs": definitions,
    }


def _options(name: str, candidate: registry.Candidate, definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        model = candidate.load().options_type
        options: dict[str, Any] = _partial(_model(model, f"{name}.", definitions))
    except BackendUnavailable as error:
        return {"type": "object", "description": f"Options of a backend that cannot be loaded here: {error}"}
    except Exception as error:  # noqa: BLE001 - a plugin's model may hold what has no schema; the rest still helps
        return {"type": "object", "description": f"Options without a schema: {type(error).__name__}"}
    options["description"] = f"Options of backend {name}. {options.get('description', '')}".strip()
    return options


def _model(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one model; what it refers to goes to ``definitions``, named apart from other models' parts."""
    own = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}", mode="validation")
    for name, definition in own.pop("$defs", {}).items():
        definitions[f"{prefix}{name}"] = _partial(definition)
    return own


def _partial(part: Any) -> Any:
    """The schema with every key of every table optional and nullable, as one layer of several may leave or take it."""
    if isinstance(part, list):
        return [_partial(item) for item in part]
    if not isinstance(part, dict):
        return part
    # Examples, defaults and choices are data, not schema, whatever their keys are called.
    done = {
        key: value if key in ("examples", "default", "enum", "const") else _partial(value)
        for key, value in part.items()
    }
    if isinstance(done.get("properties"), dict) and done.get("type") == "object":
        done.pop("required", None)
        done["properties"] = {key: _nullable(value) for key, value in done["properties"].items()}
    return done


def _nullable(part: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in part.get("anyOf", ()):
        return part
    kept: dict[str, Any] = {key: part[key] for key in ("description", "examples", "title", "default") if key in part}
    bare = {key: value for key, value in part.items() if key not in kept}
    return {**kept, "anyOf": [bare, {"type": "null"}]} if bare else part
