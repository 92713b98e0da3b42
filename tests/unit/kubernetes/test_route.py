"""The way to a scheduler: what is direct and answers is taken, however long the other addresses are silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from distributed import Scheduler

from clusterhub_backends.kubernetes import route
from clusterhub_backends.kubernetes.route import Route

SILENT = "127.0.0.9"


class Forwarding:
    """A port that is forwarded, to the scheduler itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.closed = False

    async def open(self) -> int:
        return self._port

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def scheduler() -> AsyncIterator[int]:
    async with Scheduler(port=0, host="127.0.0.1", dashboard_address=":0") as running:
        yield int(running.port)


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """A port that takes connections, and never says a word: a name server or a Service that is not ready does the like."""
    over = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, SILENT, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def reached(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]], forwarding: Forwarding) -> None:
    monkeypatch.setattr(route, "_addresses", lambda pod, service, namespace: iter(addresses))
    monkeypatch.setattr(route, "Tunnel", lambda api, pod: forwarding)


class Asked:
    """As much of an API server's line as finding the way takes."""

    namespace = "ocean"


async def found(how: Any) -> Route:
    pod: Mapping[str, Any] = {"metadata": {"name": "eddies-scheduler"}}
    return await Route.to(Asked(), pod, {}, None, None, how)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["auto", "direct"])
async def test_an_address_that_answers_is_taken_while_others_are_silent(how, monkeypatch):
    monkeypatch.setattr(route, "TRIAL", 600.0)  # so long would be waited for those that are silent
    monkeypatch.setattr(route, "HEAD_START", 600.0)
    async with silence() as nobody, scheduler() as port:
        forwarding = Forwarding(port)
        reached(monkeypatch, [(SILENT, nobody), ("127.0.0.1", port)], forwarding)
        async with asyncio.timeout(60):
            way = await found(how)
        assert (way.host, way.port, way.forwarded) == ("127.0.0.1", port, False)
        assert forwarding.closed == (how == "auto")


async def test_where_no_address_answers_the_port_is_forwarded(monkeypatch):
    async with silence() as nobody, scheduler() as port:
        forwarding = Forwarding(port)
        reached(monkeypatch, [(SILENT, nobody)], forwarding)
        way = await found("auto")
        assert way.forwarded
        assert not forwarding.closed
        await way.close()
        assert forwarding.closed


async def test_of_several_that_answer_none_is_waited_for(monkeypatch):
    async with scheduler() as first, scheduler() as second:
        reached(monkeypatch, [("127.0.0.1", first), ("127.0.0.1", second)], Forwarding(first))
        way = await found("direct")
        assert way.port in (first, second)


async def test_a_proxy_that_answers_for_an_address_that_it_does_not_know_is_no_scheduler(monkeypatch):
    async def apologise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(apologise, SILENT, 0) as proxy, scheduler() as port:
        forwarding = Forwarding(port)
        reached(monkeypatch, [(SILENT, proxy.sockets[0].getsockname()[1])], forwarding)
        assert (await found("auto")).forwarded


async def test_a_service_that_the_nodes_have_not_heard_of_yet_is_tried_again(monkeypatch):
    monkeypatch.setattr(route, "TRIAL", 0.2)
    monkeypatch.setattr(route, "AGAIN", 0.01)
    tried = asyncio.Event()
    first_of = route._first_of

    async def watched(addresses, security):
        found = await first_of(addresses, security)
        tried.set()
        return found

    monkeypatch.setattr(route, "_first_of", watched)
    async with silence() as port:
        reached(monkeypatch, [(SILENT, port)], Forwarding(0))
        way = asyncio.create_task(found("direct"))
        await tried.wait()
    async with Scheduler(port=port, host=SILENT, dashboard_address=":0"):
        async with asyncio.timeout(60):
            assert ((await way).host, (await way).port) == (SILENT, port)


async def test_direct_alone_says_where_it_was_tried(monkeypatch):
    monkeypatch.setattr(route, "TRIAL", 0.2)
    monkeypatch.setattr(route, "PATIENCE", 0.3)
    async with silence() as nobody:
        reached(monkeypatch, [(SILENT, nobody)], Forwarding(0))
        with pytest.raises(route.ClusterhubError, match=rf"{SILENT}:{nobody}.*kubernetes\.route"):
            await found("direct")
