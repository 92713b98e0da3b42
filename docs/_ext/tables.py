"""The tables of the reference, as Markdown: read from the models and the backends, so that none can fall behind."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from clusterhub import Bytes, ClusterSpec, Duration, Feature, SubmitsKeeper, SupportsAttach, registry
from clusterhub.backend import Backend
from clusterhub.backend.converting import TakesJobqueue
from clusterhub.profile.fields import alternatives, models_in
from clusterhub.profile.written import one_line
from clusterhub.spec import field_docstrings

BACKENDS = ("local", "pbs", "slurm", "kubernetes", "gateway")
"""In the order in which people meet them."""

# Keys


def spec_keys() -> str:
    """Every key of a profile, but those of the backends' own tables."""
    own = [name for name, field in ClusterSpec.model_fields.items() if not _tables_of(field)]
    # Below a heading of its own: what a directive puts before its first heading, docutils puts behind its last one.
    head = "### The profile itself\n\n"
    parts = [head + table(("key", "takes", "by default", "means"), (_row("", name, ClusterSpec) for name in own))]
    extends = "The profile that this one builds on, or `dask`: what your Dask config says of the backend."
    parts[0] += _line(("`extends`", "text, as `hal`", "nothing", extends))
    for name, field in ClusterSpec.model_fields.items():
        for model in _tables_of(field):
            parts.append(f"### `{name}`\n\n{_prose(model.__doc__)}\n")
            parts.append(table(("key", "takes", "by default", "means"), _rows(f"{name}.", model)))
    return "\n".join(parts)


def option_keys(backend: str) -> str:
    """Every key of the table that a backend has under its name."""
    model = registry.backend(backend).options_type
    return f"{_prose(model.__doc__)}\n\n" + table(("key", "takes", "by default", "means"), _rows(f"{backend}.", model))


def keys_of(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """The dotted keys of a model and of the models in it, as the tables list them."""
    for name, field in model.model_fields.items():
        below = _tables_of(field)
        if below:
            for each in below:
                yield from keys_of(f"{prefix}{name}.", each)
        else:
            yield f"{prefix}{name}"


def _tables_of(field: FieldInfo) -> list[type[BaseModel]]:
    """The models whose keys are written below this one; a number or a range is written as one value."""
    return models_in(field.annotation)


def _rows(prefix: str, model: type[BaseModel]) -> Iterator[Sequence[str]]:
    for name, field in model.model_fields.items():
        below = _tables_of(field)
        for each in below:
            yield f"`{prefix}{name}`", "table", "", _prose(field_docstrings(model).get(name) or each.__doc__)
            yield from _rows(f"{prefix}{name}.", each)
        if not below:
            yield _row(prefix, name, model)


def _row(prefix: str, name: str, model: type[BaseModel]) -> Sequence[str]:
    field = model.model_fields[name]
    return f"`{prefix}{name}`", _takes(field), _default(field), _prose(field_docstrings(model).get(name))


_WORDS: Mapping[Any, str] = {
    Bytes: "memory", Duration: "duration", bool: "true or false", int: "whole number", float: "number", str: "text",
    SecretStr: "text (a secret)",
}  # fmt: skip


def _takes(field: FieldInfo) -> str:
    words = dict.fromkeys(_word(part) for part in alternatives(field.annotation) if part is not types.NoneType)
    example = next(_examples(field.annotation, field), None)
    shown = "" if example is None else f", as `{one_line(example)}`"
    return " or ".join(word for word in words if word) + shown


def _word(part: Any) -> str:
    if part in _WORDS:
        return _WORDS[part]
    if get_origin(part) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(part))
    if get_origin(part) in (tuple, list):
        return "list"
    if get_origin(part) is dict:
        return "table"
    raise TypeError(f"no word for {part!r}; add one to the tables of the reference")


def _examples(annotation: Any, field: FieldInfo | None = None) -> Iterator[Any]:
    """What the model gives as examples, wherever in the annotation it says them."""
    if field is not None and field.examples:
        yield field.examples[0]
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        yield from (each.examples[0] for each in metadata if isinstance(each, FieldInfo) and each.examples)
        yield from _examples(inner)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _examples(part)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be said"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value in ((), {}, []):
        return "nothing"
    return f"`{one_line(value)}`"


# Features


def feature_matrix() -> str:
    """What each backend honours of what a profile can ask for."""
    backends = {name: registry.backend(name) for name in BACKENDS}
    rows = [
        (f"`{feature}`", *("✔" if feature in backend.features else "·" for backend in backends.values()))
        for feature in Feature
    ]
    return table(("asked for by", *(f"`{name}`" for name in BACKENDS)), rows)


ABILITIES: Sequence[tuple[str, Callable[[Backend[Any]], bool]]] = (
    ("its clusters are found by asking it, without a record", lambda backend: isinstance(backend, SupportsAttach)),
    ("a keeper can be a job (`lifecycle.host: job`)", lambda backend: isinstance(backend, SubmitsKeeper)),
    ("configs of dask-jobqueue are taken", lambda backend: isinstance(backend, TakesJobqueue)),
    ("`extends: dask` has something to take", lambda backend: type(backend).dask_config is not Backend.dask_config),
)


def ability_matrix() -> str:
    """What else the backends differ in, as the contract tells it."""
    backends = [registry.backend(name) for name in BACKENDS]
    rows = [
        ("one unit is", *(f"a {backend.unit_noun}" for backend in backends)),
        ("an unnamed cluster lives in", *(_home(backend) for backend in backends)),
        *((told, *("✔" if has(backend) else "·" for backend in backends)) for told, has in ABILITIES),
    ]
    return table(("", *(f"`{name}`" for name in BACKENDS)), rows)


def _home(backend: Backend[Any]) -> str:
    if isinstance(backend, SupportsAttach):
        return "its system"
    return "your process" if backend.home == "inline" else "a keeper beside it"


# Markdown


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return _line(head) + _line(["---"] * len(head)) + "".join(_line(row) for row in rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
