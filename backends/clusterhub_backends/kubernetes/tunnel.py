"""A port of this machine's loopback that leads to a port of a pod, through the API server, as `kubectl port-forward` has it.

kr8s's own dumps a traceback for each connection that breaks, and leaves tasks behind when it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from clusterhub_backends.kubernetes.api import Api

logger = logging.getLogger(__name__)

PIECE = 2**16
"""Bytes that are passed on at a time."""


class Tunnel:
    """To one port of one pod. Each connection is a stream of its own; one that breaks leaves the others alone."""

    def __init__(self, api: Api, pod: str, port: int = 8786) -> None:
        self._api = api
        self._pod = pod
        self._port = port
        self._server: asyncio.Server | None = None
        self._streams: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def open(self) -> int:
        """Listen, and return the port of loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End it, with all connections. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        streams = dict(self._streams)
        for stream in streams:
            stream.cancel()
        if streams:
            await asyncio.wait(streams)
        for writer in streams.values():  # here, since what is cancelled before it begins has no word in its end
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine: asyncio would keep its task from us until it begins, and one that we close before would stay open."""
        if self._server is None:
            writer.transport.abort()
            return
        stream = asyncio.create_task(self._serve(reader, writer))
        self._streams[stream] = writer
        stream.add_done_callback(self._let_go)

    def _let_go(self, stream: asyncio.Task[Any]) -> None:
        self._streams.pop(stream).transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        except Exception as error:  # noqa: BLE001 - websockets fail in many ways, and all mean that this one has ended
            logger.debug("clusterhub: a connection to %s has ended: %r", self._pod, error)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        namespace = self._api.namespace
        params = {"name": self._pod, "namespace": namespace, "ports": str(self._port), "_preload_content": "false"}
        url = f"/api/v1/namespaces/{namespace}/pods/{self._pod}/portforward"
        async with self._api.kr8s.open_websocket(base=url, version="", url="", params=params) as websocket:
            both = {asyncio.create_task(_out(reader, websocket)), asyncio.create_task(_in(websocket, writer))}
            try:
                ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.wait(both)
            for task in ended:
                task.result()


async def _out(reader: asyncio.StreamReader, websocket: Any) -> None:
    while piece := await reader.read(PIECE):
        await websocket.send_bytes(b"\0" + piece)  # channel 0 is the data


async def _in(websocket: Any, writer: asyncio.StreamWriter) -> None:
    """Each message begins with its channel, 0 for data and 1 for errors; the first one of each holds the port's number."""
    begun = set()
    while True:
        message = await websocket.receive_bytes()
        channel, content = message[0], message[1:]
        if channel not in begun:
            begun.add(channel)
        elif channel == 1:
            raise ConnectionError(content.decode(errors="replace"))
        else:
            writer.write(content)
            await writer.drain()
