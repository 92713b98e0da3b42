"""`attach`: clusters that are written down nowhere here are found where they live, by either of their names."""

from __future__ import annotations

import re

import pytest
from distributed import Client
from simulated_queue import cluster_of
from simulated_queue.system import LIVING

import clusterhub
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ConfigError

from .conftest import connect, living, made_without_clusterhub


def test_a_named_cluster_is_found_by_its_name():
    with connect(name="eddies", workers=1) as made:
        found = clusterhub.attach("eddies")
        found.wait(timeout=60, display=silent())
        assert found.report().connected == 1
        assert (found.name, found.scheduler_address) == ("eddies", made.scheduler_address)
        with Client(found, set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        found.close()
        assert living() == ["eddies"], "letting go of it ended it"
    assert living() == []


def test_whoever_attaches_hears_what_others_told_it():
    with connect(name="eddies") as made:
        found = clusterhub.attach("eddies")
        made.scale(3)
        assert found.report().target.minimum == 3
        found.scale(0)
        assert made.report().target.minimum == 0
        found.close()


def test_shutting_down_an_attached_one_ends_it_for_all():
    made = connect(name="eddies", keep=True)
    clusterhub.attach("eddies").shutdown()
    assert living() == []
    with pytest.raises(ClusterGone):
        made.report()
    made.close()


def test_a_held_one_outlives_its_maker():
    made = connect(name="eddies")
    held = clusterhub.attach("eddies", hold=True)
    made.close()
    assert held.report().name == "eddies"
    held.close()
    assert living() == ["eddies"], "whoever attached ends nothing by closing"
    clusterhub.attach("eddies").shutdown()


def test_one_that_has_no_other_name_is_found_by_its_systems():
    own = made_without_clusterhub()
    with clusterhub.attach(own) as found:
        assert (found.name, found.report().place) == (own, f"{own} on simulated")
    assert living() == [own]


def test_one_that_has_a_name_is_found_by_its_systems_too():
    with connect(name="eddies") as made, clusterhub.attach(cluster_of(made).id) as found:
        assert found.name == "eddies"


async def test_it_is_found_from_asynchronous_code():
    own = made_without_clusterhub()
    async with clusterhub.aio.attach(own) as found:
        assert (await found.report()).connected == 0
    with pytest.raises(ConfigError, match="there is no cluster of that name"):
        await clusterhub.aio.attach("tides")


def test_a_name_that_nobody_knows_is_refused_with_those_there_are(sites):
    connect("near", name="eddies", keep=True).close()
    with pytest.raises(ConfigError, match="did you mean 'eddies'"):
        clusterhub.attach("edies")
    with pytest.raises(ConfigError, match="there are: eddies"):
        clusterhub.attach("zzz")


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".", "é", "x" * 300, 7, None])
def test_a_name_that_nothing_can_have_is_refused_at_once(name):
    with pytest.raises(ConfigError, match="1 to 40 lower-case letters"):
        clusterhub.attach(name)


def test_several_of_one_name_are_told_apart(sites):
    ours = [connect(profile, name="eddies") for profile in ("near", "far")]
    with pytest.raises(ConfigError, match="2 clusters are called so") as refused:
        clusterhub.attach("eddies")
    for cluster, site in zip(ours, ("near", "far"), strict=True):
        named = rf"on {site} \(site {site}\), for \d+s: {re.escape(cluster_of(cluster).id)}"
        assert re.search(named, str(refused.value))
        with clusterhub.attach(cluster_of(cluster).id) as found:
            assert found.report().profile == site
    for cluster in ours:
        cluster.close()


def test_a_record_in_this_home_comes_first(sites):
    recorded = clusterhub.connect("local", name="eddies", workers=0, local={"dashboard": False})
    try:
        own = made_without_clusterhub("eddies", site="near")
        with clusterhub.attach("eddies") as found:
            assert found.report().backend == "local"
        with clusterhub.attach(own) as found:
            assert found.report().backend == "simulated"
    finally:
        recorded.close()
    with clusterhub.attach("eddies") as found:  # the record is gone, though not forgotten
        assert found.report().backend == "simulated"


def test_what_became_of_one_in_this_home_is_told_where_nobody_else_has_that_name(monkeypatch):
    clusterhub.connect("local", name="eddies", workers=0, local={"dashboard": False}).close()
    with pytest.raises(ClusterGone, match="there is no cluster 'eddies' any more: it ended at"):
        clusterhub.attach("eddies")

    from simulated_queue import SimulatedBackend

    async def discover(self, options):
        raise ConnectionError("no route")

    monkeypatch.setattr(SimulatedBackend, "discover", discover)
    with pytest.raises(ClusterGone, match="it ended at .*; simulated could not be asked for its clusters: no route"):
        clusterhub.attach("eddies")


def test_one_that_starts_is_waited_for_and_one_that_ends_is_not(monkeypatch):
    from dataclasses import replace

    from simulated_queue import SimulatedBackend

    states = ["starting", "starting", "running", "ending"]

    async def discover(self, options):
        (cluster,) = LIVING.values()
        return [replace(cluster.sighting, state=states[0] if len(states) == 1 else states.pop(0))]

    own = made_without_clusterhub()
    monkeypatch.setattr(SimulatedBackend, "discover", discover)
    with clusterhub.attach(own) as found:
        assert found.name == own
    assert states == ["ending"]
    with pytest.raises(ClusterGone, match=f"cluster {own} on simulated .* is ending"):
        clusterhub.attach(own)
