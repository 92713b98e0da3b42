"""`clusterhub ls` asks the systems that clusters live in: those that are configured, all at once, and waits for none of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from simulated_queue import SimulatedBackend, SimulatedOptions

import clusterhub
from clusterhub import registry
from clusterhub.api import elsewhere
from clusterhub.backend import Ref, Sighting
from clusterhub.errors import BackendUnavailable
from clusterhub.keeper import discovery
from clusterhub.keeper.discovery import Found, Seen, System, look
from clusterhub.keeper.listing import clusters
from clusterhub.spec import Workers

from .conftest import connect, made_without_clusterhub


class Told:
    """A system that tells what it was given to tell."""

    def __init__(self, *names, error=None, silent=False):
        self.names, self.error, self.silent = names, error, silent

    async def attach(self, ref, options):
        raise NotImplementedError

    async def discover(self, options):
        if self.silent:
            await asyncio.sleep(30)
        if self.error is not None:
            raise self.error
        return [Sighting(Ref(backend="told", name=name)) for name in self.names]


def system(label, *names, **trouble):
    return System(label, label, Told(*names, **trouble), None)


# What is told


def test_one_that_hangs_or_fails_hides_no_other(monkeypatch):
    asked = [
        system("far", "tides", "eddies"),
        system("slow", silent=True),
        system("dead", error=ConnectionError("no such host\nat all")),
        system("mute", error=RuntimeError()),
    ]

    def after_the_others(answers, patience):  # however busy this machine is, they are in time
        wait([answers[0], *answers[2:]], 60)
        return wait(answers, patience)

    monkeypatch.setattr(discovery, "wait", after_the_others)
    monkeypatch.setattr(discovery, "PATIENCE", 0.5)
    seen = look(asked)
    assert [found.name for found in seen.found] == ["tides", "eddies"]
    assert seen.remarks == (
        "slow did not answer within 0.5 s; its clusters are not listed",
        "dead could not be asked for its clusters: no such host at all",
        "mute could not be asked for its clusters: RuntimeError",
    )


def test_a_cluster_that_two_profiles_lead_to_is_told_of_once_and_by_its_own():
    first, second = system("hub", "eddies"), system("hub-big", "eddies")
    assert [found.system.label for found in look([first, second]).found] == ["hub"]

    class Ours(Told):
        async def discover(self, options):
            return [replace(sighting, profile="hub-big") for sighting in await super().discover(options)]

    both = [System(label, "told", Ours("eddies"), None) for label in ("hub", "hub-big")]
    assert [found.system.label for found in look(both).found] == ["hub-big"]


HEX = "5f3a0c1d2e4b6a798897a6b5c4d3e2f1"
MADE = datetime(2026, 1, 1, 12, 0, 0, 125000, UTC)


def addressed(label, own_name=HEX, created=MADE, name="eddies", **more):
    """A system that tells of one cluster, with the address at which it was asked."""

    class Addressed(Told):
        async def discover(self, options):
            ref = Ref(backend="told", name=name, data={"address": f"https://{label}"})
            return [Sighting(ref, own_name=own_name, created=created, **more)]

    return System(label, "told", Addressed(), None)


def seen_by(*asked):
    return [found.system.label for found in look(asked).found]


def test_a_system_with_an_address_inside_and_one_outside_is_one():
    for own_name in (HEX, f"space.{HEX}"):
        assert seen_by(addressed("in", own_name), addressed("out", own_name)) == ["in"]
    assert seen_by(addressed("in", profile="out"), addressed("out", profile="out")) == ["out"]
    mute = addressed("in", name=HEX, silent=True)
    assert seen_by(mute, addressed("out")) == ["out"]
    assert seen_by(addressed("out"), mute) == ["out"]


@pytest.mark.parametrize(
    "other",
    [
        {"own_name": HEX[::-1]},
        {"created": MADE + timedelta(milliseconds=1)},
    ],
)
def test_two_clusters_are_never_taken_for_one(other):
    assert seen_by(addressed("in"), addressed("out", **other)) == ["in", "out"]


@pytest.mark.parametrize("known", [{"own_name": ""}, {"own_name": "eddies"}, {"created": None}])
def test_what_does_not_tell_clusters_apart_for_sure_makes_none_the_same(known):
    assert seen_by(addressed("in", **known), addressed("out", **known)) == ["in", "out"]


def listed(*sightings, records=()):
    told = Seen(tuple(Found(system("hub"), sighting) for sighting in sightings))
    return clusters(lambda: told)


def test_what_a_system_tells_is_a_row(home):
    hour = datetime.now(UTC) - timedelta(hours=1)
    sighting = Sighting(
        Ref(backend="told", name="eddies"), profile="hub", kept=True, target=Workers.exactly(8), connected=6, created=hour,
        where="hub.example.org", own_name="5f3a",
    )  # fmt: skip
    (info,) = found = listed(sighting)
    assert info.to_dict() == {
        "name": "eddies", "profile": "hub", "backend": "told", "state": "running", "reason": "", "kept": True,
        "connected": 6, "asked": 8, "pending": None, "failed": None, "created": hour.isoformat(), "idle_since": None,
        "ends": None, "host": "hub.example.org", "taken": None, "own_name": "5f3a",
    }  # fmt: skip
    assert str(found).splitlines()[1].split() == [
        "eddies", "hub", "told", "running", "6/8", "-", "1h", "-", "-", "hub.example.org"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "connected", "workers"),
    [
        (None, None, "-"),
        (None, 3, "3/-"),
        (Workers.exactly(2), None, "-/2"),
        (Workers(minimum=0, maximum=9), 3, "3/3"),
        (Workers(minimum=2, maximum=9), None, "-/2"),
    ],
)
def test_what_is_not_known_is_not_made_up(home, target, connected, workers):
    found = listed(Sighting(Ref(backend="told", name="eddies"), target=target, connected=connected))
    assert str(found).splitlines()[1].split() == ["eddies", "-", "told", "running", workers, "-", "-", "-", "-", "hub"]


# Which systems are asked


def test_the_clusters_of_every_profiles_system_are_listed(sites):
    made_without_clusterhub("stray")
    with connect("near", name="eddies"), connect("far", name="eddies", workers=2) as far:
        rows = [(info.name, info.profile, info.host, info.reason) for info in clusterhub.clusters()]
        assert rows == [
            ("eddies", "near", "site near", ""),
            ("eddies", "far", "site far", ""),
            ("stray", "-", "site here", "made without clusterhub"),
        ]
        assert far.name in str(clusterhub.clusters())


def labels():
    asked = elsewhere.systems()
    return [each.label for each in asked.known], list(asked.remarks)


def test_a_backends_bare_name_is_asked_where_no_profile_has_it(config):
    assert labels() == (["simulated"], [])
    config("simulated: {backend: simulated, simulated: {site: near}}\n")
    assert labels() == (["simulated"], [])
    assert elsewhere.systems().known[0].options == SimulatedOptions(site="near")


def test_two_profiles_that_ask_the_same_are_one_system(config):
    config(
        """\
        hub: {backend: simulated, simulated: {site: near}, workers: 3}
        hub-big: {extends: hub, worker: {memory: 64 GiB}}
        other: {extends: hub, simulated: {queue: long}}
        here: {backend: simulated}
        """
    )
    assert labels() == (["hub", "other", "here"], [])


def test_profiles_of_other_kinds_are_not_looked_at(config, monkeypatch):
    config("laptop: {backend: local}\nhal: {backend: pbs, worker: {memory: 8G}}\nodd: {backend: no-such}\n")
    monkeypatch.setattr(SimulatedBackend, "unusable", lambda self: "there is no qsub here")
    assert labels() == ([], [])


def test_what_is_made_for_other_hosts_is_passed_over(config):
    config("hub: {backend: simulated, simulated: {site: near}, hosts: [no-such-host]}\n")
    assert labels() == (["simulated"], [])


def test_a_profile_of_this_kind_that_cannot_be_asked_is_told(config):
    config(
        """\
        hub: {backend: simulated, simulated: {site: near, sight: far}, worker: {memory: 8G}}
        ring: {extends: ring}
        """
    )
    asked, remarks = labels()
    assert asked == ["simulated"]
    assert remarks == ["hub was not asked for its clusters: 2 problems, see clusterhub show hub"]


@pytest.mark.parametrize("error", [BackendUnavailable("no client here; pip install it"), RuntimeError("boom")])
def test_a_library_that_is_missing_is_told_for_a_profile_and_not_for_a_bare_name(config, monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(SimulatedBackend, "load", load)
    assert labels() == ([], [])
    config("hub: {backend: simulated}\n")
    ((), (remark,)) = map(tuple, labels())
    assert remark.startswith("hub was not asked for its clusters: ")
    assert str(error) in remark
    assert str(clusterhub.clusters()).splitlines() == ["no clusters live, as far as could be asked", remark]


def test_one_that_lacks_its_address_is_not_asked_nor_is_its_library_loaded(config, monkeypatch):
    def load(self):
        raise AssertionError("it takes a second")

    monkeypatch.setattr(SimulatedBackend, "load", load)
    monkeypatch.setattr(SimulatedBackend, "refusals", lambda self, spec, options: {"simulated.site": "where is it?"})
    assert labels() == ([], [])
    config("hub: {backend: simulated}\n")
    assert labels() == ([], ["hub was not asked for its clusters: simulated.site: where is it?"])


def test_a_config_that_cannot_be_read_hides_no_cluster(home):
    (home / ".clusterhub.yaml").write_text("profiles: [\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTERHUB_CONFIG", str(home / "no-such-file"))
        assert labels()[0] == ["simulated"]
    assert labels()[0] == ["simulated"]


def test_no_native_library_of_another_backend_is_loaded(monkeypatch):
    loaded = []
    for candidate in registry.candidates().values():
        kind = type(candidate.load())
        monkeypatch.setattr(kind, "load", lambda self: loaded.append(self.name))
    clusterhub.clusters()
    assert loaded == ["simulated"]


def test_a_name_that_is_not_found_comes_with_what_could_not_be_asked(config, monkeypatch):
    config("hub: {backend: simulated, simulated: {sight: far}}\n")
    with pytest.raises(clusterhub.ConfigError, match="there are: none; hub was not asked for its clusters: 1 problem"):
        clusterhub.attach("eddies")

    async def discover(self, options):
        raise ConnectionError("no route")

    monkeypatch.setattr(SimulatedBackend, "discover", discover)
    with pytest.raises(clusterhub.ConfigError, match="simulated could not be asked for its clusters: no route"):
        clusterhub.attach("eddies")


@pytest.mark.usefixtures("sites")
def test_a_name_that_a_system_may_know_which_does_not_answer_is_not_called_wrong(monkeypatch):
    discover = SimulatedBackend.discover

    async def partly(self, options):
        if options.site == "far":
            raise ConnectionError("no route")
        return await discover(self, options)

    monkeypatch.setattr(SimulatedBackend, "discover", partly)
    with connect("near", name="eddies"):
        assert clusterhub.attach("eddies").report().profile == "near"
        with pytest.raises(clusterhub.ClusterhubError) as refused:
            clusterhub.attach("tides")
    assert not isinstance(refused.value, clusterhub.ConfigError), "it may be right another time"
    assert str(refused.value) == (
        "far could not be asked for its clusters: no route; nobody else knows a cluster 'tides'; there are: eddies; try again"
    )
