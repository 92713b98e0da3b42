"""dask-labextension's sidebar makes, scales, adapts and closes our clusters: its own calls, as of version 7.0.0.

Its manager (dask_labextension/manager.py) makes a model of the cluster after every call, from the same few attributes.
"""

from __future__ import annotations

from inspect import isawaitable

import pytest

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


async def story(factory, *args, **kwargs):
    """``make_cluster``, ``scale_cluster``, ``adapt_cluster`` and ``close_cluster``, one after the other."""
    cluster = await factory(*args, **kwargs, asynchronous=True)
    assert model(cluster, None)["scheduler_address"]
    order = cluster.scale(2)
    if isawaitable(order):
        await order
    await cluster.wait(timeout=60)
    await cluster.identity()
    assert model(cluster, None)["workers"] == 2
    adaptive = cluster.adapt(minimum=1, maximum=3)
    assert model(cluster, adaptive)["adapt"] == {"minimum": 1, "maximum": 3}
    await cluster.close()
    assert model(cluster, adaptive)["workers"] in (1, 2)


@pytest.mark.parametrize("host", ["inline", "process"])
async def test_the_sidebar_makes_and_closes_a_cluster(store, host):
    await story(labextension.connect, "local", workers=1, lifecycle={"host": host}, **SMALL)
    assert store.names() == []


async def test_the_sidebar_shows_a_cluster_that_lives_and_leaves_it_running(store):
    made = clusterhub.aio.connect("local", name="eddies", keep=True, workers=1, **SMALL)
    async with made:
        pass
    await story(labextension.attach, "eddies")
    assert store.names() == ["eddies"]
    async with clusterhub.aio.attach("eddies") as cluster:
        await cluster.shutdown()
    assert store.names() == []
    with pytest.raises(clusterhub.ClusterGone):
        end("eddies")
