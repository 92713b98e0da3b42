"""Promises of the local backend that are about size, and so are kept apart from the suite that every plugin runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from distributed import wait

import clusterhub

SMALL = {"cores": 1, "memory": "2 GiB"}


def eventually(met: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_gigabyte_on_four_workers_survives_a_scale_to_one() -> None:
    with clusterhub.connect("local", workers=4, worker=SMALL) as cluster, cluster.get_client() as client:
        cluster.wait(timeout=60)
        held = client.map(lambda index: bytes([index % 256]) * 25_000_000, range(40), pure=False)
        wait(held)
        assert len({address for where in client.who_has().values() for address in where}) == 4
        cluster.scale(1)
        eventually(lambda: cluster.report().connected == 1)
        assert {future.status for future in held} == {"finished"}
        assert sum(client.gather(client.map(len, held))) == 1_000_000_000
        assert client.gather(client.map(lambda part: part[0], held)) == [index % 256 for index in range(40)]


def test_a_killed_worker_is_back_without_a_call() -> None:
    with clusterhub.connect("local", workers=2, worker=SMALL) as cluster, cluster.get_client() as client:
        cluster.wait(timeout=60)
        victim, pid = next(iter(client.run(os.getpid).items()))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: victim not in cluster.scheduler_info["workers"])
        eventually(lambda: cluster.report().connected == 2)


def test_a_scale_after_an_adapt_stays() -> None:
    with clusterhub.connect("local", workers=1, worker=SMALL) as cluster:
        cluster.adapt(minimum=0, maximum=4)
        cluster.scale(3)
        cluster.wait(timeout=60)
        time.sleep(5)  # an adaptation that still ran would take idle workers away
        assert cluster.report().connected == 3


def test_an_interrupt_of_the_process_group_leaves_the_workers() -> None:
    """A notebook's interrupt reaches the whole group, and workers that died of it would lose their results."""
    with clusterhub.connect("local", workers=1, worker=SMALL) as cluster, cluster.get_client() as client:
        cluster.wait(timeout=60)
        result = client.submit(lambda: "kept", pure=False)
        wait(result)
        before = client.run(os.getpid)
        for pid in before.values():
            os.kill(pid, signal.SIGINT)
        time.sleep(1)
        assert client.run(os.getpid) == before
        assert result.result() == "kept"
