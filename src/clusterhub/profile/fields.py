"""Walking the models of the vocabulary and of backends by dotted keys, so that nothing about them is written twice."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from typing_extensions import TypeAliasType

from clusterhub.spec import ClusterSpec


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, with ``Annotated``, aliases and unions taken apart."""
    if isinstance(annotation, TypeAliasType):
        yield from alternatives(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from alternatives(part)
    else:
        yield annotation


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this annotation may be."""
    return [part for part in alternatives(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys that a table of this model takes, as they are written, with the annotation of each."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the table at ``path``, or None where there is no such table."""
    current: type[BaseModel] | None = model
    for step in path:
        if current is None or not isinstance(step, str):
            return None
        below = models_in(keys_of(current).get(step))
        current = below[0] if below else None
    return current


def default_at(model: type[BaseModel], path: Sequence[str]) -> Any:
    """What stands at ``path`` when nobody says anything. Raises KeyError where the model has no such key."""
    value: Any = None
    current: Any = model
    for step in path:
        if current is None or not isinstance(current, type) or not issubclass(current, BaseModel):
            # Below a free table (variables, labels) any key may stand, and none does by default.
            if isinstance(value, dict):
                return value.get(step)
            raise KeyError(step)
        field = next((f for name, f in current.model_fields.items() if (f.alias or name) == step), None)
        if field is None:
            raise KeyError(step)
        value = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
        below = models_in(field.annotation)
        current = below[0] if below else None
    return value


def places_of(word: str) -> tuple[str, ...]:
    """The dotted keys of the vocabulary whose last part is ``word``, those that people mean most first."""
    found = [word] if word in ClusterSpec.model_fields else []
    tables = [(name, models_in(field.annotation)) for name, field in ClusterSpec.model_fields.items()]
    # Limits repeat words of other tables, and are hardly ever what somebody means who writes the word alone.
    tables.sort(key=lambda item: item[0] in ("limits", "node"))
    return (*found, *(f"{name}.{word}" for name, models in tables if models and word in keys_of(models[0])))


def holds_secret(annotation: Any) -> bool:
    """Whether a value of this annotation is a secret or holds one, at any depth."""
    return _holds_secret(annotation, set())


def _holds_secret(annotation: Any, seen: set[type]) -> bool:
    for part in alternatives(annotation):
        if part in (SecretStr, SecretBytes):
            return True
        if any(_holds_secret(argument, seen) for argument in get_args(part)):
            return True
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
            seen.add(part)
            if any(_holds_secret(field.annotation, seen) for field in part.model_fields.values()):
                return True
    return False


def secret_at(model: type[BaseModel], path: Sequence[str | int]) -> bool:
    """Whether the value at ``path`` is a secret of the model, or holds one."""
    current: type[BaseModel] | None = model
    annotation: Any = None
    for step in path:
        if current is None:
            break
        known = keys_of(current)
        if not isinstance(step, str) or step not in known:
            return False
        annotation = known[step]
        below = models_in(annotation)
        current = below[0] if below else None
    return holds_secret(annotation)
