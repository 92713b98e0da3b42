"""Whatever stands in files and calls, nothing but the documented errors comes out, and nothing hangs."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import effort
from clusterhub.errors import BackendUnavailable, ConfigError, Unsupported
from clusterhub.profile import Resolved, parse_set, profiles, resolve, yaml12
from clusterhub.profile.secrets import redact_text
from clusterhub.profile.written import block, one_line
from clusterhub.profile.yaml12 import lines, read_yaml

SITE_TEXT = Path(__file__).with_name("site.yaml").read_text()
SITE = YAML(typ="safe", pure=True).load(SITE_TEXT)
UNWRITABLE = (YAMLError, UnicodeError, ValueError, TypeError)
DOCUMENTED = (ConfigError, BackendUnavailable, Unsupported)

# 1500 examples of each were run when this was written; these keep watch.
fixed_machine = settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WORDS = """
    default profiles extends backend hosts workers worker node job environment network storage lifecycle limits required
    support pbs cloud local minimum maximum cores memory gpus threads walltime setup workers_per_job variables tls token
    queue priority processes jobs n_workers hal laptop a
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**50),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "8 GiB",
            "8G",
            "16",
            "12h",
            "12:00",
            "12:00:00",
            "no",
            "on",
            "never",
            "auto",
            "pbs",
            "cloud",
            "hal",
            "laptop",
            "local",
            "dask",
            "1e999 GiB",
            "9" * 400 + "d",
            "0.0000001 B",
            "*",
            "[",
            "hal-*",
            "pbs.account",
            "$HOME",
            "\0",
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=8)), inner, max_size=5)
    ),
    max_leaves=25,
)


def use(*names: Any, **overrides: Any) -> list[Resolved]:
    """Everything a user would do with the config; only documented errors may come out of it."""
    found, told = [], [info.here for info in profiles()]
    for name in names:
        try:
            resolved = resolve(name, overrides, anywhere=True)
        except DOCUMENTED as error:
            told.append(str(error))
        else:
            assert [leaf.path for leaf in resolved.leaves()] == list(resolved.origins)
            found.append(resolved)
    assert all(told)
    return found


def written(machine: Any, config: Any) -> None:
    """The config as a file, by ruamel.yaml's own writer where it can write that."""
    with machine.file.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(config, file)


@fixed_machine
@given(data=st.binary(max_size=200))
def test_any_bytes(machine: Any, data: bytes) -> None:
    machine.file.write_bytes(data)
    use(None, "local")


@fixed_machine
@given(text=st.text(alphabet="ab:-{}[]&*!|>'\"#%@`,?<~ \n\t01.", max_size=60))
def test_any_text_reads_the_same_with_both_parsers(text: str) -> None:
    results = []
    fast = yaml12._libyaml
    for parser in (fast, lambda: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yaml12, "_libyaml", parser)
            try:
                results.append(repr(read_yaml(text, lines("f")).plain()))
            except ConfigError as error:
                results.append(f"refused: {error}")
    # libyaml may take what ruamel.yaml refuses; never may the two read one text in two ways.
    if not any(result.startswith("refused") for result in results):
        assert results[0] == results[1]
    if results[0].startswith("refused"):
        assert results[1].startswith("refused")


@fixed_machine
@given(config=VALUES, overrides=st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_config(machine: Any, config: Any, overrides: dict[str, Any]) -> None:
    try:
        written(machine, config)
    except UNWRITABLE:
        assume(False)
    use(None, "hal", "laptop", "a", "pbs", **overrides)


@fixed_machine
@given(profile=st.dictionaries(KEYS, VALUES, max_size=6), overrides=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_profile_and_any_call(machine: Any, profile: Any, overrides: dict[str, Any]) -> None:
    try:
        written(machine, {"profiles": {"hal": {"backend": "pbs", **profile}, "laptop": {"extends": "hal"}}})
    except UNWRITABLE:
        assume(False)
    use("hal", "laptop", "cloud", **overrides)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


@fixed_machine
@given(data=st.data())
def test_any_mutation_of_a_valid_config(machine: Any, data: st.DataObject) -> None:
    config = copy.deepcopy(SITE)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(config)[1:]))
        table = config
        for step in path[:-1]:
            table = table[step]
        table[path[-1]] = data.draw(VALUES)
    try:
        written(machine, config)
    except UNWRITABLE:
        assume(False)
    use(None, "hal", "hal-big", "laptop")


@fixed_machine
@given(position=st.integers(0, len(SITE_TEXT)), length=st.integers(0, 12), text=st.text(max_size=6))
def test_any_slip_of_the_keyboard(machine: Any, position: int, length: int, text: str) -> None:
    content = SITE_TEXT[:position] + text + SITE_TEXT[position + length :]
    machine.file.write_bytes(content.encode("utf-8", "surrogatepass"))
    use("hal", "hal-big", "laptop")


@fixed_machine
@given(text=st.text(max_size=40))
def test_any_argument(text: str) -> None:
    told = "--set"
    try:
        parse_set(text)
    except ConfigError as error:
        told = str(error)
    assert told.startswith("--set")


@fixed_machine
@given(name=st.one_of(SCALARS, st.lists(st.text(), max_size=2)))
def test_any_name(machine: Any, name: Any) -> None:
    machine.user(SITE_TEXT)
    use(name)


@fixed_machine
@given(
    description=st.text(min_size=1),
    setup=st.lists(st.text(), max_size=3),
    variables=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), st.text(), max_size=3),
    name=st.text(min_size=1, max_size=10),
)
def test_whatever_is_pasted_resolves_to_the_same(
    machine: Any, description: str, setup: list[str], variables: dict[str, str], name: str
) -> None:
    texts = [description, *setup, *variables.values()]
    assume(all("\0" not in text and redact_text(text) == text for text in texts))
    assume(not any("pwd" in key.lower() or "passw" in key.lower() for key in variables))
    machine.file.unlink(missing_ok=True)
    first = resolve("pbs", {"description": description, "environment": {"setup": setup, "variables": variables}})
    machine.file.write_text(first.as_yaml(), encoding="utf-8")
    again = resolve("pbs", {})
    assert again.spec == first.spec


@fixed_machine
@given(value=VALUES, key=st.text(min_size=1, max_size=12))
@example(value="********", key="********")
def test_whatever_is_written_reads_back(value: Any, key: str) -> None:
    assume(not _odd(value))
    text = "\n".join(block([(("t", key), value, "")]))
    assert repr(read_yaml(text, lines("f")).plain()["t"][key]) == repr(value)


def _odd(value: Any) -> bool:
    """What no config holds, or YAML cannot carry: not-a-numbers, numbers of 400 digits, halves of characters."""
    if isinstance(value, dict):
        return any(_odd(key) or _odd(entry) for key, entry in value.items())
    if isinstance(value, list):
        return any(_odd(entry) for entry in value)
    return isinstance(value, int) and abs(value) > 10**200


@fixed_machine
@given(value=VALUES)
def test_one_line_is_one_line(value: Any) -> None:
    text = one_line(value, cut=True)
    assert len(text) <= 60
    assert len(text.splitlines()) <= 1


def test_a_hostile_config_is_work_in_proportion(machine: Any) -> None:
    def chain(length: int) -> None:
        links = "".join(f"  p{i}: {{extends: p{i + 1}}}\n" for i in range(length))
        machine.user(f"profiles:\n{links}  p{length}: {{backend: pbs}}\n")
        assert resolve("p0", {}).profile == "p0"

    assert effort.growth(chain, 400, 8) < 20, "64 were quadratic"
