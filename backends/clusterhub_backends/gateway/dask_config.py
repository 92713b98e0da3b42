"""What a Dask config says of a gateway (``gateway.*``), in our words: the layer that ``connect("gateway")`` reads on a hub.

Values may be templates: ``{JUPYTERHUB_USER}`` is that variable of the environment (dask_gateway/utils.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from clusterhub import ConfigError, Problem
from clusterhub.backend import Said
from clusterhub.profile.dask_config import DaskConfig, DaskValue, may_say

ROOT = "gateway"
_TEXTS: Mapping[str, str] = {
    "address": "address",
    "public-address": "public_address",
    "proxy-address": "proxy_address",
}
_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "basic": {"username": "username", "password": "password"},
    "jupyterhub": {"api_token": "token"},
}
"""How the arguments of dask_gateway's own classes are called here."""


def converted() -> Mapping[str, Any]:
    """The table for ``gateway:``. Raises ConfigError for a template whose variable is not set, and for what is no table."""
    if not may_say(ROOT):
        return {}
    # dask_gateway itself is not imported: all that it adds to the config are defaults.
    config, problems = DaskConfig(ROOT), list[Problem]()
    table: dict[str, Any] = {}
    for found in config.values(ROOT):
        key = found.path.removeprefix(f"{ROOT}.").replace("_", "-")
        if key in _TEXTS and found.value is not None:
            table[_TEXTS[key]] = _said(found, problems)
    if auth := _auth(config, problems):
        table["auth"] = auth
    proxy = next((each for each in _entries(config, "http-client") if each.path.endswith("proxy")), None)
    if proxy is not None:
        table["http_proxy"] = _said(proxy, problems) if proxy.value is not None else Said(False, proxy.origin)
    if options := {each.path.rpartition(".")[2]: _said(each, problems) for each in _entries(config, "cluster.options")}:
        table["options"] = options
    if problems:
        raise ConfigError(problems)
    return {"gateway": table} if table else {}


def _entries(config: DaskConfig, path: str) -> list[DaskValue]:
    above, _, below = path.partition(".")
    if below and below not in config.table(f"{ROOT}.{above}"):
        return []
    return list(config.values(f"{ROOT}.{path}"))


def _auth(config: DaskConfig, problems: list[Problem]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    kind = config.get(f"{ROOT}.auth.type") or "basic"
    for found in _entries(config, "auth"):
        if found.path.endswith("type") and found.value is not None:
            said["type"] = _said(found, problems)
    names: Callable[[str], str | None] = lambda name: _ARGUMENTS.get(str(kind), {}).get(name)  # noqa: E731
    for found in _entries(config, "auth.kwargs"):
        name = found.path.rpartition(".")[2]
        if (own := names(name)) is not None:
            said[own] = _said(found, problems)
        elif kind in ("basic", "jupyterhub", "kerberos"):
            problems.append(Problem(found.origin, found.path, f"says nothing to {kind}"))
        else:
            said.setdefault("arguments", {})[name] = _said(found, problems)
    return said


def _said(found: DaskValue, problems: list[Problem]) -> Said:
    """The value with its place, templates filled in from the environment."""
    if not isinstance(found.value, str):
        return Said(found.value, found.origin)
    try:
        names = [name for _, name, _, _ in Formatter().parse(found.value) if name is not None]
        missing = [name for name in names if name.isidentifier() and name not in os.environ]
        if not missing:
            return Said(found.value.format(**os.environ), found.origin)
        problems.append(Problem(found.origin, found.path, f"needs {', '.join(missing)}, which the environment has not"))
        return Said(found.value, found.origin)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        problems.append(Problem(found.origin, found.path, f"is no template that dask-gateway could fill in: {error}"))
        return Said(found.value, found.origin)
