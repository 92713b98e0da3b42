"""A forwarded port ends in order, whatever its connections are doing."""

from __future__ import annotations

import asyncio
import contextlib
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


async def test_a_connection_that_is_being_opened_is_broken_off(server: Server):
    async with connected(server) as (tunnel, _):
        await tunnel.close()
        await tunnel.close()
    assert server.ended == ["broken off"]


@pytest.mark.parametrize("rounds", range(8))
async def test_one_that_has_hardly_come_is_closed_too(server: Server, rounds: int):
    """Whether asyncio has told us of it or not."""
    tunnel = Tunnel(server, "eddies-scheduler-1")  # type: ignore[arg-type]
    reader, writer = await asyncio.open_connection("127.0.0.1", await tunnel.open())
    for _round in range(rounds):
        await asyncio.sleep(0)
    await tunnel.close()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


async def test_one_that_is_open_is_ended_at_once(server: Server):
    server.opens.set()
    async with connected(server) as (tunnel, writer):
        writer.write(b"hello")
        assert await server.sent.get() == b"\0hello"
        await tunnel.close()
    assert server.ended == ["closed"]
