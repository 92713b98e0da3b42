"""The caretaker, in a real scheduler with dask-gateway's own service: the number that was asked for, and no result is lost."""

from __future__ import annotations

import ast
import asyncio
import inspect
import time

import pytest
from attended import gate, work
from distributed import get_worker

from clusterhub._dask import caretaker as everywhere
from clusterhub._dask.caretaker import ORDER, VERSION, install, recall
from clusterhub.parts import SchedulerLink
from clusterhub_backends.gateway import caretaker as module
from clusterhub_backends.gateway.caretaker import GatewayCaretaker

from .cared import Cared, cared, eventually, looked

# What it needs of dask-gateway


def test_all_that_it_uses_of_dask_gateways_service_is_there(cluster: Cared):
    """``dask_gateway/scheduler_preload.py``: a version that renames any of it fails here."""
    used = attributes_of("_service", "service")
    assert used >= {
        "count",
        "active_workers",
        "closing_workers",
        "waiter",
        "scale",
        "adapt",
        "heartbeat",
        "gateway",
        "adapt_task",
    }
    assert {name for name in used if not hasattr(cluster.service, name)} == set()


def test_all_that_it_uses_of_the_service_s_line_to_the_server_is_there():
    from dask_gateway.scheduler_preload import GatewayClient, Waiter

    used = attributes_of("gateway")
    assert used >= {"shutdown", "api_url"}
    client = GatewayClient("c1", "token", "http://gateway/api")
    assert {name for name in used if not hasattr(client, name)} == set()
    assert inspect.iscoroutinefunction(Waiter.interrupt)


def attributes_of(*names: str) -> set[str]:
    """The attributes of objects of these names that the module uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute)
        and ((isinstance(node.value, ast.Attribute) and node.value.attr in names)
             or (isinstance(node.value, ast.Name) and node.value.id in names))
    }  # fmt: skip


# Being there


async def test_a_scheduler_has_one_caretaker_and_that_remembers_what_the_first_was_told(cluster: Cared):
    assert recall(cluster.scheduler) is None
    first = cluster.care(asked=[3, 3])
    again = install(cluster.scheduler, GatewayCaretaker, {"asked": [9, 9]})
    assert again == {"version": VERSION, "memory": first.memory}
    recalled = recall(cluster.scheduler)
    assert recalled is not None
    assert {key: recalled[key] for key in first.memory} == first.memory
    assert first.memory["asked"] == [3, 3]


async def test_it_is_told_and_asked_by_a_handler_of_the_scheduler(cluster: Cared):
    cluster.care()
    link = SchedulerLink(cluster.scheduler.address, None)
    try:
        await link.ask(ORDER, call={"do": "aim", "with": {"minimum": 2, "maximum": 2}})
        await link.ask(ORDER, call={"do": "remember", "with": {"limit": 8, "kept": True}})
        told = await link.ask(ORDER, call={"do": "observe", "with": {}})
    finally:
        await link.close()
    assert (list(told["asked"]), told["count"], told["limit"], told["kept"]) == ([2, 2], 2, 8, True)


async def test_what_it_tells_is_what_is_there(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(1, 1)
    (worker,) = await cluster.start("a")
    told = await cluster.caretaker.observe()
    assert told["workers"] == {worker.address: {"name": "a", "host": "127.0.0.1", "stays": ""}}
    assert told["count"] == 1
    assert told["range"] is None


# The target


async def test_a_target_is_the_number_that_the_gateway_is_told(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(3, 3)
    await eventually(lambda: 3 in cluster.gateway.counts)
    assert cluster.caretaker.memory["asked"] == [3, 3]


async def test_a_range_is_the_gateway_s_own_adaptation_and_the_last_word_wins(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(1, 4)
    told = await cluster.caretaker.observe()
    assert told["range"] == [1, 4]
    await eventually(lambda: cluster.service.count == 1)
    await cluster.caretaker.aim(2, 2)
    told = await cluster.caretaker.observe()
    assert (told["range"], told["count"]) == (None, 2)


@pytest.mark.parametrize("turns", range(8))
async def test_a_number_is_taken_also_where_the_gateway_adapts_in_that_very_moment(cluster: Cared, turns: int):
    """dask-gateway waited for ever: its adaptation, told to end while it wakes the heart, goes on."""
    cluster.care()
    await eventually(lambda: cluster.service.waiter.task is not None)
    await cluster.service.adapt(minimum=3, maximum=4)
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(20) as limit:
        await cluster.caretaker.aim(2, 2)
    assert not limit.expired(), "and only this one's own end helped"
    told = await cluster.caretaker.observe()
    assert (told["range"], told["count"]) == (None, 2)


async def test_what_the_server_was_told_by_others_is_only_remembered(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(9, 9, tell=False)
    assert (cluster.caretaker.memory["asked"], cluster.service.count) == ([9, 9], 0)


# Leaving


async def test_a_worker_that_leaves_takes_no_result_with_it(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    client = await cluster.client()
    results = client.map(lambda n: n * n, range(20), pure=False)
    assert sum(await client.gather(results)) == 2470
    await cluster.caretaker.aim(1, 1)
    await eventually(lambda: len(cluster.names) == 1)
    assert sum(await client.gather(results)) == 2470
    assert not any(future.status != "finished" for future in results)


async def test_who_is_idle_leaves_first(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    client = await cluster.client()
    gate("first")
    running = client.submit(work, "first", workers=["a"], allow_other_workers=False)
    await eventually(lambda: any(ws.processing for ws in cluster.scheduler.workers.values()))
    await cluster.caretaker.aim(1, 1)
    await eventually(lambda: cluster.names == ["a"])
    gate("first").set()
    assert await running == "a"


async def test_a_running_task_ends_before_its_worker_leaves_and_nothing_new_is_given_to_it(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    client = await cluster.client()
    runs = [f"run {name}" for name in "ab"]
    for run in runs:
        gate(run)
    running = [client.submit(work, run, workers=[run[-1]]) for run in runs]
    await eventually(lambda: all(ws.processing for ws in cluster.scheduler.workers.values()))
    await cluster.caretaker.aim(1, 1)
    await looked()
    assert cluster.names == ["a", "b"], "both work"
    stays = await cluster.stays()
    (leaving,) = [name for name, why in stays.items() if why]
    assert stays[leaving] == "leaves when its running tasks have ended"
    gate(f"run {'a' if leaving == 'b' else 'b'}").set()  # the other one is free now
    later = client.map(lambda n: str(get_worker().name), range(8), pure=False)
    assert set(await client.gather(later)) == {"a", "b"} - {leaving}
    assert leaving in cluster.names
    gate(f"run {leaving}").set()
    assert sorted(await client.gather(running)) == ["a", "b"]
    await eventually(lambda: leaving not in cluster.names)


async def test_a_task_that_does_not_end_starts_again_elsewhere_after_its_patience(
    cluster: Cared, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(everywhere, "DRAIN_PATIENCE", 0.2)
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    client = await cluster.client()
    gate("long")
    running = [
        client.submit(work, "long", key=f"long-{name}", workers=[name], allow_other_workers=True) for name in "ab"
    ]
    await eventually(lambda: all(ws.processing for ws in cluster.scheduler.workers.values()))
    await cluster.caretaker.aim(1, 1)
    await eventually(lambda: len(cluster.names) == 1)
    gate("long").set()
    assert set(await client.gather(running)) == set(cluster.names)


async def test_results_that_nobody_else_can_take_stay_and_are_told(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(1, 1)
    await cluster.start("a")
    client = await cluster.client()
    result = client.submit(lambda: 42)
    assert await result == 42
    await cluster.caretaker.aim(0, 0)
    await looked()
    assert await cluster.stays() == {"a": "is to leave, and stays: it holds results that no other worker could take"}
    assert await result == 42
    result.release()
    await eventually(lambda: cluster.names == [])


async def test_results_that_stayed_leave_as_soon_as_somebody_can_take_them(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(1, 1)
    await cluster.start("a")
    client = await cluster.client()
    result = client.submit(lambda: 42)
    assert await result == 42
    await cluster.caretaker.aim(0, 0)
    await looked()
    await cluster.caretaker.aim(1, 1)
    await cluster.start("b")  # which is one too many
    await eventually(lambda: len(cluster.names) == 1)
    assert await result == 42


async def test_who_was_to_leave_works_again_when_more_are_wanted(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    client = await cluster.client()
    for run in ("stay a", "stay b"):
        gate(run)
    running = [client.submit(work, f"stay {name}", workers=[name]) for name in "ab"]
    await eventually(lambda: all(ws.processing for ws in cluster.scheduler.workers.values()))
    await cluster.caretaker.aim(1, 1)
    await looked()
    assert any((await cluster.stays()).values())
    await cluster.caretaker.aim(2, 2)
    assert not any((await cluster.stays()).values())
    assert {ws.status.name for ws in cluster.scheduler.workers.values()} == {"running"}
    for run in ("stay a", "stay b"):
        gate(run).set()
    assert sorted(await client.gather(running)) == ["a", "b"]
    where = client.map(lambda n: (time.sleep(0.02), str(get_worker().name))[1], range(20), pure=False)
    assert set(await client.gather(where)) == {"a", "b"}


async def test_the_server_is_told_who_leaves_before_it_has_left(cluster: Cared):
    """So it counts on their end, and does not take it for a failure."""
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    await cluster.caretaker.aim(1, 1)
    await eventually(lambda: len(cluster.names) == 1)
    told = [message["closing_workers"] for message in cluster.gateway.heartbeats if message["closing_workers"]]
    assert told
    assert set(told[0]) == {"a", "b"} - set(cluster.names)


async def test_a_worker_that_was_sent_off_while_more_were_asked_for_is_made_good(cluster: Cared):
    """The server expects its end, and starts none in its place until it hears another number (its db_base.py)."""
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    await cluster.start("a", "b")
    cluster.gateway.may_close.clear()
    await cluster.caretaker.aim(1, 1)
    await eventually(lambda: any(message["closing_workers"] for message in cluster.gateway.heartbeats))
    await cluster.caretaker.aim(2, 2)
    before = len(cluster.gateway.heartbeats)
    cluster.gateway.may_close.set()
    await eventually(lambda: len(cluster.names) == 1)
    await eventually(lambda: [message["count"] for message in cluster.gateway.heartbeats[before:]][-2:] == [1, 2])
    assert cluster.service.count == 2


async def test_a_worker_that_dies_needs_no_making_good(cluster: Cared):
    cluster.care()
    await cluster.caretaker.aim(2, 2)
    workers = await cluster.start("a", "b")
    await workers[0].close()
    await eventually(lambda: cluster.names == ["b"])
    await looked()
    assert cluster.gateway.counts[-1] == 2
    assert 1 not in cluster.gateway.counts


# What it tells those on the line


async def test_that_a_worker_ever_came_is_told_to_who_was_there_and_to_who_comes_later(cluster: Cared):
    caretaker = cluster.care()
    ann = await cluster.hold("ann")
    assert ann.heard == []
    await caretaker.aim(1, 1)
    (worker,) = await cluster.start("a")
    await eventually(lambda: ann.heard == [{"came": True}])
    await worker.close()
    ben = await cluster.hold("ben")
    await eventually(lambda: ben.heard == [{"came": True}])
    assert caretaker.memory["came"]


async def test_who_hangs_up_in_mid_sentence_disturbs_nobody(cluster: Cared):
    cluster.care()
    ann, ben = await cluster.hold("ann"), await cluster.hold("ben")
    ann.drop()
    await cluster.caretaker.aim(1, 1)
    await cluster.start("a")
    await eventually(lambda: ben.heard == [{"came": True}])
    await eventually(lambda: len(cluster.caretaker._watchers) == 1)


async def test_its_task_ends_with_the_scheduler(impatient: None):
    async with cared() as cluster:
        caretaker = cluster.care()
    assert caretaker._task is not None
    await eventually(lambda: caretaker._task is not None and caretaker._task.done())


# How it fares


async def test_how_it_fares_is_told_in_seconds_until_the_first_of_its_ends(cluster: Cared):
    caretaker = cluster.care(max_age=1000.0, idle_timeout=600.0)
    await eventually(lambda: caretaker.life()["idle_for"] is not None)
    life = caretaker.life()
    assert life["connected"] == 0
    assert 0 <= life["idle_for"] < 60
    assert 500 < life["ends_in"] <= 600, "sooner by its idle timeout than by its age"


async def test_while_it_works_only_its_age_ends_it(cluster: Cared):
    caretaker = cluster.care(max_age=1000.0, idle_timeout=600.0)
    await caretaker.aim(1, 1)
    await cluster.start("a")
    client = await cluster.client()
    gate("faring")
    running = client.submit(work, "faring")
    await eventually(lambda: any(ws.processing for ws in cluster.scheduler.workers.values()))
    life = caretaker.life()
    assert (life["connected"], life["idle_for"]) == (1, None)
    assert 900 < life["ends_in"] <= 1000
    gate("faring").set()
    assert await running == "a"


async def test_a_kept_one_without_limits_has_no_end_in_sight_and_one_that_is_held_neither(cluster: Cared):
    caretaker = cluster.care()
    assert caretaker.life()["ends_in"] is None
    held = await cluster.hold()
    caretaker.memory["kept"] = False
    caretaker.memory["named"] = True
    assert caretaker.life()["ends_in"] is None
    held.drop()
    await eventually(lambda: caretaker.life()["ends_in"] is not None)
    assert 500 < caretaker.life()["ends_in"] <= 600, "it lingers"


async def test_all_that_it_remembers_is_plain_data(cluster: Cared):
    import json

    cluster.care()
    recalled = recall(cluster.scheduler)
    assert recalled is not None
    assert json.loads(json.dumps(recalled)) == recalled
