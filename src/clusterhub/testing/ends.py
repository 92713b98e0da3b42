"""How a cluster ends: wholly, once, and whoever asks for it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.comm import connect
from distributed.core import Status

import clusterhub
from clusterhub.cluster import Cluster
from clusterhub.errors import ClusterGone
from clusterhub.testing.base import Base


class Ends(Base):
    """Closing and leaving."""

    def test_closing_twice_is_closing_once(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            cluster.close()
            cluster.close()
            assert cluster.status is Status.closed
        with pytest.raises(ClusterGone, match=cluster.name):
            cluster.report()

    def test_closing_releases_everything(self) -> None:
        before = _children()
        with self.cluster(workers=2 * self.per_unit()) as cluster:
            address = cluster.scheduler_address
            # Read now: with the cluster its keys go too.
            keys = cluster.security.get_connection_args("client") if cluster.security is not None else {}
            workers = _processes_here(cluster)
        self.eventually("its processes ended", lambda: _children() <= before)
        self.eventually("its workers ended", lambda: not any(process.is_running() for process in workers))
        assert address.startswith("inproc") or not _answers(address, keys), f"{address} still answers"

    def test_an_error_in_the_block_closes_it_and_passes(self) -> None:
        with pytest.raises(ZeroDivisionError), self.cluster(workers=self.per_unit()) as cluster:
            raise ZeroDivisionError
        assert cluster.status is Status.closed

    def test_a_client_that_closes_leaves_the_cluster(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            for _ in range(2):
                with Client(cluster, set_as_default=False) as client:
                    assert client.submit(abs, -1).result(timeout=self.timeout) == 1
            assert cluster.status is Status.running

    def test_a_client_that_shuts_down_closes_the_cluster(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            Client(cluster, set_as_default=False).shutdown()
            assert cluster.status is Status.closed
            with pytest.raises(ClusterGone):
                cluster.scale(1)

    def test_a_closed_cluster_takes_no_client(self) -> None:
        with self.cluster(workers=self.per_unit()) as cluster:
            pass
        with pytest.raises(RuntimeError, match="clos"):
            Client(cluster, set_as_default=False)

    def test_a_cluster_that_is_dropped_ends_and_says_so(self) -> None:
        before = _children()

        def drop() -> None:
            cluster = clusterhub.connect(self.backend, **{**self.overrides, "workers": self.per_unit()})
            assert isinstance(cluster, Cluster)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            drop()
            gc.collect()
        assert any(issubclass(warning.category, ResourceWarning) for warning in caught)
        self.eventually("its processes ended", lambda: _children() <= before)

    def test_a_start_that_is_cancelled_leaves_nothing(self) -> None:
        before = _children()

        async def story() -> None:
            options: dict[str, Any] = {**self.overrides, "workers": 2 * self.per_unit()}
            for patience in (0.0, 0.05, 0.5):
                cluster = clusterhub.aio.connect(self.backend, **options)
                try:
                    async with asyncio.timeout(patience):
                        await cluster
                except TimeoutError:
                    pass
                finally:
                    await cluster.close()

        asyncio.run(story())
        self.eventually("its processes ended", lambda: _children() <= before)

    def test_two_clusters_do_not_know_each_other(self) -> None:
        with self.cluster(workers=self.per_unit()) as one, self.cluster(workers=self.per_unit()) as other:
            assert one.name != other.name
            one.close()
            with other.get_client(set_as_default=False) as client:
                assert client.submit(abs, -2).result(timeout=self.timeout) == 2


def _children() -> set[int]:
    """Living children of this process, but for Python's own resource tracker and fork server."""
    return {child.pid for child in psutil.Process().children(recursive=True) if not _belongs_to_python(child)}


def _belongs_to_python(child: psutil.Process) -> bool:
    try:
        if child.status() == psutil.STATUS_ZOMBIE:
            return True  # ended, and nobody has asked how
        return any("resource_tracker" in part or "forkserver" in part for part in child.cmdline())
    except psutil.Error:
        return True  # gone while we looked


def _processes_here(cluster: Cluster) -> list[psutil.Process]:
    """The processes of its workers, as far as they are on this host and not our own."""

    def where() -> tuple[str, int]:
        import os
        import socket

        return socket.gethostname(), os.getpid()

    with cluster.get_client(set_as_default=False) as client:
        found = client.run(where).values()
    return [psutil.Process(pid) for host, pid in found if host == socket.gethostname() and pid != os.getpid()]


def _answers(address: str, keys: Mapping[str, Any], patience: float = 2) -> bool:
    """Whether a client can be connected. A mere port tells nothing: it may be a proxy's, which goes on answering.

    Where nobody is there, it takes ``patience`` seconds to tell: Dask goes on trying.
    """

    async def dial() -> bool:
        try:
            # Whoever takes the connection need not answer: Dask waits for that without end.
            async with asyncio.timeout(2 * patience):
                comm = await connect(address, timeout=patience, **keys)
        except OSError:
            return False
        await comm.close()
        return True

    return asyncio.run(dial())
