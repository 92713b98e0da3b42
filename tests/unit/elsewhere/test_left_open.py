"""What a system decides where nobody says it: shown as left to it, never as a default that nobody would get."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from simulated_queue import SimulatedBackend

import clusterhub
from clusterhub.backend import Feature, left_by
from clusterhub.cli import clusterhub as command
from clusterhub.errors import ConfigError
from clusterhub.keeper.wire import plan_from, without_secrets
from clusterhub.profile import resolve
from clusterhub.spec import ClusterSpec

OPEN = frozenset({"worker.cores", "worker.memory", "environment.python"})


@pytest.fixture(autouse=True)
def _open(monkeypatch):
    monkeypatch.setattr(SimulatedBackend, "left_open", OPEN)
    monkeypatch.setattr(SimulatedBackend, "features", frozenset({Feature.PYTHON}))  # no jobs: the sums are of workers


def shown(*words):
    found = CliRunner().invoke(command, ("show", "simulated", *words), prog_name="clusterhub")
    assert found.exit_code == 0, found.stderr
    return found.stdout


def test_what_is_said_is_not_left_open():
    assert left_by(ClusterSpec(backend="simulated"), SimulatedBackend()) == OPEN
    said = ClusterSpec(backend="simulated", worker={"memory": "4 GiB"}, environment={"setup": ["true"]})
    assert left_by(said, SimulatedBackend()) == OPEN - {"worker.memory"}


def test_leaves_tell_it():
    leaves = {leaf.path: leaf for leaf in resolve("simulated", {"worker": {"cores": 2}}).leaves()}
    assert (leaves["worker.cores"].text, leaves["worker.cores"].left) == ("2", False)
    left = leaves["worker.memory"]
    assert (left.text, left.origin, left.is_default, left.left) == ("left to simulated", "default", True, True)


def test_show_tells_it_and_makes_no_sum_of_it():
    lines = shown("--workers", "3").splitlines()
    assert [line.split() for line in lines if "worker.memory" in line] == [
        ["worker.memory", "left", "to", "simulated", "default"]
    ]
    assert "in all: 3 workers, their cores and memory left to simulated" in lines
    assert "in all: 3 workers, 6 cores, their memory left to simulated" in shown(
        "--workers", "3", "--set", "worker.cores=2"
    )
    values = {value["key"]: value for value in json.loads(shown("--json"))["values"]}
    assert (values["worker.memory"]["text"], values["worker.memory"]["default"]) == ("left to simulated", True)
    assert "memory" not in shown("--yaml")


def test_it_is_known_wherever_the_plan_goes():
    plan = clusterhub.plan("simulated", worker={"cores": 2})
    again = plan_from(without_secrets(plan))
    assert [leaf.path for leaf in again.values if leaf.left] == ["worker.memory", "environment.python"]


# Shapes


def connect(**worker):
    return clusterhub.connect("simulated", name="eddies", workers=0, **({"worker": worker} if worker else {}))


def test_who_leaves_it_open_takes_a_cluster_of_any_such_shape():
    with connect(memory="1 GiB"), connect() as again:
        assert again.name == "eddies"
    with connect(), connect() as again:
        assert again.name == "eddies"


def test_who_says_it_gets_none_that_left_it_open():
    with (
        connect(),
        pytest.raises(ConfigError, match="worker.memory = 4 GiB: eddies left it to simulated; clusterhub.att"),
    ):
        connect(memory="4 GiB")


def test_up_tells_it():
    words = ("up", "simulated", "--name", "eddies", "--workers", "0")
    started = CliRunner().invoke(command, words, prog_name="clusterhub")
    assert started.stdout.splitlines()[1] == "  0 workers; their cores and memory left to simulated; 0 jobs of 1 worker"
