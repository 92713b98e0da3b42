"""A web server of a test's own, that answers as gateways do, or as what is taken for one."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from clusterhub_backends.gateway.options import Auth, GatewayOptions
from clusterhub_backends.gateway.server import Server

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(data: Any, status: int = 200) -> Answer:
    """An answer of a gateway's API."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(data, status=status)

    return answer


def page(
    text: str = "<html><body><h1>Sign in</h1></body></html>", status: int = 200, kind: str = "text/html"
) -> Answer:
    """A web page, as proxies, hubs and other servers show."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind)

    return answer


def complains(status: int, error: str = "") -> Answer:
    """A gateway's own complaint."""
    return says({"error": error or f"complaint {status}"}, status)


async def silence(request: web.Request) -> web.StreamResponse:
    """No answer, while anybody waits for one."""
    await asyncio.sleep(60)
    raise AssertionError("somebody waited for a minute")


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """The connection is closed without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def moved(to: str) -> Answer:
    """A redirection, as hubs send people to their login page."""

    async def answer(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(to)

    return answer


@dataclass
class Heard:
    """What a server was asked."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answers: Mapping[str, Answer] | Answer, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, Heard]]:
    """Answers by the end of a path, or one for all; yields its address and what it hears."""
    heard = Heard()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.text()
        heard.requests.append((request.method, request.path_qs, json.loads(body) if body else None))
        heard.headers.append(request.headers)
        if not isinstance(answers, Mapping):
            return await answers(request)
        for end, answer in answers.items():
            if request.path.rstrip("/").endswith(end):
                return await answer(request)
        return web.json_response({"error": "Not Found"}, status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(application, scheme="https" if tls else "http", host="127.0.0.1")
    await server.start_server(ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.port}", heard
    finally:
        for _round in range(10):  # whoever connected and hung up at once is greeted, and let go of
            await asyncio.sleep(0)
        await server.close()


@asynccontextmanager
async def asked(address: str, **said: Any) -> AsyncIterator[Server]:
    """A line to such a server."""
    said.setdefault("auth", Auth(username="ann"))
    server = Server(GatewayOptions(address=address, http_proxy=False, **said))
    try:
        yield server
    finally:
        await server.close()
