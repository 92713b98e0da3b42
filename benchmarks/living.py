"""Living clusters on this machine: how long they take to come and to go, and what each call on them costs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import clusterhub

from .config import only_config
from .measuring import Figure, interleaved, took

WORKERS = 2
SETTLED = 0.01
"""Seconds between two calls, so that what the one set going (an order is carried out later) is not charged to the next."""

STARTING = f"""`connect("local", workers={WORKERS})` until all workers are connected, and `close()`, against
`LocalCluster(n_workers={WORKERS}, …)` with the same threads and memory, `wait_for_workers` and `close()`, in one process
that has imported everything and has started one of each before. The target is for the sum, the lines below are its parts.
Ours includes what it does besides: reading the config, the checks, the first look at the scheduler, the control loop."""

CALLING = f"""Each call on our cluster against the native one that asks the same, on two idle clusters of {WORKERS} workers in
one process. `scale(n)` is given the n that is already there; LocalCluster's returns before anything was looked at, ours when
the order was taken. `units()` and `report()` have no native counterpart: they are held against the question to the scheduler
that they have to ask (its `identity`). So is `scheduler_info`, which LocalCluster keeps as an attribute: reading that is free
and lags up to a second behind, where ours asks. `get_client()` makes a client and connects it; closing it is not counted."""


def starting(pairs: int) -> list[Figure]:
    """``connect`` and ``LocalCluster`` from nothing to all workers connected, and to nothing again."""
    with only_config("{}\n"), _unwarned():
        native_start = _native_start()
        ours, native = interleaved([lambda: _life(_our_start), lambda: _life(native_start)], pairs)
    return [
        Figure("local", _summed(ours), _summed(native), target=1.05),
        Figure("local: start", tuple(up for up, _ in ours), tuple(up for up, _ in native)),
        Figure("local: close", tuple(down for _, down in ours), tuple(down for _, down in native)),
    ]


def _summed(lives: Iterable[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(up + down for up, down in lives)


def _life(start: Callable[[], Any]) -> tuple[float, float]:
    """The seconds until all workers are connected, and those that closing takes."""
    began = time.perf_counter()
    with start() as cluster:
        cluster.wait_for_workers(WORKERS)
        up = time.perf_counter()
    return up - began, time.perf_counter() - up


def _our_start() -> clusterhub.Cluster:
    return clusterhub.connect("local", workers=WORKERS)


def _native_start() -> Callable[[], Any]:
    """The call of LocalCluster for the same workers, which are looked up before, and not in what is measured."""
    from distributed import LocalCluster

    worker = clusterhub.plan("local", workers=WORKERS).spec.worker
    shape = {"threads_per_worker": worker.nthreads, "memory_limit": int(worker.memory)}
    return lambda: LocalCluster(n_workers=WORKERS, **shape)


@contextmanager
def _unwarned() -> Iterator[None]:
    """LocalCluster warns each time that somebody else's dashboard has the usual port; here that is no news."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use", category=UserWarning)
        yield


def calling(pairs: int) -> list[Figure]:
    """What each call on a living cluster costs, and the native one."""
    with only_config("{}\n"), _unwarned(), _our_start() as cluster, _native_start()() as native:
        for each in (cluster, native):
            each.wait_for_workers(WORKERS)
        figures = []
        for name, ours, theirs in _calls(cluster, native):
            our_times, their_times = interleaved([ours, theirs], pairs)
            figures.append(Figure(f"call: {name}", our_times, their_times))
        return figures


def _calls(cluster: clusterhub.Cluster, native: Any) -> Iterator[tuple[str, Callable[[], float], Callable[[], float]]]:
    from distributed import Client

    async def identity() -> Any:
        return await native.scheduler_comm.identity(n_workers=-1)

    def asked() -> Any:
        return native.sync(identity)

    yield "scale", _settled(lambda: cluster.scale(WORKERS)), _settled(lambda: native.scale(WORKERS))
    yield "units", _settled(cluster.units), _settled(asked)
    yield "report", _settled(cluster.report), _settled(asked)
    yield "logs", _settled(cluster.logs), _settled(native.get_logs)
    yield "scheduler_info", _settled(lambda: cluster.scheduler_info), _settled(asked)
    yield "get_client", _client(cluster.get_client), _client(lambda: Client(native))


def _settled(call: Callable[[], object]) -> Callable[[], float]:
    def measured() -> float:
        time.sleep(SETTLED)
        return took(call)

    return measured


def _client(make: Callable[[], Any]) -> Callable[[], float]:
    """The seconds until a client is connected; that it closes again does not count."""

    def measured() -> float:
        time.sleep(SETTLED)
        began = time.perf_counter()
        with make():
            return time.perf_counter() - began

    return measured
