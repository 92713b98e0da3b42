"""The room that speaks Dask: its words, its line to a scheduler, draining, and the loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from distributed import Client, Scheduler, Worker, get_worker
from distributed.core import Status

from clusterhub._dask import draining
from clusterhub._dask.draining import Drain
from clusterhub._dask.loop import LoopThread
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub._dask.status import coerce_status
from clusterhub.errors import ClusterGone, ClusterhubError

# Status


@pytest.mark.parametrize("status", list(Status))
def test_dasks_own_status_is_taken_as_it_is(status):
    assert coerce_status(status) is status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("running", Status.running),
        ("RUNNING", Status.running),
        ("pending", Status.starting),
        ("stopped", Status.closed),
        ("stopping", Status.closing),
        ("closed", Status.closed),
        ("failed", Status.failed),
        ("no such word", Status.undefined),
        ("", Status.undefined),
        (None, Status.undefined),
        (7, Status.undefined),
    ],
)
def test_a_gateways_text_becomes_dasks_status(text, status):
    assert coerce_status(text) is status


# A small cluster without a manager


class Small:
    """A scheduler and its workers, all on this loop."""

    def __init__(self, scheduler: Scheduler, client: Client, workers: list[Worker], link: SchedulerLink) -> None:
        self.scheduler, self.client, self.workers, self.link = scheduler, client, workers, link

    @property
    def addresses(self) -> list[str]:
        return [worker.address for worker in self.workers]


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler,
        Worker(scheduler.address, nthreads=1, name="a", dashboard=False, host="127.0.0.1") as a,
        Worker(scheduler.address, nthreads=1, name="b", dashboard=False, host="127.0.0.1") as b,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        link = SchedulerLink(scheduler.address, None, patience=60)
        yield Small(scheduler, client, [a, b], link)
        for gate in GATES.values():
            gate.set()
        await link.close()


async def until(met: Callable[[], object]) -> None:
    """Return once ``met()`` holds; the test's own time-out is for when it never does."""
    async with asyncio.timeout(60):
        while not met():
            await asyncio.sleep(0.01)


# Workers run in this process, so that tasks can wait for what a test does.
GATES: dict[str, threading.Event] = {}


def wait_at(gate: str) -> str:
    GATES[gate].wait(30)
    return gate


def stubborn(worker: str) -> str:
    """Where it ran; on ``worker`` it takes its time."""
    address: str = get_worker().address
    if address == worker:
        GATES[worker].wait(30)
    return address


async def blocked(small: Small, worker: str) -> Any:
    """A task that runs on ``worker`` until it is let go."""
    GATES[worker] = threading.Event()
    future = small.client.submit(wait_at, worker, workers=[worker], allow_other_workers=False, pure=False)
    await until(lambda: small.scheduler.workers[worker].processing)
    return future


def let_go(worker: str) -> None:
    GATES[worker].set()


# The line


async def test_a_scheduler_tells_of_all_its_workers(small):
    assert set((await small.link.identity())["workers"]) == set(small.addresses)


async def test_a_function_runs_on_the_scheduler_by_value(small):
    def names(dask_scheduler: Any, suffix: str) -> list[str]:
        return sorted(state.name + suffix for state in dask_scheduler.workers.values())

    assert await small.link.call(names, suffix="!") == ["a!", "b!"]


async def test_a_function_that_fails_on_the_scheduler_says_so(small):
    def fails(dask_scheduler: Any) -> None:
        raise ZeroDivisionError("no such luck")

    with pytest.raises(ClusterGone, match="could not run fails.*no such luck") as caught:
        await small.link.call(fails)
    assert not caught.value.final


async def test_logs_come_for_the_scheduler_and_each_worker(small):
    assert set(await small.link.logs()) == {"scheduler", *small.addresses}


async def test_retiring_tells_who_really_went(small):
    gone = await small.link.retire(small.addresses[:1])
    assert gone == {small.addresses[0]}
    assert set(small.scheduler.workers) == {small.addresses[1]}


async def test_an_idle_scheduler_says_since_when(small):
    await small.link.idle_since()
    assert isinstance(await small.link.idle_since(), float)


async def test_a_busy_scheduler_is_not_idle(small):
    running = await blocked(small, small.addresses[0])
    assert await small.link.idle_since() is None
    let_go(small.addresses[0])
    await running


async def test_hanging_up_leaves_the_scheduler(small):
    await small.link.close()
    assert small.scheduler.status is Status.running


@contextlib.contextmanager
def hung_port() -> Iterator[str]:
    """Takes connections and never says a word, as a stopped process does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def dead_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


async def gone_within(address: str, ask: Callable[[SchedulerLink], Awaitable[Any]]) -> ClusterGone:
    """The error of a link of half a second's patience, long before the 30 s that Dask would take by itself."""
    link = SchedulerLink(address, None, patience=0.5)
    try:
        async with asyncio.timeout(15):
            with pytest.raises(ClusterGone) as caught:
                await ask(link)
    finally:
        await link.close()
    return caught.value


@pytest.mark.parametrize("question", ["identity", "idle_since", "logs"])
async def test_a_dead_port_is_a_cluster_that_is_gone(question):
    address = dead_port()
    gone = await gone_within(address, lambda link: getattr(link, question)())
    assert address in str(gone)


async def test_a_hung_scheduler_is_told_as_one_that_does_not_answer():
    with hung_port() as address:
        gone = await gone_within(address, lambda link: link.identity())
    assert str(gone) == f"the scheduler at {address} did not answer within 0.5 s"


async def test_one_that_does_not_answer_may_again():
    assert not (await gone_within(dead_port(), lambda link: link.identity())).final


async def test_a_function_for_a_dead_scheduler_says_it_is_gone():
    gone = await gone_within(dead_port(), lambda link: link.call(draining.hold, workers=[]))
    assert "cannot be reached" in str(gone) or "did not answer" in str(gone)


# Draining


def draining_of(small: Small, worker: str, patience: float = 30) -> asyncio.Task[frozenset[str]]:
    return asyncio.ensure_future(Drain(small.link, [worker], patience).run())


async def test_a_drained_worker_gets_no_new_tasks_while_its_running_ones_end(small):
    first, second = small.addresses
    running = await blocked(small, first)
    drain = draining_of(small, first)
    await until(lambda: small.scheduler.workers[first].status is Status.paused)
    new = await small.client.gather(small.client.map(str, range(20), pure=False))
    assert new == [str(index) for index in range(20)]
    assert not small.workers[0].data, "the worker that is to leave was given a task"
    let_go(first)
    assert await drain == {first}
    assert await running == first


async def test_an_idle_worker_leaves_at_once(small):
    assert await Drain(small.link, small.addresses[:1], patience=30).run() == {small.addresses[0]}


async def test_results_move_before_a_worker_leaves(small):
    first = small.addresses[0]
    result = await small.client.scatter({"x": 42}, workers=[first])
    await Drain(small.link, [first], patience=60).run()
    assert await small.client.gather(result) == {"x": 42}


async def test_patience_that_ends_lets_tasks_start_again_elsewhere(small):
    first, second = small.addresses
    GATES[first] = threading.Event()
    future = small.client.submit(stubborn, first, workers=[first], allow_other_workers=True, pure=False)
    await until(lambda: small.scheduler.workers[first].processing)
    await Drain(small.link, [first], patience=0.2).run()
    assert await future == second
    let_go(first)


async def test_a_drain_that_is_called_off_gives_the_worker_work_again(small):
    first, second = small.addresses
    running = await blocked(small, first)
    drain = draining_of(small, first)
    await until(lambda: small.scheduler.workers[first].status is Status.paused)
    drain.cancel()
    await asyncio.wait([drain])
    let_go(first)
    await running
    assert await small.client.submit(str, 1, workers=[first], allow_other_workers=False) == "1"


async def test_a_worker_that_could_not_retire_takes_work_again(small):
    """With nobody to take its results it stays; Dask itself leaves it paused for ever."""
    first, second = small.addresses
    kept = await small.client.scatter({"x": 1}, workers=[first])
    await small.workers[1].close()
    await until(lambda: second not in small.scheduler.workers)
    assert await Drain(small.link, [first], patience=1).run() == frozenset()
    assert await small.client.submit(str, 1, workers=[first]) == "1"
    assert await small.client.gather(kept) == {"x": 1}


async def test_a_worker_that_is_gone_already_is_no_trouble(small):
    assert await Drain(small.link, ["tcp://127.0.0.1:1"], patience=1).run() == frozenset()


async def test_a_drain_can_be_called_off_until_the_retirement_begins(small):
    drain = Drain(small.link, small.addresses[:1], patience=30)
    before = drain.can_be_called_off
    await drain.run()
    assert before


# The loop in a thread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()


async def answer() -> int:
    return 42


def test_a_coroutine_runs_from_ordinary_code(thread):
    assert thread.run(answer()) == 42


def test_a_coroutine_runs_from_another_thread(thread):
    answers: list[int] = []
    other = threading.Thread(target=lambda: answers.append(thread.run(answer())))
    other.start()
    other.join(10)
    assert answers == [42]


async def test_a_coroutine_runs_where_a_loop_runs_already():
    """As in a notebook's cell."""
    thread = LoopThread()
    try:
        assert thread.run(answer()) == 42
    finally:
        thread.stop()


def test_an_error_of_the_coroutine_passes(thread):
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.run(fails())


def test_the_loop_knows_its_own_thread(thread):
    async def here() -> bool:
        return thread.here

    assert (thread.here, thread.run(here())) == (False, True)


def test_a_stopped_loop_says_so(thread):
    thread.stop()
    with pytest.raises(ClusterhubError, match="event loop of this cluster has ended"):
        thread.run(answer())


def test_stopping_twice_is_stopping_once(thread):
    thread.stop()
    thread.stop()
    assert thread.stopped


def test_an_interrupted_call_has_cleaned_up_before_the_interrupt_passes(thread):
    cleaned: list[str] = []
    begun = threading.Event()

    async def long() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("cleaned")

    def interrupt() -> None:
        begun.wait(10)
        time.sleep(0.2)  # until the caller waits for its answer
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        thread.run(long())
    assert cleaned == ["cleaned"]


def test_a_call_that_lasts_too_long_is_cancelled(thread):
    ended: list[str] = []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    with pytest.raises(TimeoutError):
        thread.run(long(), timeout=0.05)
    assert ended == ["ended"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_that_the_loop_is_not_there(thread):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            thread.run(answer())
        except ClusterhubError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert f"belongs to process {os.getpid()}" in said
    assert "spawn" in said
