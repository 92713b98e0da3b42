"""What stands in the files: YAML 1.2 with the line of everything, and one clear message for all that is no config."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import effort
from clusterhub.backend import Said
from clusterhub.errors import ConfigError
from clusterhub.profile import profiles, resolve, yaml12
from clusterhub.profile.tree import find, from_python, merge, settled
from clusterhub.profile.yaml12 import lines, read_yaml

LAPTOP = "profiles: {laptop: {backend: local}}\n"


def read(text: str) -> Any:
    return read_yaml(text, lines("f")).plain()


@pytest.fixture(params=["libyaml", "ruamel"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read: with the fast library and without it."""
    if request.param == "ruamel":
        monkeypatch.setattr(yaml12, "_libyaml", lambda: None)
    return str(request.param)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("off", "off"), ("12:00:00", "12:00:00"), ("1_000", "1_000"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("010", 10), ("0o10", 8),
        ("0x1F", 31), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), ("'4'", "4"), ('"no"', "no"), ("2026-01-01", "2026-01-01"),
        ("!!str 5", "5"), ("! 5", "5"), ("!!int 5", 5), ("!!float 5", 5), ("٣", "٣"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_a_value_means_what_yaml_1_2_says(parser: str, written: str, meant: Any) -> None:
    assert read(f"key: {written}\n") == {"key": meant}


def test_infinities_are_numbers_for_the_models_to_refuse(parser: str) -> None:
    assert read("{a: .inf, b: -.INF}") == {"a": float("inf"), "b": float("-inf")}
    assert read("a: .nan")["a"] != read("a: .nan")["a"]


def test_every_key_and_value_knows_its_line(parser: str) -> None:
    root = read_yaml("a:\n  b:\n    - 1\n    - c: 2\n  d:\n    text\n", lines("f"))
    places = {path: (n.key_origin, n.origin) for path in ("a", "a.b", "a.d") if (n := find(root, path.split(".")))}
    assert places == {"a": ("f:1", "f:2"), "a.b": ("f:2", "f:3"), "a.d": ("f:5", "f:6")}
    item = find(root, ("a", "b", 1, "c"))
    assert item is not None
    assert item.origin == "f:4"


def test_anchors_aliases_and_merge_keys_work(parser: str) -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {z: 3, x: 9}\none: {<<: *b, y: 5}\ntwo:\n  <<: [*b, *o]\nthree: *b\n"
    found = read(text)
    assert found["one"] == {"x": 1, "y": 5}
    assert found["two"] == {"x": 1, "y": 2, "z": 3}
    assert found["three"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_is_a_key_like_any_other(parser: str) -> None:
    assert read("'<<': 1") == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", ["f:1", "is no YAML", "line 1, column 5", "in quotes"]),
        ("a:\n\tb: 1", ["f:2", "is no YAML", "column 1"]),
        ("a: [1, 2\nb: 3\n", ["is no YAML", "expected ',' or ']'", "line 2"]),
        ("a: 'x", ["is no YAML", "unexpected end"]),
        ("a: \x07", ["is no YAML"]),
        ("a: 1\nb: 2\na: 3\n", ["f:3: a", "given twice", "f:1"]),
        ("p:\n  q: 1\n  q: 2\n", ["f:3: p.q", "given twice", "f:2"]),
        ("5: x", ["the key 5 must be a text", "quotes"]),
        ("true: x", ["the key true must be a text"]),
        (": x", ["the key null must be a text"]),
        ("? [a]\n: x", ["a key must be a text"]),
        ("a: 1\n---\nb: 2\n", ["f:2", "second document"]),
        ("a: !python/object:os.system x", ["tag", "!python/object", "leave it out"]),
        ("a: !!binary aGVsbG8=", ["tag !!binary"]),
        ("a: !!int x", ["tag !!int"]),
        ("a: *b", ["*b", "define it above"]),
        ("a: &a [*a]", ["*a", "before"]),
        ("<<: 5", ["merge key"]),
    ],
)
def test_bad_yaml_is_one_clear_message_with_its_line(parser: str, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_with_the_keys_of_a_file_is_told_at_once(parser: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("a: 1\na: 2\n3: x\n")
    assert [problem.origin for problem in caught.value.problems] == ["f:2", "f:3"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 5_000,
        "\n".join("  " * i + "a:" for i in range(2000)),
        "- " * 20_000,
        "a: &x0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"b{i}: &x{i + 1} [{','.join([f'*x{i}'] * 9)}]\n" for i in range(12)),
        "a: &x0 {k: 1}\n" + "".join(f"b{i}: &x{i + 1} {{k: *x{i}}}\n" for i in range(200)),
    ],
    ids=["flow lists", "flow tables", "block tables", "block lists", "billion laughs", "deep aliases"],
)
def test_bombs_and_bottomless_nesting_are_refused_before_they_cost_anything(parser: str, text: str) -> None:
    """Unfolded, the laughs alone were 10 GB and hours."""

    def refused() -> None:
        with pytest.raises(ConfigError):
            read(text)

    assert effort.of(refused) < 10


def test_both_parsers_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(__file__).with_name("site.yaml").read_text()
    fast = read_yaml(text, lines("f"))
    monkeypatch.setattr(yaml12, "_libyaml", lambda: None)
    assert read_yaml(text, lines("f")) == fast


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "---\n", "null\n", "profiles:\n", "profiles: {}\n", "default:\n"]
)
def test_an_empty_file_is_fine(machine: Any, text: str) -> None:
    machine.user(text)
    assert machine.resolve("local").spec.backend == "local"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", ["holds a list", "default and profiles"]),
        ("hello", ["holds a single value"]),
        ("profile: {}", ["unknown key", "did you mean profiles?"]),
        ("hal: {backend: pbs}", ["unknown key", "a profile goes under profiles: {hal: ...}"]),
        ("x: 1", ["unknown key", "default and profiles"]),
        ("profiles: [a]", ["profiles", "must be a table of profiles"]),
        ("profiles: {hal: 5}", ["profiles.hal", "must be a table"]),
        ("profiles: {'': {}}", ["needs a name"]),
        ("default: {a: b}", ["default", "name of a profile"]),
        ("default: [1]", ["default", "name of a profile"]),
        ("default: 5", ["default", "name of a profile"]),
    ],
)
def test_a_file_of_another_shape_is_told_with_its_line(machine: Any, text: str, words: list[str]) -> None:
    machine.user(text)
    problem = machine.problem("local")
    assert problem.origin == "~/.clusterhub.yaml:1"
    assert all(word in str(problem) for word in words), str(problem)


def test_the_problems_of_all_files_are_told_at_once(machine: Any) -> None:
    machine.site("profiles: [")
    machine.user("x: 1")
    assert len(machine.refused("local").problems) == 2


def test_a_directory_in_place_of_the_file_is_told(machine: Any) -> None:
    machine.file.mkdir()
    assert "it is a directory" in str(machine.problem("local"))


def test_a_file_in_another_encoding_is_told_with_its_line(machine: Any) -> None:
    machine.file.write_bytes(b"profiles: {}\n# caf\xe9\n")
    problem = machine.problem("local")
    assert (problem.origin, "UTF-8" in problem.message) == ("~/.clusterhub.yaml:2", True)


def test_a_byte_order_mark_is_no_matter(machine: Any) -> None:
    machine.file.write_bytes(b"\xef\xbb\xbf" + LAPTOP.encode())
    assert machine.resolve("laptop").profile == "laptop"


def test_a_huge_file_is_no_config(machine: Any) -> None:
    machine.file.write_bytes(b"#" * (5 * 2**20))
    assert "larger than 4 MiB" in str(machine.problem("local"))


def test_a_file_that_may_not_be_read_is_told(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.user(LAPTOP)
    if os.geteuid() == 0:  # root reads everything: the refusal of the system is played
        original = Path.open

        def refusing(self: Path, *args: Any, **kwargs: Any) -> Any:
            if self == machine.file:
                raise PermissionError(13, "Permission denied")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Path, "open", refusing)
    else:
        machine.file.chmod(0)
    problem = machine.problem("local")
    assert problem.origin == "~/.clusterhub.yaml"
    assert "permission denied" in problem.message


def test_a_home_that_is_not_there_is_no_file(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in (str(machine.root / "nowhere"), "/dev/null", ""):
        machine.env(HOME=home)
        assert machine.resolve("local").profile == "local"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert machine.resolve("local").profile == "local"


def test_a_home_that_loops_is_one_clear_message(machine: Any) -> None:
    machine.file.symlink_to(machine.file)
    assert "cannot be read" in str(machine.problem("local"))


def test_the_file_named_by_the_environment_replaces_the_homes(machine: Any) -> None:
    machine.user("profiles: {a: {backend: local}}")
    other = machine.root / "other.yaml"
    other.write_text("profiles: {b: {backend: local}}")
    machine.env(CLUSTERHUB_CONFIG=str(other))
    assert [info.name for info in profiles()] == ["b"]


def test_the_file_named_by_the_environment_must_exist(machine: Any) -> None:
    machine.env(CLUSTERHUB_CONFIG=str(machine.root / "no.yaml"))
    assert "correct or unset CLUSTERHUB_CONFIG" in str(machine.problem("local"))


def test_an_empty_variable_names_no_file(machine: Any) -> None:
    machine.user(LAPTOP)
    machine.env(CLUSTERHUB_CONFIG="")
    assert machine.resolve("laptop").profile == "laptop"


def test_the_null_device_is_an_empty_config(machine: Any) -> None:
    machine.user("broken: [")
    machine.env(CLUSTERHUB_CONFIG="/dev/null")
    assert machine.resolve("local").profile == "local"


def test_stronger_layers_win_and_tables_merge(machine: Any) -> None:
    machine.install(
        "my-site-profile-test",
        {"clusterhub.profiles": {"x": "my_site_a:PROFILES"}},
        my_site_a="PROFILES = {'profiles': {'hal': {'backend': 'pbs', 'worker': {'cores': 1, 'gpus': 1}}}}",
    )
    machine.site("profiles: {hal: {worker: {cores: 2, memory: 2 GiB}, hosts: [a, b]}}", "10.yaml")
    machine.site("profiles: {hal: {worker: {cores: 3}}}", "20.yaml")
    machine.site("profiles: {hal: {support: prefix}}", prefix=True)
    machine.user("profiles: {hal: {worker: {cores: 4}, hosts: [laptop]}}")
    resolved = machine.resolve("hal", worker={"threads": 8})
    worker = resolved.spec.worker
    assert (worker.cores, str(worker.memory), worker.gpus, worker.threads) == (4, "2 GiB", 1, 8)
    assert resolved.spec.hosts == ("laptop",)
    assert {
        key: resolved.origins[key] for key in ("worker.cores", "worker.memory", "worker.gpus", "worker.threads")
    } == {
        "worker.cores": "~/.clusterhub.yaml:1",
        "worker.memory": f"{machine.etc}/10.yaml:1",
        "worker.gpus": "package my-site-profile-test",
        "worker.threads": "call",
    }
    assert resolved.origin_of("support") == f"{machine.prefix}/config.yaml:1"


def test_null_takes_back_what_a_weaker_layer_said(machine: Any) -> None:
    machine.site("profiles: {hal: {backend: pbs, node: {cores: 8, memory: 8 GiB}, support: x, worker: {cores: 4}}}")
    machine.user("profiles: {hal: {node: null, worker: {cores: null}}}")
    resolved = machine.resolve("hal", support=None)
    assert (resolved.spec.node, resolved.spec.support, resolved.spec.worker.cores) == (None, None, 1)
    assert resolved.origins["worker.cores"] == "default"


def test_a_profile_that_is_taken_back_is_gone_and_its_place_is_told(machine: Any) -> None:
    machine.site("profiles: {hal: {backend: pbs}}")
    machine.user("profiles:\n  hal:\n")
    assert "taken back at ~/.clusterhub.yaml:2" in str(machine.problem("hal"))


def test_merging_keeps_null_until_the_end() -> None:
    layers = [read_yaml(text, lines("f")) for text in ("a: {x: 1, y: 2}", "a: null", "a: {x: 3}")]
    merged = layers[0]
    for layer in layers[1:]:
        merged = merge(merged, layer)
    assert settled(merged).plain() == {"a": {"x": 3}}


def test_what_a_backend_says_may_name_its_own_places() -> None:
    hosts = Said(["a", Said("b", "g:1")], "f:4")
    root = from_python({"worker": {"memory": Said("8 GB", "f:3"), "cores": 2}, "hosts": hosts}, "x")
    paths = ("worker", "worker.memory", "worker.cores", "hosts")
    places = {path: node.origin for path in paths if (node := find(root, path.split(".")))}
    assert places == {"worker": "x", "worker.memory": "f:3", "worker.cores": "x", "hosts": "f:4"}
    assert [item.origin for item in root.value["hosts"].value] == ["f:4", "g:1"]
    assert root.plain() == {"worker": {"memory": "8 GB", "cores": 2}, "hosts": ["a", "b"]}


@pytest.mark.parametrize("form", ["str", "Path", "callable", "traversable"])
def test_a_package_brings_profiles_as_a_file(machine: Any, form: str) -> None:
    path = machine.packages / "my_site_b.yaml"
    path.write_text("# of the package\nprofiles:\n  far: {backend: pbs}\n")
    value = {
        "str": f"P = {str(path)!r}",
        "Path": f"from pathlib import Path\nP = Path({str(path)!r})",
        "callable": f"def P():\n    return {str(path)!r}",
        "traversable": f"from importlib.resources.abc import Traversable\nfrom pathlib import Path\nP = Path({str(path)!r})",
    }[form]
    machine.install("b-profile-test", {"clusterhub.profiles": {"b": "my_site_b:P"}}, my_site_b=value)
    assert machine.resolve("far").origins["backend"] == "package b-profile-test:3"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('no such thing')", ["package c-profile-test", "cannot be loaded", "no such thing"]),
        ("P = 5", ["neither the path of a YAML file nor a mapping"]),
        ("P = '/no/such/file.yaml'", ["cannot be loaded", "No such file"]),
        ("def P():\n    raise RuntimeError('boom')", ["boom"]),
        ("P = {5: 6}", ["must be a text"]),
        ("P = {'profiles': 7}", ["must be a table of profiles"]),
        ("P = {'x': {}}\nP['x']['x'] = P", ["nested too deeply"]),
        ("import sys\nsys.stdout.write('')", ["cannot be loaded"]),
    ],
)
def test_a_package_that_fails_is_told_by_name(machine: Any, module: str, words: list[str]) -> None:
    machine.user(LAPTOP)
    machine.install("c-profile-test", {"clusterhub.profiles": {"c": "my_site_c:P"}}, my_site_c=module)
    problem = machine.problem("laptop")
    assert all(word in str(problem) for word in words), str(problem)
    listing = profiles()
    assert [info.name for info in listing] == ["laptop"]
    assert listing.problems == (problem,)


def test_reading_writes_nothing(machine: Any) -> None:
    machine.user(LAPTOP)
    before = sorted((p, p.stat().st_mtime_ns) for p in machine.root.rglob("*") if stat.S_ISREG(p.stat().st_mode))
    resolve("laptop", {})
    profiles()
    after = sorted((p, p.stat().st_mtime_ns) for p in machine.root.rglob("*") if stat.S_ISREG(p.stat().st_mode))
    assert [entry for entry in after if "__pycache__" not in str(entry[0])] == before
