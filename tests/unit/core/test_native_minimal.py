"""A deployment on cluster objects that know as little as can be: ``scale(n)``, an address, a status."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from distributed import Client, Scheduler, Worker

from clusterhub.backend import NoOptions, Plan, UnitState
from clusterhub.errors import ClusterGone, WorkersFailed
from clusterhub.native import NativeDeployment
from clusterhub.spec import ClusterSpec


class Minimal:
    """As little as a cluster manager can be: ``scale(n)``, an address, a text for its status, ``close()``."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.workers_: list[Worker] = []
        self.status = "running"
        self.told: list[int] = []
        self.refuses: Exception | None = None

    @property
    def scheduler_address(self) -> str:
        return str(self._scheduler.address)

    async def scale(self, n: int) -> None:
        self.told.append(n)
        if self.refuses is not None:
            raise self.refuses
        self.workers_ = [worker for worker in self.workers_ if worker.status.name == "running"]
        while len(self.workers_) < n:
            new = Worker(self.scheduler_address, nthreads=1, dashboard=False, host="127.0.0.1")
            self.workers_.append(await new)

    async def end(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self.workers_))

    async def close(self) -> None:
        self.status = "closed"
        await self.end()


class MinimalSync(Minimal):
    """The same, whose ``close()`` is no coroutine."""

    def close(self) -> None:  # type: ignore[override]
        self.status = "closed"


class NeverStarts(Minimal):
    def __await__(self) -> Any:
        return self._start().__await__()

    async def _start(self) -> None:
        raise OSError("no route to host")


class Quick(NativeDeployment):
    """Looks often, so that tests are short."""

    interval = 0.02
    drain_patience = 5.0


def plan(**spec: Any) -> Plan[NoOptions]:
    return Plan(name="eddies", backend="minimal", spec=ClusterSpec(**{"workers": 0, **spec}), options=NoOptions())


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
        yield scheduler


@contextlib.asynccontextmanager
async def deployed(native: Minimal, **spec: Any) -> AsyncIterator[Quick]:
    deployment = await Quick.of(native, plan(**spec))
    try:
        yield deployment
    finally:
        await deployment.close()
        await native.end()


async def until(met: Callable[[], Any]) -> None:
    """Return once ``met()``, or what it is to be awaited for, holds."""
    async with asyncio.timeout(60):
        while True:
            found = met()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


def connected(deployment: Quick, n: int) -> Callable[[], Any]:
    async def met() -> bool:
        found = await deployment.units()
        return len(found) == n and all(unit.state is UnitState.CONNECTED for unit in found)

    return met


@pytest.mark.parametrize("kind", [Minimal, MinimalSync])
async def test_an_object_with_only_scale_gets_its_workers(scheduler, kind):
    async with deployed(kind(scheduler), workers=2) as deployment:
        await until(connected(deployment, 2))


@pytest.mark.parametrize("kind", [Minimal, MinimalSync])
async def test_closing_closes_the_object(scheduler, kind):
    native = kind(scheduler)
    async with deployed(native):
        pass
    assert native.status == "closed"


async def test_letting_go_leaves_the_object(scheduler):
    native = Minimal(scheduler)
    deployment = await Quick.of(native, plan())
    await deployment.close(shutdown=False)
    assert native.status == "running"


async def test_an_object_without_a_dashboard_link_has_an_empty_one(scheduler):
    async with deployed(Minimal(scheduler)) as deployment:
        assert (deployment.dashboard_link, deployment.security) == ("", None)


async def test_a_lost_worker_is_replaced_without_names(scheduler):
    native = Minimal(scheduler)
    async with deployed(native, workers=2) as deployment:
        await until(connected(deployment, 2))
        first = native.workers_[0]
        first_address = first.address
        await first.close()
        deployment.startup_timeout = deployment._roster.startup_timeout = 0.05
        await until(lambda: first_address not in scheduler.workers and len(scheduler.workers) == 2)
        await until(connected(deployment, 2))


async def test_scaling_down_retires_before_the_object_is_told(scheduler):
    native = Minimal(scheduler)
    async with (
        deployed(native, workers=2) as deployment,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        await until(connected(deployment, 2))
        kept = client.map(str, range(10))
        await client.gather(kept)
        await deployment.scale(1)
        await until(connected(deployment, 1))
        assert await client.gather(kept) == [str(index) for index in range(10)]
        assert {future.status for future in kept} == {"finished"}


async def test_a_start_that_fails_is_workers_failed_and_the_object_is_closed(scheduler):
    native = NeverStarts(scheduler)
    with pytest.raises(WorkersFailed, match="OSError: no route to host"):
        await Quick.of(native, plan(support="help@example.org"))
    assert native.status == "closed"


async def test_a_start_that_is_cancelled_closes_the_object(scheduler):
    class Slow(Minimal):
        def __await__(self) -> Any:
            return asyncio.sleep(0.2).__await__()

    native = Slow(scheduler)
    starting = asyncio.ensure_future(Quick.of(native, plan()))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    assert (starting.cancelled(), native.status) == (True, "closed")


async def test_three_failed_starts_stop_the_launching(scheduler):
    native = Minimal(scheduler)
    native.refuses = OSError("quota exceeded")
    async with deployed(native, workers=2) as deployment:
        await until(deployment.failure)
        times = len(native.told)
        await asyncio.sleep(deployment.interval * 5)
        assert len(native.told) == times == 3
        failure = await deployment.failure()
        assert failure is not None
        assert (failure.summary, failure.count) == ("OSError: quota exceeded", 3)


async def test_a_new_target_tries_again_after_failures(scheduler):
    native = Minimal(scheduler)
    native.refuses = OSError("quota exceeded")
    async with deployed(native, workers=2) as deployment:
        await until(deployment.failure)
        native.refuses = None
        await deployment.scale(1)
        await until(connected(deployment, 1))
        assert await deployment.failure() is None


async def test_one_failed_start_is_told_and_tried_again(scheduler):
    class Once(Minimal):
        async def scale(self, n: int) -> None:
            self.refuses = OSError("try again") if not self.told else None
            await super().scale(n)

    native = Once(scheduler)
    async with deployed(native, workers=1) as deployment:
        await until(connected(deployment, 1))
        assert (len(native.told), await deployment.failure()) == (2, None)


@pytest.mark.parametrize(
    ("lifecycle", "reason"),
    [
        ({"idle_timeout": "0.3s"}, "nothing was processing for 0.3s (lifecycle.idle_timeout)"),
        ({"max_age": "0.3s"}, "it reached its age of 0.3s (lifecycle.max_age)"),
    ],
)
async def test_a_cluster_that_ends_by_itself_says_why(scheduler, lifecycle, reason):
    native = Minimal(scheduler)
    async with deployed(native, lifecycle=lifecycle) as deployment:
        await until(lambda: native.status == "closed")
        with pytest.raises(ClusterGone) as gone:
            await deployment.units()
        assert reason in str(gone.value)
        assert gone.value.final


LET_GO = threading.Event()


def held() -> None:
    """Workers run in this process, so that a task can wait for what a test does."""
    LET_GO.wait(60)


async def test_a_busy_cluster_is_not_idle(scheduler):
    native = Minimal(scheduler)
    LET_GO.clear()
    async with (
        deployed(native, workers=1, lifecycle={"idle_timeout": "never"}) as deployment,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        try:
            busy = client.submit(held, pure=False)
            await until(lambda: any(worker.processing for worker in scheduler.workers.values()))
            deployment._plan = plan(workers=1, lifecycle={"idle_timeout": "0.3s"})  # before, and after, it may be idle
            await asyncio.sleep(1)
            assert busy.status == "pending"
            assert native.status == "running"
            assert deployment.native is native
        finally:
            LET_GO.set()


async def test_never_is_never(scheduler):
    native = Minimal(scheduler)
    async with deployed(native, lifecycle={"idle_timeout": "never", "max_age": "never"}) as deployment:
        deployment._started = 0
        await asyncio.sleep(deployment.interval * 5)
        assert await deployment.units() == []


async def test_a_scheduler_that_is_unreachable_for_a_moment_ends_nothing(scheduler, monkeypatch):
    native = Minimal(scheduler)
    async with deployed(native, workers=1) as deployment:
        await until(connected(deployment, 1))
        asked = []

        async def unreachable() -> dict[str, Any]:
            asked.append(1)
            raise ClusterGone("cannot be reached", final=False)

        with monkeypatch.context() as broken:
            broken.setattr(deployment._link, "identity", unreachable)
            await until(lambda: len(asked) >= 3)
        await until(connected(deployment, 1))
        assert await deployment.failure() is None


async def test_a_control_loop_that_fails_is_told_and_goes_on(scheduler, monkeypatch):
    native = Minimal(scheduler)
    async with deployed(native) as deployment:

        async def broken_look() -> None:
            raise ZeroDivisionError("a bug")

        with monkeypatch.context() as broken:
            broken.setattr(deployment, "_look_and_act", broken_look)
            await until(deployment.failure)
        failure = await deployment.failure()
        assert failure is not None
        assert failure.summary == "ZeroDivisionError: a bug"
        await deployment.scale(1)
        await until(connected(deployment, 1))


async def test_an_object_that_ends_from_outside_is_gone(scheduler):
    native = Minimal(scheduler)
    async with deployed(native) as deployment:
        native.status = "stopped"
        with pytest.raises(ClusterGone, match="eddies is gone: its scheduler has ended"):
            await deployment.scale(1)


async def test_a_closed_deployment_says_so(scheduler):
    native = Minimal(scheduler)
    async with deployed(native) as deployment:
        await deployment.close()
        await deployment.close()
        with pytest.raises(ClusterGone, match="has been closed"):
            await deployment.units()


async def test_logs_of_an_unknown_unit_are_a_key_error(scheduler):
    async with deployed(Minimal(scheduler)) as deployment:
        assert set(await deployment.logs()) == {"scheduler"}
        with pytest.raises(KeyError, match="no-such-unit"):
            await deployment.logs("no-such-unit")


async def test_the_ref_names_the_cluster(scheduler):
    async with deployed(Minimal(scheduler)) as deployment:
        ref = deployment.ref
    assert (ref.backend, ref.name, ref.data) == ("minimal", "eddies", {"address": scheduler.address})
