"""``--set worker.memory=8GiB``: the values of a command line as overrides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clusterhub.errors import ConfigError, Problem
from clusterhub.profile.secrets import HIDDEN, is_secret_path, redact_text
from clusterhub.profile.tree import DEEPEST
from clusterhub.profile.yaml12 import flow_or_scalar, same

ORIGIN = "--set"


def parse_set(texts: str | Iterable[str]) -> dict[str, Any]:
    """The overrides that one or several ``KEY=VALUE`` say together; of two for one key the later counts.

    A value is one word or line, or a list or table of YAML in flow style (``[a, b]``, ``{cores: 4}``);
    ``null`` or nothing takes back what the profile says.

    Raises ConfigError that names the argument, for the first that cannot be meant.
    """
    merged: dict[str, Any] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        path, value = _parsed(text)
        table = merged
        for step in path[:-1]:
            below = table.get(step)
            if not isinstance(below, dict):
                below = table[step] = {}
            table = below
        earlier = table.get(path[-1])
        table[path[-1]] = {**earlier, **value} if isinstance(earlier, dict) and isinstance(value, dict) else value
    return merged


def _parsed(text: str) -> tuple[list[str], Any]:
    key, sign, value = text.partition("=")
    path = [step.strip() for step in key.split(".")]
    if not sign:
        raise _refused(text, "must be KEY=VALUE, as worker.memory=8GiB")
    if not all(path) or len(path) > DEEPEST:
        raise _refused(text, "must begin with a dotted key, as worker.memory=8GiB")
    try:
        return path, flow_or_scalar(value, same(ORIGIN)).plain()
    except ConfigError as error:
        raise _refused(text, f"its value {error.problems[0].message}") from None


def _refused(text: str, message: str) -> ConfigError:
    key, sign, value = text[:200].partition("=")
    shown = redact_text(value[:60])
    if is_secret_path(key.split(".")):
        shown, message = HIDDEN, message.split(" (")[0]
    return ConfigError(Problem(ORIGIN, f"{key[:60]}{sign}{shown}", message))
