"""A web server of a test's own, that answers as API servers do, or as what is taken for one; and kubeconfigs for it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from ruamel.yaml import YAML

from clusterhub_backends.kubernetes.api import Api
from labs.gateway import certificate

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
DASK = "/apis/kubernetes.dask.org/v1/namespaces/ocean/daskclusters"


def says(data: Any, status: int = 200) -> Answer:
    """An answer of Kubernetes' API."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(data, status=status)

    return answer


EMPTY = says({"kind": "List", "items": []})


def refuses(code: int, message: str, reason: str = "", **details: Any) -> Answer:
    """A ``Status`` of Kubernetes' own."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "message": message,
        "reason": reason,
    }
    return says({**status, "details": details}, code)


def page(text: str, status: int = 200, kind: str = "text/html") -> Answer:
    """A text or a web page, as proxies and other servers show."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind)

    return answer


async def silence(request: web.Request) -> web.StreamResponse:
    """No answer, while anybody waits for one."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.01)
    return web.Response()


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """The connection is closed without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@dataclass
class Heard:
    """What a server was asked."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answers: Mapping[str, Answer] | Answer, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, Heard]]:
    """Answers by method and path (``GET /version``), or one for all; yields its address and what it hears."""
    heard = Heard()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.text()
        heard.requests.append((request.method, request.path_qs, json.loads(body) if body else None))
        heard.tokens.append(request.headers.get("Authorization", ""))
        if not isinstance(answers, Mapping):
            return await answers(request)
        found = answers.get(f"{request.method} {request.path.rstrip('/')}")
        return await found(request) if found else web.Response(text="404 page not found\n", status=404)

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


def kubeconfig(folder: Path, server: str, *, user: Mapping[str, Any] | None = None, **more: Any) -> Path:
    """A kubeconfig for a server, with the contexts ``sea`` and ``lake``, of which the first is the current one."""
    file = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **more.pop("cluster", {})}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "t0ken"}}],
        "contexts": [
            {"name": "sea", "context": {"cluster": "c", "user": "u", "namespace": "ocean"}},
            {"name": "lake", "context": {"cluster": "c", "user": "u", "namespace": "pond"}},
        ],
        "current-context": "sea",
        **more,
    }
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump({key: value for key, value in config.items() if value is not None}, stream)
    return file


@asynccontextmanager
async def asked(file: Path, context: str | None = None, namespace: str | None = None) -> AsyncIterator[Api]:
    """A line to the server that a kubeconfig names."""
    api = await Api.of(str(file), context, namespace)
    try:
        yield api
    finally:
        await api.close()


def signed(folder: Path) -> tuple[Path, Path]:
    """A certificate that no authority has signed, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    certificate.write(cert, key)
    return cert, key
