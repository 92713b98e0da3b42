"""The caretaker, in a real scheduler with dask-gateway's own service: no cluster outlives its need."""

from __future__ import annotations

import time

import pytest
from attended import Held, gate, work
from tornado.httpclient import HTTPClientError

from clusterhub._dask import caretaker as everywhere

from .cared import Cared, eventually, looked

# Being needed


async def held(cluster: Cared, *tokens: str) -> list[Held]:
    """Those who hold it, and are not missed before they do: on a slow machine, that takes longer than a caretaker waits here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(everywhere, "GRACE", 600.0)
        cluster.care(kept=False)
        return [await cluster.hold(token) for token in tokens]


async def test_a_cluster_ends_soon_after_whoever_made_it(cluster: Cared):
    (ann,) = await held(cluster, "ann")
    await looked(10)
    assert not cluster.gateway.ended
    ann.drop()
    await eventually(lambda: cluster.gateway.ended)


async def test_one_that_nobody_ever_held_ends_too(cluster: Cared):
    """Whoever made it was killed before they could say that they hold it."""
    cluster.care(kept=False)
    await eventually(lambda: cluster.gateway.ended)


async def test_it_lives_as_long_as_the_last_of_its_holders(cluster: Cared):
    ann, ben = await held(cluster, "ann", "ben")
    ann.drop()
    await looked(10)
    assert not cluster.gateway.ended
    ben.drop()
    await eventually(lambda: cluster.gateway.ended)


async def test_who_only_looks_holds_nothing(cluster: Cared):
    cluster.care(kept=False)
    await cluster.hold("ann", holds=False)
    await eventually(lambda: cluster.gateway.ended)


async def test_who_is_back_in_time_still_holds_it(cluster: Cared, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(everywhere, "GRACE", 600.0)
    caretaker = cluster.care(kept=False)
    ann = await cluster.hold()
    ann.drop()
    await eventually(lambda: not caretaker._holders)
    await cluster.hold()
    monkeypatch.setattr(everywhere, "GRACE", 0.0)
    await looked(10)
    assert not cluster.gateway.ended


async def test_a_second_line_of_the_same_holder_is_not_ended_by_the_end_of_the_first(cluster: Cared):
    (first,) = await held(cluster, "ann")
    line = cluster.caretaker._holders["ann"]
    await cluster.hold("ann")
    await eventually(lambda: cluster.caretaker._holders["ann"] is not line)
    first.drop()
    await looked(10)
    assert not cluster.gateway.ended


async def test_a_named_one_lingers(cluster: Cared):
    cluster.care(kept=False, named=True, linger=600.0)
    ann = await cluster.hold()
    ann.drop()
    await looked(15)
    assert not cluster.gateway.ended
    await cluster.caretaker.remember(linger=0.1)
    await eventually(lambda: cluster.gateway.ended)


async def test_a_kept_one_lives_on(cluster: Cared):
    cluster.care()
    ann = await cluster.hold()
    ann.drop()
    await looked(15)
    assert not cluster.gateway.ended
    await cluster.caretaker.remember(kept=False)
    await eventually(lambda: cluster.gateway.ended)


async def test_who_releases_it_is_told_whether_anybody_needs_it_still(cluster: Cared):
    await held(cluster, "ann", "ben")
    assert not await cluster.caretaker.release("ann")
    assert await cluster.caretaker.release("ben")
    assert await cluster.caretaker.release("ben"), "said twice, as after an answer that was lost"
    await cluster.caretaker.remember(kept=True)
    assert not await cluster.caretaker.release("ben")


async def test_while_the_gateway_is_away_nobody_can_be_missed(cluster: Cared):
    cluster.gateway.healthy = False
    cluster.care(kept=False)
    ann = await cluster.hold()
    ann.drop()
    await looked(15)
    assert cluster.gateway.attempts == 0, "they may be there, and cannot be heard"
    cluster.gateway.healthy = True
    back = time.monotonic()
    await eventually(lambda: cluster.gateway.ended)
    assert time.monotonic() - back >= 0.3, "from then on they had their time"


# Its end by the clock


async def test_an_idle_one_ends_and_says_why_to_all_who_are_on_the_line(cluster: Cared):
    caretaker = cluster.care()
    ann, ben = await cluster.hold("ann"), await cluster.hold("ben", holds=False)
    await eventually(lambda: len(caretaker._watchers) == 2)
    await caretaker.remember(idle_timeout=0.3)  # it has been idle since before they came
    await eventually(lambda: cluster.gateway.ended)
    for line in (ann, ben):
        await eventually(lambda line=line: {"ends": "it was idle for 0 s"} in line.heard)


async def test_one_that_works_is_not_idle(cluster: Cared):
    caretaker = cluster.care()
    await caretaker.aim(1, 1)
    await cluster.start("a")
    client = await cluster.client()
    gate("busy")
    running = client.submit(work, "busy")
    await eventually(lambda: any(ws.processing for ws in cluster.scheduler.workers.values()))
    await caretaker.remember(idle_timeout=0.1)
    await looked(10)
    assert not cluster.gateway.ended
    gate("busy").set()
    assert await running == "a"
    await eventually(lambda: cluster.gateway.ended)


async def test_an_old_one_ends_whatever_it_does(cluster: Cared):
    caretaker = cluster.care(max_age=3600.0)
    ann = await cluster.hold()
    await caretaker.remember(created=time.time() - 3599.5)
    await eventually(lambda: cluster.gateway.ended)
    await eventually(lambda: {"ends": "it reached its age of 3600 s"} in ann.heard)


async def test_one_that_nobody_limits_lives_on(cluster: Cared):
    cluster.care(created=0.0)
    await looked(15)
    assert not cluster.gateway.ended


# Ending


async def test_an_end_that_fails_is_tried_again(cluster: Cared):
    cluster.gateway.failures = [HTTPClientError(500), ConnectionRefusedError()]
    cluster.care(kept=False)
    await eventually(lambda: cluster.gateway.ended)
    assert cluster.gateway.attempts == 3


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_a_gateway_that_has_forgotten_the_cluster_leaves_no_orphan(cluster: Cared, code: int):
    """Started anew without a database, it knows neither the cluster nor its token."""
    cluster.gateway.failures = [HTTPClientError(code)]
    cluster.care(kept=False)
    await eventually(lambda: cluster.scheduler.status.name in ("closing", "closed"))
    assert not cluster.gateway.ended


async def test_it_stumbles_and_goes_on(
    cluster: Cared, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caretaker = cluster.care(kept=False)
    failing = [RuntimeError("stumble")]

    async def stumbles() -> None:
        if failing:
            raise failing.pop()

    monkeypatch.setattr(caretaker, "look_at_leaving", stumbles)
    await eventually(lambda: cluster.gateway.ended)
    assert "the caretaker stumbled" in caplog.text
