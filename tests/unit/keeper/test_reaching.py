"""The address of a scheduler is found by trial: all at once, the first that answers."""

from __future__ import annotations

import asyncio
import socket

from clusterhub.keeper.reaching import first_to_answer, is_loopback


async def answering():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def refusing():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tls://127.0.0.1:{free.getsockname()[1]}"


async def test_the_one_that_answers_is_taken():
    server, address = await answering()
    async with server:
        assert await first_to_answer([refusing(), address, "tls://no.such.host.invalid:1"], 20.0) == address


def test_a_loopback_is_known_by_its_address():
    own = ["tls://127.0.0.1:7", "tcp://[::1]:7", "tls://127.3.2.1:7"]
    assert [is_loopback(address) for address in [*own, "tls://10.0.0.1:7", "tls://n1:7"]] == [True] * 3 + [False] * 2


async def test_where_none_answers_there_is_none():
    assert await first_to_answer([refusing(), refusing()], 20.0) == ""


async def test_one_that_drops_without_a_word_keeps_nobody_waiting_for_long():
    silent = socket.socket()  # listens, and takes nobody once its queue is full
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(silent.getsockname())
    try:
        full = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        assert await first_to_answer([full], 0.5) == ""
        server, address = await answering()
        async with server:
            assert await first_to_answer([full, address], 20.0) == address
    finally:
        for each in (silent, *fillers):
            each.close()
