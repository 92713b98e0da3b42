"""The command line on clusters that live elsewhere: found by name, told, ended; and nothing of others is ended unasked."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from simulated_queue import SimulatedBackend
from simulated_queue.cluster import SimulatedCluster
from simulated_queue.deployment import SimulatedDeployment
from simulated_queue.system import LIVING

import clusterhub
from clusterhub import keeper
from clusterhub.cli import clusterhub as command
from clusterhub.cli import watching
from clusterhub.errors import Failure
from clusterhub.keeper import discovery

from .conftest import connect, living, made_without_clusterhub


def hub(*args: str, **options: Any) -> Result:
    return CliRunner().invoke(command, args, prog_name="clusterhub", **options)


@pytest.fixture
def eddies(sites):
    """A kept cluster on profile near."""
    connect("near", name="eddies", keep=True).close()
    (cluster,) = LIVING.values()
    return cluster


# Looking


def test_ls_tells_of_it_and_of_what_could_not_be_asked(eddies, config):
    config(
        """\
        near: {backend: simulated, simulated: {site: near}, worker: {cores: 1, memory: 512 MiB}}
        slip: {backend: simulated, simulated: {sight: far}}
        """
    )
    found = hub("ls")
    *shown, age, idle, left, site, near = found.stdout.splitlines()[1].split()
    assert shown == ["eddies", "near", "simulated", "running", "0/0", "-"]
    assert re.fullmatch(r"\d+s", age)
    assert [idle, left, site, near] == ["-", "-", "site", "near"]
    assert found.stderr == "! slip was not asked for its clusters: 1 problem, see clusterhub show slip\n"


def test_status_tells_what_it_does(eddies):
    assert hub("status", "eddies").stdout == "eddies on near (simulated): 0 workers asked, 0 connected\n"
    told = json.loads(hub("status", "eddies", "--json").stdout)
    assert (told["name"], told["kept"], told["state"], told["host"]) == ("eddies", True, "running", "site near")


@pytest.mark.parametrize("state", ["starting", "ending"])
def test_the_status_of_one_that_only_starts_or_ends_is_told_at_once(eddies, monkeypatch, state):
    passing(monkeypatch, state, "no place yet")
    told = hub("status", "eddies")
    assert told.stdout.startswith(f"eddies on near (simulated, site near): {state}")
    assert told.stdout.endswith("  no place yet\n")


def passing(monkeypatch, state, reason=""):
    discover = SimulatedBackend.discover

    async def other(self, options):
        return [replace(sighting, state=state, reason=reason) for sighting in await discover(self, options)]

    monkeypatch.setattr(SimulatedBackend, "discover", other)


def test_watching_goes_on_until_it_ends(eddies, monkeypatch):
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            clusterhub.attach("eddies").shutdown()

    monkeypatch.setattr(watching.time, "sleep", pause)
    watched = hub("status", "eddies", "--watch")
    assert watched.exit_code == 0
    assert "eddies has been closed" in watched.stderr


def test_watching_is_not_misled_by_an_older_cluster_of_that_name_in_this_home(sites, monkeypatch):
    clusterhub.connect("local", name="eddies", workers=0, local={"dashboard": False}).close()
    connect("near", name="eddies", keep=True).close()
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", pause)
    assert hub("status", "eddies", "--watch").exit_code == 0
    assert len(looks) == 3


def test_logs_are_those_of_scheduler_and_jobs(eddies):
    assert "──── scheduler ────" in hub("logs", "eddies").stdout
    refused = hub("logs", "eddies", "--unit", "keeper")
    assert (refused.exit_code, refused.stderr) == (2, "✘ eddies has no unit keeper; there are: scheduler\n")


def test_a_ticket_tells_what_is_known_and_shows_no_secret(sites):
    connect("near", name="eddies", keep=True, simulated={"password": "hunter2"}).close()
    ticket = hub("report", "eddies").stdout
    for part in (
        "eddies, sim.",
        "running on site near",
        "worker.memory",
        "──── job script ────",
        "──── log of scheduler",
    ):
        assert part in ticket
    assert "hunter2" not in ticket
    assert "log of the keeper" not in ticket


def test_a_ticket_of_one_that_ended_in_this_home_is_still_to_be_had(sites):
    clusterhub.connect("local", name="tides", workers=0, local={"dashboard": False}).close()
    assert "it was closed" in hub("report", "tides").stdout or "ended" in hub("report", "tides").stdout
    unknown = hub("report", "nobody")
    assert (unknown.exit_code, "there is no cluster of that name" in unknown.stderr) == (2, True)


def test_completion_asks_no_system(eddies, monkeypatch):
    def asked(*args, **options):
        raise AssertionError("a shell waits for it")

    monkeypatch.setattr(discovery, "under_way", asked)
    complete = ShellComplete(command, {}, "clusterhub", "_CLUSTERHUB_COMPLETE")
    assert complete.get_completions(["status"], "e") == []


# Telling


def test_scale_tells_it(eddies):
    assert hub("scale", "eddies", "0..3").stdout.startswith("eddies: 0 to 3 workers, as the load asks, from now on")
    assert clusterhub.attach("eddies").report().target.maximum == 3


def limited(monkeypatch):
    """The system lets nobody have more than two."""

    async def remarks(self):
        return ["2 workers are all that the site lets you have"]

    async def failure(self):
        return Failure("the site lets you have 2 workers", because="workers", next_step="ask for 2")

    monkeypatch.setattr(SimulatedDeployment, "remarks", remarks, raising=False)
    monkeypatch.setattr(SimulatedCluster, "failure", failure)


def test_what_stands_against_a_new_target_is_said_with_it(eddies, monkeypatch):
    limited(monkeypatch)
    assert hub("scale", "eddies", "3").stdout.splitlines() == [
        "eddies: 3 workers, from now on; 0 connected",
        "  2 workers are all that the site lets you have",
        "  nothing more is launched: the site lets you have 2 workers",
    ]
    assert "note       2 workers are all that the site lets you have" in hub("status", "eddies").stdout.splitlines()


def test_a_number_that_was_told_since_is_not_blamed_on_the_place_of_another(sites, monkeypatch):
    limited(monkeypatch)
    with connect("near", name="eddies", workers=3) as cluster:
        assert cluster.report().failure.because == "call  workers = 3"
        cluster.scale(4)
        assert cluster.report().failure.because == "workers"
        assert "because  workers\n" in hub("status", "eddies").stdout
        cluster.scale(3)
        assert cluster.report().failure.because == "call  workers = 3"


def test_up_starts_one_that_is_kept_and_finds_it_again(sites):
    first = hub("up", "near", "--name", "eddies", "--workers", "1", "--wait", "--timeout", "30s")
    lines = first.stdout.splitlines()
    assert lines[0] == "eddies on near (simulated)"
    assert lines[1] == "  1 worker, 1 core and 512 MiB; 1 job of 1 worker"
    assert lines[2].startswith("  ✔ cluster ready, scheduler tcp://127.0.0.1:")
    assert first.exit_code == 0
    assert living() == ["eddies"]
    again = hub("up", "near", "--name", "eddies", "--workers", "0")
    assert re.search(r"✔ it lives already, for \d+s, scheduler", again.stdout)
    assert clusterhub.attach("eddies").report().target.minimum == 0
    other = hub("up", "near", "--name", "eddies", "--set", "worker.memory=1GiB")
    assert (other.exit_code, "eddies has 512 MiB" in other.stderr) == (2, True)
    assert living() == ["eddies"]


def test_an_interrupted_start_leaves_nothing(sites, monkeypatch):
    from clusterhub.cli import starting

    def started(prepared):
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "_started", started)
    interrupted = hub("up", "near", "--name", "eddies")
    assert (interrupted.exit_code, interrupted.stderr) == (
        130, "✘ interrupted; what was being started is ended again\n",
    )  # fmt: skip


# Ending


def test_down_ends_it_by_its_name_and_by_its_systems(eddies):
    connect("far", name="tides", keep=True).close()
    tides = next(cluster.id for cluster in LIVING.values() if cluster.plan.name == "tides")
    ended = hub("down", "eddies", tides, "eddies")
    assert (ended.exit_code, ended.stdout) == (0, "  ✔ eddies has ended\n  ✔ tides has ended\n")
    assert living() == []
    unknown = hub("down", "eddies")
    assert (unknown.exit_code, "there are: none" in unknown.stderr) == (2, True)


def test_down_tells_what_goes_with_it(sites):
    with connect("near", name="eddies", workers=1, keep=True) as cluster:
        cluster.wait(1, timeout=60)
    assert hub("down", "eddies").stdout == "  ✔ eddies has ended, with 1 worker\n"


def test_one_of_two_of_a_name_has_to_be_said_which(eddies):
    connect("far", name="eddies", keep=True).close()
    refused = hub("down", "eddies")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.search(rf"on near \(site near\), for \d+s: {re.escape(eddies.id)}", refused.stderr)
    assert hub("down", eddies.id).exit_code == 0
    assert hub("down", "eddies").exit_code == 0
    assert living() == []


def test_all_ends_what_clusterhub_made_and_leaves_the_rest(sites):
    stray = made_without_clusterhub()
    assert hub("down", "--all").stdout == (
        f"no clusters live but those made without clusterhub, and left alone: {stray} on simulated (site here);"
        " name what is to end\n"
    )
    connect("near", name="eddies", keep=True).close()
    connect("far", keep=True).close()
    names = living()
    asked = hub("down", "--all")
    assert asked.exit_code == 2
    assert "end 2 clusters (eddies on near (site near), far-" in asked.stderr
    assert f"left alone: {stray} on simulated (site here); name what is to end" in asked.stderr
    assert living() == names
    ended = hub("down", "--all", "--yes")
    assert ended.exit_code == 0, ended.stderr
    assert f"left alone: {stray}" in ended.stderr
    assert living() == [stray]
    assert hub("down", stray).exit_code == 0
    assert living() == []


def test_all_tells_of_the_systems_that_did_not_answer(sites, monkeypatch):
    async def discover(self, options):
        raise ConnectionError("no route")

    monkeypatch.setattr(SimulatedBackend, "discover", discover)
    told = hub("down", "--all", "--yes")
    assert told.stdout == "no clusters live, as far as could be asked\n"
    assert "! near could not be asked for its clusters: no route\n" in told.stderr
    assert hub("ls").stdout == "no clusters live, as far as could be asked; clusterhub up P starts one\n"
    for asked in (["status", "eddies"], ["down", "eddies"], ["logs", "eddies"]):
        refused = hub(*asked)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith("✘ near could not be asked for its clusters: no route; far could not be asked")


def test_one_that_only_starts_cannot_be_ended_unless_its_system_can(eddies, monkeypatch):
    passing(monkeypatch, "starting")
    refused = hub("down", "eddies")
    assert (refused.exit_code, refused.stderr) == (
        1, "✘ eddies was not ended: it is starting on near (site near), and can be ended once it runs\n",
    )  # fmt: skip

    async def end(self, ref, options):
        from simulated_queue import system

        await system.asked(system.ended(LIVING[ref.data["id"]]))

    monkeypatch.setattr(SimulatedBackend, "end", end, raising=False)
    assert hub("down", "eddies").stdout == "  ✔ eddies has ended; it was starting\n"
    assert living() == []


def test_a_record_that_is_dead_is_cleared_before_anything_elsewhere_is_touched(eddies, monkeypatch):
    assert "eddies" not in [info.name for info in keeper.recorded()]
    ended = []
    monkeypatch.setattr(keeper, "end", lambda name: ended.append(name) or f"{name} was dead", raising=False)
    from clusterhub.keeper.records import Store

    monkeypatch.setattr(Store, "names", lambda self: ["eddies"])
    assert hub("down", "eddies").stdout == "  ✔ eddies was dead\n"
    assert ended == ["eddies"]
    assert living() == ["eddies"]
