"""The first config, and the values of a command line."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import Any

import pytest

from clusterhub.errors import ConfigError
from clusterhub.profile import parse_set, profiles, resolve, starter, write_starter
from clusterhub.profile.starter import Found
from clusterhub.quantities import Bytes

PLAIN = Found(cores=8, memory=Bytes("32 GiB"), batch_system=None, in_allocation=False, kube_config=None, gateway=False)


@pytest.mark.parametrize(
    "found",
    [
        PLAIN,
        replace(PLAIN, cores=1, memory=Bytes("100 MiB")),
        replace(PLAIN, cores=256, memory=Bytes("3 TiB"), batch_system="PBS"),
        replace(PLAIN, batch_system="SLURM", in_allocation=True),
        replace(PLAIN, batch_system="LSF"),
        replace(PLAIN, kube_config="~/.kube/config", gateway=True, batch_system="HTCondor"),
    ],
)
def test_the_first_config_resolves_as_it_is(machine: Any, found: Found) -> None:
    machine.user(starter(found))
    listing = profiles()
    assert listing.problems == ()
    assert {info.name: info.here for info in listing} == {
        "here": "ready",
        **({"batch": "ready"} if found.batch_system == "PBS" else {}),
    }
    assert machine.resolve("here").spec.workers.maximum <= found.cores


def test_the_first_config_resolves_with_every_comment_opened(machine: Any) -> None:
    text = starter(replace(PLAIN, batch_system="SLURM"))
    assert '# needs: pip install "clusterhub[slurm]"' in text
    assert "SLURM commands were found here" in text


def test_the_first_config_tells_what_is_found(machine: Any) -> None:
    machine.command("qsub")
    (machine.home / ".kube").mkdir()
    (machine.home / ".kube" / "config").write_text("")
    (machine.home / ".config" / "dask").mkdir(parents=True)
    (machine.home / ".config" / "dask" / "gateway.yaml").write_text("gateway: {address: x}")
    text = starter()
    assert "looks like a PBS login node" in text
    assert "~/.kube/config was found" in text
    assert "your dask config names a gateway" in text
    machine.user(text)
    assert {info.name for info in profiles()} == {"here", "batch"}


def test_it_is_written_for_its_owner_alone_and_never_over_another(machine: Any) -> None:
    path = write_starter()
    assert path == machine.file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    with pytest.raises(ConfigError, match="is there already") as caught:
        write_starter()
    assert caught.value.problems[0].origin == "~/.clusterhub.yaml"
    assert path.read_text() == before


def test_it_is_not_written_through_a_link_or_over_a_directory(machine: Any) -> None:
    machine.file.symlink_to(machine.root / "elsewhere")
    with pytest.raises(ConfigError, match="is there already"):
        write_starter()
    assert not (machine.root / "elsewhere").exists()
    with pytest.raises(ConfigError, match="is there already"):
        write_starter(machine.home)


def test_a_folder_that_is_not_there_is_told(machine: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_starter(machine.root / "no" / "such" / "x.yaml")


def test_it_is_written_where_the_environment_says(machine: Any) -> None:
    target = machine.root / "mine.yaml"
    machine.env(CLUSTERHUB_CONFIG=str(target))
    assert write_starter() == target
    assert machine.resolve("here").profile == "here"


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ("worker.memory=8GiB", {"worker": {"memory": "8GiB"}}),
        ("workers=4", {"workers": 4}),
        ("network.tls=true", {"network": {"tls": True}}),
        ("network.tls=no", {"network": {"tls": "no"}}),
        ("job.walltime=12:00:00", {"job": {"walltime": "12:00:00"}}),
        ("workers={minimum: 0, maximum: 5}", {"workers": {"minimum": 0, "maximum": 5}}),
        ("environment.setup=[a, 'b: c']", {"environment": {"setup": ["a", "b: c"]}}),
        ("description=a: b # c", {"description": "a: b # c"}),
        ("description='12'", {"description": "12"}),
        ("environment.variables.A=x=y", {"environment": {"variables": {"A": "x=y"}}}),
        ("node=null", {"node": None}),
        ("node=", {"node": None}),
        (["worker.cores=2", "worker.memory=1GiB", "workers=3"], {"worker": {"cores": 2, "memory": "1GiB"}, "workers": 3}),
        (["worker.cores=2", "worker.cores=3"], {"worker": {"cores": 3}}),
        (["worker={cores: 2}", "worker={gpus: 1}"], {"worker": {"cores": 2, "gpus": 1}}),
        (["worker=3", "worker.cores=2"], {"worker": {"cores": 2}}),
        (["worker.cores=2", "worker=null"], {"worker": None}),
        ([], {}),
    ],
)  # fmt: skip
def test_values_of_a_command_line(texts: Any, values: Any) -> None:
    assert parse_set(texts) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("worker.memory", ["--set: worker.memory", "must be KEY=VALUE"]),
        ("=4", ["dotted key"]),
        ("worker..memory=4", ["dotted key"]),
        (".=4", ["dotted key"]),
        ("", ["KEY=VALUE"]),
        ("workers=[1", ["--set: workers=[1", "is no YAML"]),
        ("workers={a: 1, a: 2}", ["given twice"]),
        ("workers='x", ["is no YAML"]),
        ("workers=" + "[" * 10_000, ["nested"]),
        (".".join("a" * 100) + "=1", ["dotted key"]),
        ("a='\udcff", ["is no YAML"]),
    ],
)
def test_what_a_command_line_cannot_mean_names_the_argument(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_set(text)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_value_of_the_command_line_that_is_refused_is_told_as_such(machine: Any) -> None:
    with pytest.raises(ConfigError, match="--set") as caught:
        resolve("pbs", parse_set("worker.memory=16"), origin="--set")
    assert caught.value.problems[0].origin == "--set"
