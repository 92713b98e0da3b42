"""What pydantic found, as problems for people: with place, key, value as written, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from clusterhub.errors import Problem
from clusterhub.profile.fields import keys_of, model_at, secret_at
from clusterhub.profile.secrets import HIDDEN, is_secret_path, redact_text
from clusterhub.profile.tree import Node, find, nearest
from clusterhub.profile.words import Surroundings, unknown_key
from clusterhub.profile.written import one_line
from clusterhub.profile.yaml12 import scalar
from clusterhub.spec import Contradiction

_LONGEST_MESSAGE = 300


def problems_of(
    error: ValidationError, tree: Node, model: type[BaseModel], prefix: tuple[str, ...], around: Surroundings
) -> list[Problem]:
    """Every problem that ``model`` has with ``tree``, the table at ``prefix`` of the profile; one for each key."""
    found: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False):
        for problem in _problems(detail, tree, model, prefix, around):
            place = (problem.origin, problem.path)
            # A value that fits none of several types is reported once for each of them.
            known = found.get(place)
            found[place] = _either(known, problem) if known is not None else problem
    return list(found.values())


def _either(known: Problem, other: Problem) -> Problem:
    if other.message in known.message.split(", or "):
        return known
    return Problem(known.origin, known.path, f"{known.message}, or {other.message}", known.written)


def _problems(
    detail: Mapping[str, Any], tree: Node, model: type[BaseModel], prefix: tuple[str, ...], around: Surroundings
) -> Iterator[Problem]:
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Contradiction):
        for dotted, message in cause.found.items():
            yield _at(tuple(dotted.split(".")), tree, model, prefix, message)
        return
    path = _real_path(detail["loc"], tree, detail["type"])
    if detail["type"] == "extra_forbidden":
        yield _unknown(path, tree, model, prefix, around)
    else:
        yield _at(path, tree, model, prefix, _message(detail, find(tree, path), model_at(model, path)))


def _real_path(loc: Sequence[str | int], tree: Node, kind: str) -> tuple[str | int, ...]:
    """The keys of ``loc`` that lead somewhere; pydantic mixes in the names of types that it tried."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if find(tree, [*path, step]) is None:
            last = index == len(loc) - 1
            if last and kind in ("missing", "extra_forbidden"):
                path.append(step)
            elif not last:
                continue
            break
        path.append(step)
    return tuple(path)


def _at(
    path: tuple[str | int, ...], tree: Node, model: type[BaseModel], prefix: tuple[str, ...], message: str
) -> Problem:
    node = find(tree, path)
    dotted = ".".join(map(str, (*prefix, *path)))
    if node is None:
        # Nothing was written there: the table that lacks it is the place, or nobody, where a default is the matter.
        place = nearest(tree, path)
        return Problem(place.origin if message.startswith("must be given") else "default", dotted, message)
    written, message = _shown(node, path, model, message)
    return Problem(node.origin, dotted, message, written)


def _shown(node: Node, path: tuple[str | int, ...], model: type[BaseModel], message: str) -> tuple[str, str]:
    """The value as written and the message, with nothing in either that is or may be a secret."""
    value = node.plain()
    message = message[:_LONGEST_MESSAGE]
    if is_secret_path(path) or secret_at(model, path):
        text = str(value)
        return HIDDEN, message.replace(text, HIDDEN) if len(text) > 2 else message
    if node.table is not None and not path:
        return "{...}", message
    return one_line(value, cut=True), redact_text(message)


def _unknown(
    path: tuple[str | int, ...], tree: Node, model: type[BaseModel], prefix: tuple[str, ...], around: Surroundings
) -> Problem:
    node = find(tree, path)
    full = (*prefix, *map(str, path))
    if node is None:
        return Problem(tree.origin, ".".join(full), "unknown key")
    table = model_at(model, path[:-1])
    message = unknown_key(full, node.plain(), node.key_place, table, around) if table is not None else "unknown key"
    return Problem(node.key_place, ".".join(step[:60] for step in full), message)


def _message(detail: Mapping[str, Any], node: Node | None, model: type[BaseModel] | None) -> str:
    kind, context = str(detail["type"]), detail.get("ctx", {})
    value = node.value if node is not None else None
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or detail["msg"]).removeprefix("Value error, ")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**{key: _plain_number(bound) for key, bound in context.items()})
    if kind in _TYPES:
        return _TYPES[kind](value)
    if kind in ("literal_error", "enum"):
        return _choice(str(context.get("expected", "")), value)
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"):
        return f"must be a table{_example(model)}"
    # Kinds that only a backend's own model can bring: pydantic's words, in our form.
    return re.sub(r"^Input should be ", "must be ", str(detail["msg"]))


def _whole_number(value: Any) -> str:
    if isinstance(value, str) and isinstance(number := _scalar(value), int) and not isinstance(number, bool):
        return f"must be a whole number; leave the quotes out: {value.strip()}"
    return "must be a whole number"


def _number(value: Any) -> str:
    if isinstance(value, str) and isinstance(number := _scalar(value), int | float) and not isinstance(number, bool):
        return f"must be a number; leave the quotes out: {value.strip()}"
    return "must be a number"


def _truth(value: Any) -> str:
    if isinstance(value, str):
        for words, meant in ((("yes", "on", "y", "true"), "true"), (("no", "off", "n", "false"), "false")):
            if value.strip().lower() in words:
                return f"must be true or false, and {value.strip()} is a text here; write {meant}"
    return "must be true or false"


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return "must be a text; put it in quotes"
    return "must be a text"


def _list(value: Any) -> str:
    if isinstance(value, bool | int | float | str):
        return f"must be a list; write [{one_line(value, cut=True)}]"
    return "must be a list, as [first, second]"


def _scalar(text: str) -> Any:
    return scalar(text.strip())


_TYPES: dict[str, Callable[[Any], str]] = {
    "missing": lambda value: "must be given",
    "int_type": _whole_number,
    "int_parsing": _whole_number,
    "int_from_float": _whole_number,
    "float_type": _number,
    "float_parsing": _number,
    "finite_number": lambda value: "must be a finite number",
    "bool_type": _truth,
    "bool_parsing": _truth,
    "string_type": _text,
    "string_too_short": lambda value: "must not be empty",
    "too_short": lambda value: "has too few entries",
    "too_long": lambda value: "has too many entries",
    "list_type": _list,
    "tuple_type": _list,
    "set_type": _list,
    "frozen_set_type": _list,
    "none_required": lambda value: "must be left out",
}

_BOUNDS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
}


def _plain_number(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _choice(expected: str, value: Any) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    told = f"must be {expected.replace(chr(39), '')}"
    close = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) and len(value) < 60 else []
    return f"{told}; did you mean {close[0]}?" if close else told


def _example(model: type[BaseModel] | None) -> str:
    """``, as {cores: 4}``, from the first key of the model that has an example."""
    if model is None:
        return ""
    for field, key in zip(model.model_fields.values(), keys_of(model), strict=True):
        if field.examples:
            return f", as {{{key}: {one_line(field.examples[0])}}}"
    return ""
