"""A forwarded port ends in order, whatever its connections are doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clusterhub_backends.kubernetes.tunnel import Tunnel


class Server:
    """As much of the API server's line as a tunnel needs; it opens what is asked for when it is told to."""

    namespace = "ocean"

    def __init__(self) -> None:
        self.kr8s = self
        self.asked, self.opens = asyncio.Event(), asyncio.Event()
        self.ended: list[str] = []
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()

    @asynccontextmanager
    async def open_websocket(self, **how: Any) -> AsyncIterator[Server]:
        self.asked.set()
        try:
            await self.opens.wait()
        except asyncio.CancelledError:
            self.ended.append("broken off")
            raise
        try:
            yield self
        finally:
            self.ended.append("closed")

    async def send_bytes(self, message: bytes) -> None:
        await self.sent.put(message)

    async def receive_bytes(self) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
async def server() -> Server:
    return Server()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[Tunnel, asyncio.StreamWriter]]:
    tunnel = Tunnel(server, "eddies-scheduler-1")  # type: ignore[arg-type]
    _, writer = await asyncio.open_connection("127.0.0.1", await tunnel.open())
    await server.asked.wait()
    yield tunnel, writer
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_is_being_opened_is_let_open_and_then_ended(server: Server):
    async with connected(server) as (tunnel, _):
        closing = asyncio.create_task(tunnel.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        server.opens.set()
        await closing
    assert server.ended == ["closed"], "nobody was cancelled in the midst of a handshake"


async def test_one_that_does_not_open_in_time_is_broken_off(server: Server):
    async with connected(server) as (tunnel, _):
        await tunnel.close(0.05)
        await tunnel.close()
    assert server.ended == ["broken off"]


async def test_one_that_is_open_is_ended_at_once(server: Server):
    server.opens.set()
    async with connected(server) as (tunnel, writer):
        writer.write(b"hello")
        assert await server.sent.get() == b"\0hello"
        await tunnel.close()
    assert server.ended == ["closed"]
