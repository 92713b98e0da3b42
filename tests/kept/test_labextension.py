"""dask-labextension's sidebar makes, scales, adapts and closes our clusters: its own calls, as of version 7.0.0.

Its manager (dask_labextension/manager.py) makes a model of the cluster after every call, from the same few attributes.
"""

from __future__ import annotations

import asyncio
import re
import sys
from inspect import isawaitable
from types import ModuleType, SimpleNamespace

import pytest
from distributed import Client

import clusterhub
from clusterhub import labextension
from clusterhub.keeper import end
from kept.conftest import SMALL


def model(cluster, adaptive):
    """``make_cluster_model``."""
    info = cluster.scheduler_info
    assert isinstance(info, dict)
    made = {
        "scheduler_address": cluster.scheduler_address,
        "dashboard_link": cluster.dashboard_link or "",
        "workers": len(info["workers"]),
        "memory": sum(worker["memory_limit"] for worker in info["workers"].values()),
        "cores": sum(worker["nthreads"] for worker in info["workers"].values()),
    }
    if adaptive:
        made["adapt"] = {"minimum": adaptive.minimum, "maximum": adaptive.maximum}
    return made


async def comes_to_have(cluster, workers):
    """The sidebar asks every five seconds; here it is more often."""
    async with asyncio.timeout(60):
        while model(cluster, None)["workers"] != workers:
            await asyncio.sleep(0.1)


async def story(factory, *args, **kwargs):
    """``make_cluster``, ``scale_cluster``, ``adapt_cluster`` and ``close_cluster``, one after the other."""
    cluster = await factory(*args, **kwargs, asynchronous=True)
    address = model(cluster, None)["scheduler_address"]
    async with Client(address, asynchronous=True) as client:  # the code that the sidebar inserts
        order = cluster.scale(2)
        if isawaitable(order):
            await order
        await comes_to_have(cluster, 2)
        assert await client.submit(sum, [1, 1]) == 2
    adaptive = cluster.adapt(minimum=1, maximum=3)
    assert model(cluster, adaptive)["adapt"] == {"minimum": 1, "maximum": 3}
    await cluster.close()
    assert model(cluster, adaptive)["workers"] in (1, 2)
    return address, type(cluster).__name__


async def test_the_sidebar_makes_a_cluster_that_notebooks_find_by_its_name_and_ends_it(store):
    address, shown = await story(labextension.connect, "local", workers=1, **SMALL)
    assert address.startswith("hub://local-")
    assert address == f"hub://{shown}"
    assert store.names() == []


async def test_a_cluster_in_the_servers_own_process_has_its_plain_address(store):
    address, _ = await story(labextension.connect, "local", workers=1, lifecycle={"host": "inline"}, **SMALL)
    assert address.startswith("tcp://127.0.0.1:")


async def test_without_a_profile_the_button_makes_a_cluster_of_the_default_one(store, home):
    (home / ".clusterhub.yaml").write_text("default: small\nprofiles: {small: {backend: local, workers: 0}}\n")
    cluster = await labextension.connect(**SMALL)
    assert type(cluster).__name__.startswith("small-")
    await cluster.close()


async def test_the_sidebar_shows_a_cluster_that_lives_and_leaves_it_running(store):
    made = clusterhub.aio.connect("local", name="eddies", keep=True, workers=1, **SMALL)
    async with made:
        pass
    assert await story(labextension.attach, "eddies") == ("hub://eddies", "eddies")
    assert store.names() == ["eddies"]
    async with clusterhub.aio.attach("eddies") as cluster:
        await cluster.shutdown()
    assert store.names() == []
    with pytest.raises(clusterhub.ClusterGone):
        end("eddies")


async def test_in_a_jupyter_server_the_dashboard_is_linked_through_that_server(store, monkeypatch):
    serverapp = ModuleType("jupyter_server.serverapp")
    running = SimpleNamespace(base_url="/lab2/")
    serverapp.ServerApp = SimpleNamespace(initialized=lambda: True, instance=lambda: running)
    monkeypatch.setitem(sys.modules, "jupyter_server.serverapp", serverapp)
    cluster = await labextension.connect("local", workers=0, worker=SMALL["worker"])
    try:
        assert re.fullmatch(r"/lab2/proxy/\d+/[\w-]{22}/status", model(cluster, None)["dashboard_link"])
    finally:
        await cluster.close()
