"""The caretaker, asked by Dask's operator: no result is lost, nobody is removed who is wanted, no cluster outlives its need."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from attended import GATES, gate, hurry, work

from clusterhub_backends.kubernetes import caretaker as module
from clusterhub_backends.kubernetes.sight import LIFE

from .cared import Cared, cared, eventually


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cared]:
    async with cared(monkeypatch) as made:
        yield made


async def busy(cluster: Cared, *names: str) -> list[Any]:
    """A task that runs on each of these workers, until the gate of its name opens."""
    client = await cluster.client()
    for name in names:
        gate(name)
    running = [client.submit(work, name, workers=[name], pure=False) for name in names]
    await eventually(lambda: sum(len(ws.processing) for ws in cluster.scheduler.workers.values()) == len(names))
    return running


def free(*names: str) -> None:
    for name in names:
        GATES.pop(name).set()


# Whom the operator may remove


async def test_the_operator_removes_who_has_gone_and_no_result_with_him(cluster: Cared):
    cluster.care(asked=[3, 3])
    await cluster.start("a", "b", "c")
    client = await cluster.client()
    results = client.map(lambda n: n * n, range(20), pure=False)
    assert sum(await client.gather(results)) == 2470
    await cluster.caretaker.aim(1, 1)
    removed = await cluster.retire(2)
    assert len(removed) == 2
    assert sorted([*removed, *cluster.names]) == ["a", "b", "c"]
    assert sum(await client.gather(results)) == 2470
    assert {future.status for future in results} == {"finished"}


async def test_nobody_is_removed_who_is_wanted_whoever_asks(cluster: Cared):
    cluster.care(asked=[2, 2])
    await cluster.start("a", "b")
    assert await cluster.retire(2) == []
    for order in (json.dumps({"n": 99}), json.dumps({"n": True}), json.dumps({"n": -1}), json.dumps({"n": "2"}), "{}"):
        assert await cluster.post(order) == (200, {})
    assert cluster.names == ["a", "b"]


async def test_a_running_task_ends_before_the_operator_has_its_answer(cluster: Cared):
    cluster.care(asked=[2, 2])
    await cluster.start("a", "b")
    running = await busy(cluster, "a", "b")
    await cluster.caretaker.aim(0, 0)
    answer = asyncio.ensure_future(cluster.retire(2))
    await asyncio.sleep(0.3)
    assert not answer.done()
    assert cluster.names == ["a", "b"]
    assert set((await cluster.stays()).values()) == {"leaves when its running tasks have ended"}
    free("a", "b")
    await eventually(lambda: all(future.done() for future in running))
    for future in running:
        future.release()  # nobody needs the results, which nobody could take
    assert sorted(await answer) == ["a", "b"]


async def test_who_is_idle_goes_and_who_works_stays(cluster: Cared):
    cluster.care(asked=[2, 2])
    await cluster.start("a", "b")
    (running,) = await busy(cluster, "a")
    await cluster.caretaker.aim(1, 1)
    assert await cluster.retire(1) == ["b"]
    free("a")
    assert await running == "a"


async def test_who_was_to_go_and_is_wanted_again_stays_and_the_order_is_over(cluster: Cared):
    cluster.care(asked=[2, 2])
    await cluster.start("a", "b")
    running = await busy(cluster, "a", "b")
    await cluster.caretaker.aim(1, 1)
    answer = asyncio.ensure_future(cluster.retire(1))
    await eventually(lambda: cluster.caretaker.facts() == {"leaving": 1})
    await cluster.caretaker.aim(2, 2)
    assert await answer == []
    free("a", "b")
    assert [await future for future in running] == ["a", "b"]
    assert set((await cluster.stays()).values()) == {""}


async def test_where_nobody_can_go_in_time_the_operator_gets_no_answer_and_removes_nobody(cluster: Cared, monkeypatch):
    """Of an answer that is an error it would remove the newest, with their results."""
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.4)
    cluster.care(asked=[1, 1])
    await cluster.start("a")
    client = await cluster.client()
    kept = client.submit(sum, [1, 2])
    assert await kept == 3
    await cluster.caretaker.aim(0, 0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await cluster.retire(1)
    assert await kept == 3
    assert cluster.names == ["a"]


async def test_an_order_that_nobody_can_read_gets_no_answer(cluster: Cared):
    cluster.care(asked=[0, 0])
    await cluster.start("a")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await cluster.post("retire them all")
    assert cluster.names == ["a"]


async def test_of_two_orders_at_once_the_second_finds_what_the_first_has_left(cluster: Cared):
    cluster.care(asked=[1, 1])
    await cluster.start("a", "b", "c")
    first, second = await asyncio.gather(cluster.retire(2), cluster.retire(2))
    assert len(first) + len(second) == 2
    assert len(cluster.names) == 1


async def test_within_a_range_only_those_go_that_the_load_does_not_need(cluster: Cared):
    cluster.care(asked=[0, 4])
    await cluster.start("a", "b")
    client = await cluster.client()
    gate("load")
    running = client.map(work, ["load"] * 2, pure=False)
    await eventually(lambda: sum(len(ws.processing) for ws in cluster.scheduler.workers.values()) == 2)
    assert await cluster.wanted() == 2
    assert await cluster.retire(1) == []
    free("load")
    await client.gather(running)
    await client.cancel(running)
    await eventually(lambda: cluster.caretaker.wanted() == 0)
    assert await cluster.retire(1) in (["a"], ["b"])


# How many are of use


async def test_the_operator_adapts_to_the_work_at_hand(cluster: Cared):
    cluster.care(asked=[0, 9])
    assert await cluster.wanted() == 0
    client = await cluster.client()
    waiting = client.map(lambda n: n, range(5), pure=False)
    await eventually(lambda: cluster.scheduler.unrunnable or cluster.scheduler.queued)
    assert await cluster.wanted() > 0
    await client.cancel(waiting)


# Its end


async def test_the_operator_ends_it_when_it_was_idle_for_too_long_and_not_before(cluster: Cared):
    cluster.care(idle_timeout=600.0)
    await asyncio.sleep(0.3)  # in which it looks
    assert await cluster.idle_since() == 0
    await cluster.caretaker.remember(idle_timeout=0.5)
    await eventually(lambda: cluster.caretaker.idle_since())
    assert await cluster.idle_since() + 10**9 < time.time(), "whatever spec.idleTimeout says, that is longer ago"


async def test_one_whose_maker_has_gone_is_ended_and_one_that_is_kept_is_not(cluster: Cared):
    caretaker = cluster.care(kept=True)
    held = await cluster.hold()
    held.drop()
    await asyncio.sleep(0.6)
    assert await cluster.idle_since() == 0
    await caretaker.remember(kept=False)
    await eventually(lambda: caretaker.idle_since())


async def test_while_the_api_server_is_away_nobody_is_taken_for_gone(cluster: Cared, monkeypatch, unused_tcp_port):
    """Ports are forwarded through it."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(unused_tcp_port))
    caretaker = cluster.care(kept=False)
    await asyncio.sleep(0.8)
    assert caretaker.idle_since() == 0

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(welcome, "127.0.0.1", unused_tcp_port):
        await eventually(lambda: caretaker.idle_since())


async def test_whoever_is_on_the_line_hears_why_it_ends(cluster: Cared):
    caretaker = cluster.care()
    held = await cluster.hold()
    await caretaker.remember(max_age=0.4)
    await eventually(lambda: held.heard)
    assert held.heard == [{"ends": "it reached its age of 0 s"}]


# How it fares


async def test_whoever_lists_clusters_is_told_how_it_fares(cluster: Cared):
    cluster.care(idle_timeout=600.0)
    await cluster.start("a", "b")
    await eventually(lambda: cluster.caretaker.life()["idle_for"] is not None)
    life = await cluster.get(LIFE)
    assert life["connected"] == 2
    assert 0 <= life["idle_for"] < 60
    assert 500 < life["ends_in"] <= 600
