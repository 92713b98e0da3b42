"""The page of Kubernetes says all that there is, by the names that it has, and the rights that the tests run with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clusterhub.profile import resolve
from clusterhub_backends.kubernetes.doctor import OUTSIDE, RIGHTS, TUNNEL
from clusterhub_backends.kubernetes.options import KubernetesOptions, Requests, SchedulerSize
from clusterhub_backends.kubernetes.refusals import INSTALL
from clusterhub_backends.kubernetes.template import NANNY, default_image

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
SOURCE = "".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "backends" / "clusterhub_backends" / "kubernetes").glob("*.py")
)
JOINED = re.sub(r'"\s*\n\s*f?"', "", SOURCE)
"""Sentences that go over several lines, in one piece."""
STANDING_IN = re.compile(
    r": |…|needs 8 cores|exit code 1|8\.1 GiB|create secrets|restricted|has so many|has them|its scheduler"
    r"|(?<=for )memory|(?<=for )local storage|(?<=command )dask|(?<=a )container|(?<=given )volume"
)
"""What stands in the page's sentences where the code has something put in."""


def role() -> Mapping[str, Any]:
    """The Role that the page has its readers copy."""
    (block,) = re.findall(r"<!-- rights -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    read: Mapping[str, Any] = YAML(typ="safe").load(block)
    return read


def test_the_role_that_people_copy_is_the_one_that_the_tests_run_with():
    manifests = YAML(typ="safe").load_all((ROOT / "tests" / "labs" / "kubernetes" / "rights.yaml").read_text())
    (tested,) = [each for each in manifests if each["kind"] == "Role"]
    assert role() == tested


def test_that_role_has_all_that_check_asks_for():
    given = {
        f"{resource}:{verb}" for rule in role()["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    asked = {f"{on}:{verb}" for on, verbs in (*RIGHTS.items(), *TUNNEL.items(), *OUTSIDE.items()) for verb in verbs}
    assert asked <= given


def test_the_operator_is_installed_by_the_line_that_errors_tell():
    assert PAGE.count(INSTALL) == 2


def test_it_names_every_option():
    names = {*KubernetesOptions.model_fields, *Requests.model_fields, *SchedulerSize.model_fields}
    table = PAGE.partition("| in the `kubernetes` table | |")[2].partition("\n\n")[0]
    told = {
        word for row in table.splitlines() for quoted in re.findall(r"`([^`]+)`", row.partition(" | ")[0])
        for word in re.findall(r"\w+", quoted)
    }  # fmt: skip
    assert told == names


def test_the_sizes_that_it_tells_are_those_that_there_are():
    assert f"{NANNY // 2**20} MiB more than `worker.memory`" in PAGE
    size = SchedulerSize()
    assert f"{size.cores:g} core and {size.memory}" in PAGE
    assert default_image().partition(":")[0] in PAGE


@pytest.mark.parametrize("name", re.findall(r"^  (\w+):\n    backend: kubernetes$", PAGE, re.MULTILINE))
def test_each_of_its_profiles_can_be_planned(name, tmp_path, monkeypatch):
    """Not only read: what no pod can be is refused when the plan is made."""
    blocks = re.findall(r"<!-- config -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    (block,) = [each for each in blocks if f"\n  {name}:\n" in each]
    (tmp_path / "clusterhub.yaml").write_text(block)
    monkeypatch.setenv("CLUSTERHUB_CONFIG", str(tmp_path / "clusterhub.yaml"))
    resolved = resolve(name, {})
    backend, spec = resolved.backend, resolved.spec
    assert backend.refusals(spec, resolved.options) == {}
    plan = backend.plan(name, spec, resolved.options)
    assert [each.title.partition(" ")[0] for each in plan.documents] == ["Secret", "DaskCluster", "DaskAutoscaler"]


def test_what_it_says_is_said_is_said():
    """Word for word, but for what stands in their places."""
    table = PAGE.partition("| it says |")[2].partition("## ")[0]
    told = re.findall(r"^\| (.*?) \| ", table, re.MULTILINE)[1:]
    assert len(told) > 20
    phrases = [
        part.strip(" :,;")
        for cell in told
        for quoted in re.findall(r"`([^`]+)`", cell)
        for part in STANDING_IN.split(quoted)
    ]
    wanted = [phrase for phrase in phrases if len(phrase) > 5]
    assert len(wanted) > 20
    assert [phrase for phrase in wanted if phrase not in JOINED] == []
