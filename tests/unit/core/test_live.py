"""The panel of a living cluster: what it shows becomes true by itself, and its orders reach the cluster."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import clusterhub
from clusterhub.cluster import live
from clusterhub.display import panel as panels
from clusterhub.keeper import discovery
from clusterhub.spec import Workers
from unit.core.test_cluster import eventually, simulated

pytest.importorskip("ipywidgets")

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks whether there is a notebook is told so; ipywidgets draws into the void then."""
    monkeypatch.setattr(panels, "in_notebook", lambda: True)
    monkeypatch.setattr(live, "REFRESH", 0.05)
    monkeypatch.setattr(discovery, "PATIENCE", 60.0)  # no system is given up because this machine is busy


def shown(cluster: Any) -> panels.Panel:
    """The panel that a notebook shows of it."""
    assert list(cluster._repr_mimebundle_(include=None, exclude=None)) == [VIEW]
    return getattr(cluster, "_inner", cluster)._live.panel


def text(panel: panels.Panel) -> str:
    return panel._page.value + panel._said.value


def test_a_panel_becomes_true_by_itself():
    with simulated(workers=0) as cluster:
        panel = shown(cluster)
        eventually(lambda: "no workers asked for" in text(panel))
        cluster.scale(1)
        eventually(lambda: "1 of 1 worker connected" in text(panel))


def test_pending_jobs_are_shown_with_the_reason():
    with simulated(simulated={"fault": "holds"}) as cluster:
        panel = shown(cluster)
        eventually(lambda: "pending" in text(panel))
        reason = cluster.units()[0].reason
        assert reason
        assert reason in text(panel)


def test_an_order_given_in_the_panel_is_the_target_from_now_on():
    with simulated(workers=0) as cluster:
        panel = shown(cluster)
        panel._number.value = 1
        panel._scale_clicked(None)
        eventually(lambda: cluster.report().target == Workers.exactly(1))
        panel._low.value, panel._high.value = 0, 3
        panel._adapt_clicked(None)
        eventually(lambda: cluster.report().target == Workers(minimum=0, maximum=3))


def test_an_order_that_is_refused_is_answered_where_it_was_given():
    with simulated(workers=0, limits={"workers": 3}) as cluster:
        panel = shown(cluster)
        panel._number.value = 4
        panel._scale_clicked(None)
        eventually(lambda: "over the limit of 3" in text(panel))
        panel._number.value = 0
        panel._scale_clicked(None)
        eventually(lambda: "over the limit" not in text(panel))


def test_a_cluster_is_one_panel_however_often_it_is_shown():
    with simulated(workers=0) as cluster:
        assert shown(cluster) is shown(cluster)


def test_a_closed_cluster_says_so_in_the_panel_that_is_there_and_gets_no_new_one():
    with simulated(workers=0) as cluster:
        panel = shown(cluster)
    assert "closed" in text(panel)
    panel._scale_clicked(None)  # by somebody whose click was under way
    assert cluster._repr_mimebundle_() == {}


def test_a_cluster_that_lives_on_is_told_with_the_way_back():
    with simulated(workers=0, name="eddies", keep=True) as cluster:
        panel = shown(cluster)
    assert "clusterhub.attach(&#x27;eddies&#x27;)" in text(panel)
    clusterhub.attach("eddies").shutdown()


def test_a_panel_keeps_no_cluster_alive():
    held = [simulated(workers=0)]
    panel, gone = shown(held[0]), weakref.ref(held[0])

    def drop() -> None:
        held.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="was dropped without close"):
        drop()
    assert gone() is None
    eventually(lambda: "closed" in text(panel))


async def test_the_asynchronous_one_has_a_panel_too():
    async with clusterhub.aio.connect("simulated", workers=0) as cluster:
        panel = shown(cluster)
        panel._number.value = 1
        panel._scale_clicked(None)
        async with asyncio.timeout(60):
            while cluster.minimum != 1:
                await asyncio.sleep(0.02)


def test_outside_of_a_notebook_there_is_none(monkeypatch):
    monkeypatch.setattr(panels, "in_notebook", lambda: False)
    with simulated(workers=0) as cluster:
        assert cluster._repr_mimebundle_() == {}
