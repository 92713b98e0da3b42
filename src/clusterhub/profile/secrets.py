"""Nothing secret is ever shown: neither what a model calls a secret, nor what its name says is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "********"

_SECRET_WORDS = (
    "passw", "passphrase", "pwd", "secret", "token", "credential", "api_key", "apikey", "access_key", "private_key",
    "auth_key", "signing_key", "session_key", "license_key", "cookie",
)  # fmt: skip
# Names that hold such a word and no secret: where one lies, how long it lives, whether it is wanted; and Kubernetes' own.
_HARMLESS = re.compile(
    r"(_(file|path|dir|directory|url|ttl|timeout|name|type|class|variable|ref)s?|^(use|with|require|automount)_\w+"
    r"|^image_pull_secrets)$"
)

_URL = re.compile(
    r"(?P<scheme>(?<![a-zA-Z0-9+.-])[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<who>[^/\s@:'\"]*):(?P<password>[^/\s'\"]+)@"
)
_ASSIGNMENT = re.compile(
    r"(?P<name>(?<![A-Za-z0-9_-])-{0,2}[A-Za-z_][A-Za-z0-9_-]*)(?P<sign>\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|,}\]]+)"
)
_OPTION = re.compile(r"(?P<name>(?<![\w-])--?[A-Za-z][\w-]*)(?P<sign>\s+)(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|-]\S*)")
_HEADER = re.compile(r"(?P<name>\b(?:Bearer|Basic))(?P<sign>\s+)(?P<value>[A-Za-z0-9._~+/=-]{6,})")


def is_secret_name(name: str) -> bool:
    """Whether a key or a variable of this name holds a secret, as far as names tell."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").lstrip("_")
    return any(word in words for word in _SECRET_WORDS) and not _HARMLESS.search(words)


def is_secret_path(path: Iterable[str | int]) -> bool:
    """Whether any key on the way to a value says that it is a secret."""
    return any(isinstance(step, str) and is_secret_name(step) for step in path)


def is_secret_entry(table: Mapping[Any, Any], key: object) -> bool:
    """Whether the value at ``key`` is a secret, as far as names tell: its own, or what stands beside it as its ``name``,
    as in the lists of variables that Kubernetes has."""
    name = table.get("name") if key == "value" else None
    return is_secret_name(str(key)) or (isinstance(name, str) and is_secret_name(name))


def redact_text(text: str) -> str:
    """The text with the passwords in URLs, and what is assigned to secret names, hidden."""
    text = _URL.sub(lambda match: f"{match['scheme']}{match['who']}:{HIDDEN}@", text)
    text = _HEADER.sub(lambda match: f"{match['name']}{match['sign']}{HIDDEN}", text)
    for pattern in (_ASSIGNMENT, _OPTION):
        text = pattern.sub(_hide_named, text)
    return text


def _hide_named(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"].lstrip("-")) or HIDDEN in match["value"]:
        return match[0]
    return f"{match['name']}{match['sign']}{HIDDEN}"


def holds_secret_text(text: str) -> bool:
    """Whether :func:`redact_text` would hide a part of it."""
    return redact_text(text) != text
