from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from clusterhub import registry
from clusterhub.cli import clusterhub
from clusterhub.errors import Problem

from .conftest import info

Hub = Callable[..., Result]


def test_profiles_as_a_table(hub: Hub, profile_room: Any) -> None:
    profile_room.known.append(info("pangeo", 'not installed: pip install "clusterhub[gateway]"', backend="gateway"))
    assert hub("profiles").stdout.splitlines() == [
        "  NAME    BACKEND  FROM                  HERE",
        "  hal     pbs      ~/.clusterhub.yaml:3  ready",
        "* laptop  local    ~/.clusterhub.yaml:3  ready",
        '  pangeo  gateway  ~/.clusterhub.yaml:3  not installed: pip install "clusterhub[gateway]"',
    ]


def test_profiles_for_programs(hub: Hub) -> None:
    first, second = json.loads(hub("profiles", "--json").stdout)
    assert first == {
        "name": "hal",
        "backend": "pbs",
        "description": None,
        "origin": "~/.clusterhub.yaml:3",
        "is_default": False,
        "here": "ready",
    }
    assert second["is_default"] is True


def test_a_broken_file_is_told_and_hides_no_profile_of_another(hub: Hub, profile_room: Any) -> None:
    profile_room.problems = (Problem("/etc/clusterhub/a.yaml:3", "", "is no YAML"),)
    result = hub("profiles")
    assert result.exit_code == 2
    assert "laptop" in result.stdout
    assert result.stderr == "✘ /etc/clusterhub/a.yaml:3: is no YAML\n"
    assert len(json.loads(hub("profiles", "--json").stdout)) == 2


def test_no_profiles_name_the_next_step(hub: Hub, profile_room: Any) -> None:
    profile_room.known = []
    assert "clusterhub init" in hub("profiles").stdout
    assert json.loads(hub("profiles", "--json").stdout) == []


def test_backends_tells_of_those_that_cannot_load(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("broken", "no.such.module:Backend", registry.GROUP)
    known = {**registry.candidates(), "broken": registry.Candidate("broken", (entry,))}
    monkeypatch.setattr(registry, "candidates", lambda: known)
    result = hub("backends")
    assert result.exit_code == 0
    broken = next(line for line in result.stdout.splitlines() if line.startswith("broken"))
    assert "No module named 'no'" in broken
    found = {one["name"]: one for one in json.loads(hub("backends", "--json").stdout)}
    assert found["broken"]["loads"] is False
    assert found["local"]["loads"] is True
    assert found["local"]["problem"] is None
    assert "network.tls" in found["local"]["features"]


def completions(*args: str, incomplete: str = "") -> list[str]:
    complete = ShellComplete(clusterhub, {}, "clusterhub", "_CLUSTERHUB_COMPLETE")
    return [item.value for item in complete.get_completions(list(args), incomplete)]


def test_the_shell_completes_profiles(profile_room: Any) -> None:
    assert completions("show", incomplete="h") == ["hal"]
    assert completions("run") == ["hal", "laptop"]
    assert "profiles" in completions(incomplete="pro")


def test_a_broken_config_completes_to_nothing(profile_room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_room, "known", None)
    assert completions("show", incomplete="h") == []


def test_schema_and_init_pass_on_what_the_profile_room_says(hub: Hub) -> None:
    assert json.loads(hub("schema").stdout) == {"title": "clusterhub"}
    assert hub("init").stdout.startswith("written  ~/.clusterhub.yaml\n")
