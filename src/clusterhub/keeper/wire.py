"""What passes between a keeper and those who use it: plans, orders, answers and errors, as plain JSON data.

Nothing is pickled: a keeper and its users may run different versions of Python and of Dask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import to_jsonable_python

from clusterhub import errors
from clusterhub.backend import Plan, Unit
from clusterhub.errors import ClusterhubError, Failure, Problem
from clusterhub.keeper.identity import Process
from clusterhub.spec import Frozen, Workers


class AnyOptions(BaseModel):
    """A backend's options as somebody reads them who has not installed that backend."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Order(Frozen):
    """What a keeper is started with, through a pipe of its own, or a file that is gone once it is read: the only ways in which
    secrets reach it."""

    plan: dict[str, Any]
    """The plan with its secrets, from :func:`with_secrets`."""
    creator: Process
    named: bool
    kept: bool
    environment: dict[str, str] = Field(default_factory=dict, repr=False)
    """Variables of the creator's that a keeper needs which does not inherit them."""


class Ready(Frozen):
    """What a keeper answers once clients can connect."""

    keeper: Process
    address: str
    addresses: tuple[str, ...] = ()
    """Where clients on other hosts may reach it, the likeliest first; none where that need not be tried."""


def with_secrets(plan: Plan[Any]) -> dict[str, Any]:
    """The plan as JSON data, secrets in clear: for a pipe between two processes of one user, and for nothing else."""
    # First by hand: pydantic hides secrets in all that it makes JSON of, and asks no fallback about them.
    plain: dict[str, Any] = to_jsonable_python(_revealed(plan.model_dump(mode="python", by_alias=True)), fallback=str)
    return plain


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode()
    if isinstance(value, Mapping):
        return {key: _revealed(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_revealed(below) for below in value]
    return value


def without_secrets(plan: Plan[Any]) -> dict[str, Any]:
    """The plan as JSON data, secrets hidden: for files."""
    plain: dict[str, Any] = plan.model_dump(mode="json", by_alias=True)
    return plain


def plan_from(data: Mapping[str, Any], options_type: type[BaseModel] = AnyOptions) -> Plan[Any]:
    """The plan that one of the two wrote. Raises pydantic.ValidationError for what is none."""
    import json

    # From JSON text rather than from Python values: strict models take a list for a tuple only there.
    plan: Plan[Any] = Plan[options_type].model_validate_json(json.dumps(data))  # type: ignore[valid-type]
    return plan


# Answers


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def plain_units(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """Units as JSON data."""
    plain: list[dict[str, Any]] = _adapter(list[Unit]).dump_python(list(units), mode="json")
    return plain


def units_from(data: Any) -> tuple[Unit, ...]:
    """The units that :func:`plain_units` wrote."""
    return tuple(_adapter(list[Unit]).validate_python(data))


def plain_failure(failure: Failure | None) -> dict[str, Any] | None:
    """A failure as JSON data."""
    plain: dict[str, Any] | None = _adapter(Failure | None).dump_python(failure, mode="json")
    return plain


def failure_from(data: Any) -> Failure | None:
    """The failure that :func:`plain_failure` wrote."""
    failure: Failure | None = _adapter(Failure | None).validate_python(data)
    return failure


def plain_workers(workers: Workers) -> dict[str, int]:
    """A target as JSON data."""
    return {"minimum": workers.minimum, "maximum": workers.maximum}


def moment_from(text: str) -> datetime:
    """A moment written by ``datetime.isoformat``."""
    return datetime.fromisoformat(text)


# Errors

_PARTS: Mapping[str, Any] = {"failure": Failure, "problems": tuple[Problem, ...]}
"""Fields of errors that are more than texts and numbers."""


def plain_error(error: BaseException) -> dict[str, Any]:
    """An error as JSON data; one that is not of ours becomes a ClusterhubError that says what it was."""
    if isinstance(error, KeyError):
        return {"type": "KeyError", "args": [str(error.args[0]) if error.args else ""], "state": {}}
    if not isinstance(error, ClusterhubError) or type(error).__module__ != errors.__name__:
        text = str(error) if isinstance(error, ClusterhubError) else f"{type(error).__name__}: {error}"
        return {"type": "ClusterhubError", "args": [text], "state": {}}
    state = {key: _plain(value) for key, value in vars(error).items() if not key.startswith("__")}
    return {"type": type(error).__name__, "args": [str(argument) for argument in error.args], "state": state}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return to_jsonable_python(value, fallback=str)


def error_from(data: Mapping[str, Any]) -> Exception:
    """The error that :func:`plain_error` wrote: of the same type, with the same text and fields."""
    if data["type"] == "KeyError":
        return KeyError(*data["args"])
    kind = getattr(errors, str(data["type"]), None)
    if not (isinstance(kind, type) and issubclass(kind, ClusterhubError)):
        kind = ClusterhubError  # of a newer keeper: its text still says what it is
    state = {
        key: _adapter(_PARTS[key]).validate_python(value) if key in _PARTS else value
        for key, value in data["state"].items()
    }
    return errors.rebuilt(kind, tuple(data["args"]), state)
