"""`connect` with a name where clusters live elsewhere: the one that lives is taken, or one is started, and never two."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from simulated_queue import SimulatedBackend, cluster_of
from simulated_queue.system import LIVING

import clusterhub
from clusterhub import keeper
from clusterhub.errors import ClusterGone, ClusterhubError, ConfigError, SubmitRejected, WaitTimeout
from clusterhub.keeper.records import Store

from .conftest import SHAPE, connect, living, made_without_clusterhub

# What lives is taken


def test_a_living_cluster_of_that_name_is_taken_and_told_the_target():
    with connect(name="eddies") as first, connect(name="eddies", workers=2) as second:
        assert second.scheduler_address == first.scheduler_address
        assert first.report().target.minimum == 2
        with clusterhub.connect("simulated", name="eddies", **SHAPE) as third:
            assert third.report().target.minimum == 2, "who says no number changes none"
    assert living() == []


def test_it_ends_when_the_last_of_its_holders_closes_it():
    first, second = connect(name="eddies"), connect(name="eddies")
    first.close()
    assert second.report().name == "eddies"
    second.close()
    assert living() == []


def test_an_unnamed_cluster_ends_when_it_is_closed():
    with connect() as cluster:
        assert living() == [cluster.name]
        plan = cluster_of(cluster).plan
        assert (plan.named, plan.kept, plan.profile) == (False, False, "simulated")
    assert living() == []


def test_a_kept_one_survives_its_closing_with_a_name_or_without():
    for name in ("eddies", None):
        with connect(name=name, keep=True) as cluster:
            assert cluster.kept
            plan = cluster_of(cluster).plan
            assert (plan.named, plan.kept) == (name is not None, True)
        assert living() == [cluster.name]
        clusterhub.attach(cluster.name).shutdown()
        assert living() == []


def test_a_living_one_is_kept_from_now_on_if_that_is_asked():
    with connect(name="eddies") as first:
        assert not first.kept
        connect(name="eddies", keep=True).close()
        assert first.kept
    assert living() == ["eddies"]
    clusterhub.attach("eddies").shutdown()


def test_a_detached_one_is_left_running():
    connect().detach()
    (name,) = living()
    assert clusterhub.attach(name).kept
    clusterhub.attach(name).shutdown()
    assert living() == []


def test_another_shape_is_refused_with_both_values():
    with connect(name="eddies") as cluster:
        with pytest.raises(ConfigError, match="worker.memory = 1 GiB: eddies has 512 MiB; clusterhub.attach"):
            connect(name="eddies", worker={"cores": 1, "memory": "1 GiB"}, workers=9)
        assert cluster.report().target.minimum == 0, "who was refused has told it nothing"
    assert living() == []


def test_another_profile_in_the_same_system_is_refused(config):
    config("hub: {backend: simulated, worker: {cores: 1, memory: 512 MiB}}\n")
    with connect(name="eddies"), pytest.raises(ConfigError, match="eddies runs on simulated; clusterhub.attach"):
        connect("hub", name="eddies")


def test_one_that_was_made_without_clusterhub_is_not_taken_for_ours():
    made_without_clusterhub("eddies")
    with pytest.raises(ConfigError, match="eddies was made on simulated without clusterhub"):
        connect(name="eddies")


def test_the_same_name_in_another_system_is_another_cluster(sites):
    with connect("near", name="eddies") as near, connect("far", name="eddies") as far:
        assert near.scheduler_address != far.scheduler_address
    assert living() == []


def test_a_name_that_a_cluster_in_this_home_has_is_refused():
    with (
        clusterhub.connect("local", name="eddies", workers=0, local={"dashboard": False}),
        pytest.raises(ConfigError, match="eddies runs on local"),
    ):
        connect(name="eddies")
    assert living() == []


# Never two of a name


def test_of_many_who_ask_at_once_one_starts_it():
    with ThreadPoolExecutor(20) as threads:
        clusters = list(threads.map(lambda _: connect(name="eddies"), range(20)))
    assert living() == ["eddies"]
    assert len({cluster.scheduler_address for cluster in clusters}) == 1
    for cluster in clusters:
        assert living() == ["eddies"]
        cluster.close()
    assert living() == []


async def test_whoever_waits_for_another_to_start_it_holds_up_nothing(monkeypatch):
    go, start = asyncio.Event(), SimulatedBackend.start

    async def slow(self, plan):
        await go.wait()
        return await start(self, plan)

    monkeypatch.setattr(SimulatedBackend, "start", slow)
    first, second = (clusterhub.aio.connect("simulated", name="eddies", workers=0, **SHAPE) for _ in range(2))
    both = asyncio.gather(first, second)
    for _ in range(30):
        await asyncio.sleep(0.01)  # the loop goes on
    assert not both.done()
    go.set()
    await both
    assert living() == ["eddies"]
    await asyncio.gather(first.close(), second.close())
    assert living() == []


async def test_one_who_waits_and_is_cancelled_leaves_the_name_free(monkeypatch):
    with Store.here().locked("eddies", 1):
        for patience in (0.0, 0.05, 0.3):
            cluster = clusterhub.aio.connect("simulated", name="eddies", workers=0, **SHAPE)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(cluster, patience)
    async with clusterhub.aio.connect("simulated", name="eddies", workers=0, **SHAPE):
        assert living() == ["eddies"]


def test_who_waits_is_told_for_whom_and_does_not_wait_for_ever(monkeypatch, capsys):
    clock = count(0.0, 100.0)  # each look at it comes 100 s after the one before
    monkeypatch.setattr("clusterhub.keeper.turns.time", SimpleNamespace(monotonic=lambda: next(clock)))
    refusal = "is being started or ended by process .*, for longer than 300 s"
    with Store.here().locked("eddies", 1), pytest.raises(WaitTimeout, match=refusal):
        connect(name="eddies")
    assert "eddies: waits for process" in capsys.readouterr().err


def test_a_start_that_fails_frees_the_name():
    rejected = {"fault": "rejects"}

    async def refuses(self, plan):
        raise SubmitRejected("the queue refused it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedBackend, "start", refuses)
        with pytest.raises(SubmitRejected):
            connect(name="eddies", simulated=rejected)
    with connect(name="eddies"):
        assert living() == ["eddies"]


async def test_a_start_that_is_cancelled_leaves_nothing_and_frees_the_name():
    for patience in (0.0, 0.02, 0.2):
        cluster = clusterhub.aio.connect("simulated", name="eddies", workers=0, **SHAPE)
        with suppress(TimeoutError):  # the last may be quick enough
            async with asyncio.timeout(patience):
                await cluster
        await cluster.close()
        assert living() == []


def test_one_that_ends_while_it_is_attached_to_is_started_anew(monkeypatch):
    attach = SimulatedBackend.attach
    old = connect(name="eddies", keep=True)

    async def late(self, ref, options):
        if old.status.name == "running":
            await asyncio.to_thread(old.shutdown)
        return await attach(self, ref, options)

    monkeypatch.setattr(SimulatedBackend, "attach", late)
    with connect(name="eddies") as new:
        assert new.report().name == "eddies"
        assert len(LIVING) == 1


def test_a_system_that_does_not_answer_is_no_reason_to_start_another(monkeypatch):
    async def silent(self, options):
        await asyncio.sleep(60)

    monkeypatch.setattr("clusterhub.api.elsewhere.ANSWER_PATIENCE", 0.2)
    monkeypatch.setattr(SimulatedBackend, "discover", silent)
    with pytest.raises(ClusterhubError, match="simulated did not tell .* whether a cluster eddies lives there"):
        connect(name="eddies")
    assert LIVING == {}


def silenced(monkeypatch, reason="its scheduler does not answer"):
    """Nobody can be asked what they are; their system has their own names only."""
    discover = SimulatedBackend.discover

    async def mute(self, options):
        return [
            replace(
                sighting, ref=sighting.ref.model_copy(update={"name": sighting.own_name}), profile="", silent=True,
                reason=reason,
            )
            for sighting in await discover(self, options)
        ]  # fmt: skip

    monkeypatch.setattr(SimulatedBackend, "discover", mute)


def test_one_that_cannot_be_asked_for_its_name_is_no_reason_to_start_another(monkeypatch):
    with connect(name="eddies") as eddies:
        own = cluster_of(eddies).id
        with monkeypatch.context() as patch:
            silenced(patch)
            with pytest.raises(ClusterGone) as refused:
                connect(name="eddies")
            assert len(LIVING) == 1
            with pytest.raises(
                ClusterhubError, match=f"cluster {own} on .* may be eddies: .* nobody else knows"
            ) as lost:
                clusterhub.attach("eddies")
            assert not isinstance(lost.value, ConfigError)
        assert str(refused.value) == (
            f"cluster {own} on simulated (site here) does not answer, and may be eddies: its scheduler does not answer;"
            f" try again, or clusterhub down {own}"
        )
        assert not refused.value.final
        with connect(name="eddies") as again:
            assert again.scheduler_address == eddies.scheduler_address
        with monkeypatch.context() as patch:
            silenced(patch)
            connect().close()  # without a name there is nothing to be taken for
    assert living() == []


def test_one_that_was_made_without_clusterhub_keeps_no_name_from_being_used():
    made_without_clusterhub()
    with connect(name="eddies"):
        assert len(LIVING) == 2


# No keeper


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("hub", {}),
        ("simulated", {}),
        (None, {"backend": "simulated"}),
        (clusterhub.ClusterSpec(backend="simulated"), {}),
    ],
)
def test_no_keeper_is_started_for_what_needs_none(config, monkeypatch, profile, said):
    def started(name):
        raise AssertionError("a keeper was started")

    config("hub: {backend: simulated}\n")
    monkeypatch.setattr(keeper, "in_advance", started)
    with clusterhub.connect(profile, name="eddies", workers=0, **said):
        assert living() == ["eddies"]
