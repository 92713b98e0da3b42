"""What is resolved, as it is shown, listed and pasted."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from clusterhub.profile import profiles, resolve

SITE = Path(__file__).with_name("site.yaml").read_text()


@pytest.fixture
def site(machine: Any) -> Any:
    machine.user(SITE)
    machine.called("hal-login2")
    return machine


def test_every_value_of_spec_and_options_has_an_origin(site: Any) -> None:
    resolved = site.resolve("hal-big", pbs={"account": "ocean"}, worker={"gpus": 0})
    leaves = {leaf.path: leaf for leaf in resolved.leaves()}
    assert leaves.keys() == resolved.origins.keys()
    shown = {path: (leaf.text, leaf.origin, leaf.is_default) for path, leaf in leaves.items()}
    assert shown["workers"] == ("0 to 200", "~/.clusterhub.yaml:11", False)
    assert shown["worker.memory"] == ("60 GiB", "~/.clusterhub.yaml:28", False)
    assert shown["worker.gpus"] == ("0", "call", False)
    assert shown["environment.setup"] == ("[module load conda]", "~/.clusterhub.yaml:17", False)
    assert shown["environment.variables.OMP_NUM_THREADS"] == ('"1"', "~/.clusterhub.yaml:18", False)
    assert shown["lifecycle.max_age"] == ("7d", "default", True)
    assert shown["pbs.account"] == ("ocean", "call", False)
    assert shown["pbs.priority"] == ("0", "default", True)
    assert resolved.origin_of("worker") == "~/.clusterhub.yaml:12"
    assert resolved.origin_of("no.such.key") == "default"


def test_what_is_pasted_resolves_to_the_same(site: Any) -> None:
    first = site.resolve(
        "hal-big", pbs={"account": "a: b # c"}, environment={"setup": ["echo 'x: y'", "- no", "é\u2028\x85"]}
    )
    text = first.as_yaml()
    assert text.startswith("profiles:\n  hal-big:\n    backend: pbs\n    description: CNES HAL, PBS Pro, 8000 cores\n")
    assert "max_age" not in text
    site.user(text)
    again = site.resolve("hal-big")
    assert (again.spec, again.options) == (first.spec, first.options)
    assert again.as_yaml() == text


def test_a_resolved_profile_cannot_be_changed(site: Any) -> None:
    with pytest.raises(AttributeError):
        site.resolve("laptop").profile = "other"


def test_profiles_tells_where_each_is_and_whether_it_works_here(machine: Any) -> None:
    machine.install(
        "d-profile-test",
        {"clusterhub.profiles": {"d": "my_site_d:P"}},
        my_site_d="P = {'profiles': {'far': {'backend': 'pbs', 'description': 'a  far\\nplace'}}}",
    )
    machine.user(
        """\
        default: laptop
        profiles:
          laptop: {backend: local}
          hal: {backend: pbs, hosts: ["hal-*"]}
          cloud1: {backend: cloud}
          grid: {backend: kubernetes}
          wrong: {backend: pbs, workers: -1, worker: {cores: x}}
          none: {}
          ring: {extends: ring}
          bad: {backend: broken}
          odd: {backend: stubborn}
          odder: {backend: 5, description: 5}
          child: {extends: far}
        """
    )
    found = {info.name: info for info in profiles()}
    assert {name: info.here for name, info in found.items()} == {
        "far": "ready",
        "laptop": "ready",
        "hal": "can be used on hal-*; this is laptop.example.org",
        "cloud1": "no context is set in ~/.kube/config",
        "grid": 'not installed: pip install "clusterhub[kubernetes]"',
        "wrong": "2 problems: clusterhub show wrong",
        "none": "1 problem: clusterhub show none",
        "ring": "1 problem: clusterhub show ring",
        "bad": found["bad"].here,
        "odd": "backend stubborn fails: RuntimeError: cannot even say",
        "odder": "1 problem: clusterhub show odder",
        "child": "ready",
    }
    assert "cannot be loaded" in found["bad"].here
    assert (found["far"].origin, found["far"].description) == ("package d-profile-test", "a far place")
    assert (found["hal"].origin, found["hal"].backend) == ("~/.clusterhub.yaml:4", "pbs")
    assert (found["child"].backend, found["child"].description) == ("pbs", "a far place")
    assert [info.name for info in found.values() if info.is_default] == ["laptop"]


def test_no_profiles_is_an_empty_list(machine: Any) -> None:
    assert list(profiles()) == []


def test_a_broken_file_does_not_hide_the_others(machine: Any) -> None:
    machine.site("profiles: {a: {backend: local}}")
    machine.user("profiles: [")
    listing = profiles()
    assert [info.name for info in listing] == ["a"]
    assert [problem.origin for problem in listing.problems] == ["~/.clusterhub.yaml:1"]


def test_a_file_that_is_wrong_in_part_lists_the_rest(machine: Any) -> None:
    machine.user("profilse: {}\nprofiles: {a: {backend: local}, b: 5}")
    listing = profiles()
    assert [info.name for info in listing] == ["a"]
    assert len(listing.problems) == 2


def test_listing_asks_no_backend_for_what_takes_time(machine: Any) -> None:
    machine.user("profiles: {a: {backend: local}, b: {backend: local}}")
    profiles()
    assert sys.modules["profile_test_backends"].Local.defaults_asked == 0


def many(n: int) -> str:
    profile = textwrap.dedent(SITE[SITE.index("  hal:") : SITE.index("  hal-big:")]).splitlines()
    indented = ["    " + line for line in profile[1:]]
    return "profiles:\n" + "".join("\n".join([f"  p{i}:", *(line[2:] for line in indented)]) + "\n" for i in range(n))


def test_two_hundred_profiles_are_listed_and_each_resolves(machine: Any) -> None:
    machine.user(many(200))
    machine.called("hal-1")
    assert resolve("p150", {"pbs": {"account": "x"}}).profile == "p150"
    assert len(profiles()) == 200


def test_neither_listing_nor_resolving_imports_dask(machine: Any) -> None:
    machine.user("profiles: {a: {backend: cloud}}")
    code = """
        import sys
        from clusterhub.profile import profiles, resolve, schema
        profiles(); resolve("a", {}); schema()
        loaded = {"dask", "distributed", "ruamel", "jsonschema"} & set(sys.modules)
        assert not loaded, loaded
    """
    path = [str(machine.packages), *sys.path]
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        env={"HOME": str(machine.home), "PYTHONPATH": ":".join(path), "PATH": ""},
        timeout=60,
    )
