"""What the conformance suite looks at: whether a cluster is there, and not whether a port is."""

from __future__ import annotations

import asyncio
import socket

from clusterhub.testing.ends import _answers

from .conftest import connect


def test_a_proxy_that_goes_on_answering_is_no_cluster():
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        assert not _answers(f"tcp://127.0.0.1:{proxy.getsockname()[1]}", {})


def test_a_cluster_answers_until_it_is_closed():
    with connect() as cluster:
        assert _answers(cluster.scheduler_address, {}, 60)
    assert not _answers(cluster.scheduler_address or "tcp://127.0.0.1:1", {})


def test_one_that_speaks_tls_answers_those_who_have_its_keys(tmp_path):
    from distributed import Scheduler

    from clusterhub.keeper.keys import make_keys

    security = make_keys(tmp_path, "eddies").security()
    keys = security.get_connection_args("client")

    async def story():
        async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0", security=security) as scheduler:
            address = scheduler.address
            assert await asyncio.to_thread(_answers, address, keys, 60)
        assert not await asyncio.to_thread(_answers, address, keys)

    asyncio.run(story())
