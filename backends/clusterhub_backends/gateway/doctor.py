"""What ``check`` looks at for a gateway: its server, our way in, what it offers, and the way to its schedulers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from clusterhub import ClusterhubError, ClusterSpec, Finding, Unsupported
from clusterhub.display.words import counted
from clusterhub_backends.gateway.offers import Offer
from clusterhub_backends.gateway.options import GatewayOptions
from clusterhub_backends.gateway.request import Wishes, offered
from clusterhub_backends.gateway.server import Server

PATIENCE = 5.0
"""Seconds in which a scheduler proxy takes a connection."""


@dataclass
class _Answers:
    """What the server said."""

    version: str = ""
    offers: dict[str, Offer] = field(default_factory=dict)
    living: int = 0
    error: ClusterhubError | None = None


def findings(spec: ClusterSpec, options: GatewayOptions) -> Iterator[Finding]:
    """Everything, in the order in which it is told."""
    with ThreadPoolExecutor(max_workers=1) as own:  # the caller may be on a loop, as a notebook is
        answers = own.submit(asyncio.run, _asked(options)).result()
    if answers.version:
        yield Finding("ok", "gateway", f"{options.address} answers, version {answers.version}{_other_version(answers)}")
    if answers.error is not None:
        yield _failed(str(answers.error), answered=bool(answers.version))
        return
    yield Finding(
        "ok", "credentials", f"{_who(options)} is let in, with {counted(answers.living, 'cluster')} there now"
    )
    yield from _options(spec, options, answers)
    yield _proxy(options)


def _failed(text: str, *, answered: bool) -> Finding:
    """By the key that the error names, else by how far we got."""
    named = re.search(r"gateway\.(auth|ca_file|address)\b", text)
    because = named[0] if named is not None else "gateway.auth" if answered else "gateway.address"
    return Finding("fail", "credentials" if because == "gateway.auth" else "gateway", text, because)


async def _asked(options: GatewayOptions) -> _Answers:
    answers = _Answers()
    try:
        server = Server(options)
    except ClusterhubError as error:
        answers.error = error
        return answers
    try:
        answers.version = await server.version()
        answers.offers = await server.offers()
        answers.living = len(await server.reports())
    except ClusterhubError as error:
        answers.error = error
    finally:
        await server.close()
    return answers


def _other_version(answers: _Answers) -> str:
    from importlib.metadata import version

    ours = version("dask-gateway")
    return "" if answers.version == ours else f" (dask-gateway here is {ours})"


def _who(options: GatewayOptions) -> str:
    import getpass

    if options.auth.type == "basic":
        return options.auth.username or getpass.getuser()
    return f"the user of this {options.auth.type} login"


def _options(spec: ClusterSpec, options: GatewayOptions, answers: _Answers) -> Iterator[Finding]:
    try:
        request = Wishes(spec, options).request(answers.offers)
    except Unsupported as refused:
        for key, reason in refused.refusals.items():
            yield Finding("fail", "options", reason, key)
    else:
        sent = ", ".join(f"{name} = {_shown(name, value, options, spec)}" for name, value in request.items())
        yield Finding("ok", "options", f"sends {sent}" if sent else "sends none: everything is as the gateway has it")
    lines: Sequence[str] = list(offered(answers.offers))
    yield Finding("ok", "offers", "\n".join(lines) or "no options: all clusters are alike")


def _shown(name: str, value: object, options: GatewayOptions, spec: ClusterSpec) -> object:
    if isinstance(value, dict):
        return "{" + ", ".join(value) + "}"  # their values may be secrets
    preview = Wishes(spec, options).preview()
    return preview[name] if preview.get(name) == "********" else value


def _proxy(options: GatewayOptions) -> Finding:
    """Schedulers are reached through a proxy of its own port, which firewalls often forget."""
    host, port = proxy_place(options)
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        text = f"{host}:{port}, where its schedulers are reached, does not answer: {error}"
        return Finding("fail", "proxy", text, "gateway.proxy_address")
    return Finding("ok", "proxy", f"{host}:{port}, where its schedulers are reached, takes connections")


def proxy_place(options: GatewayOptions) -> tuple[str, int]:
    """Host and port of the scheduler proxy, as dask_gateway takes them from the two addresses."""
    base = urlsplit(options.address or "")
    default = base.port or (443 if base.scheme == "https" else 80)
    given = options.proxy_address
    if given is None:
        return base.hostname or "", default
    if isinstance(given, int):
        return base.hostname or "", given
    parts = urlsplit(given if "://" in given else f"tls://{given}")
    return parts.hostname or "", parts.port or default
