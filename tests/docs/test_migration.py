"""The tables for users of Dask's other packages name every option and method of these, and only keys that exist here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import clusterhub
from clusterhub import ClusterSpec, registry
from clusterhub.profile.fields import default_at
from docs.pages import ROOT

INTERNAL = {"self", "scheduler"}
"""``scheduler`` is the address that dask-jobqueue's cluster gives each of its jobs: nobody else can say it."""
ASK = """
import importlib, inspect, json, sys
told = {}
for name in sys.argv[1:]:
    module, _, cls = name.partition(":")
    found = getattr(importlib.import_module(module), cls)
    init = inspect.signature(found.__init__).parameters.values()
    told[cls] = {
        "options": [p.name for p in init if p.kind is not p.VAR_KEYWORD],
        "methods": [each for each, value in vars(found).items() if not each.startswith("_") and each[:1].islower()
                    and (callable(value) or isinstance(value, (property, classmethod)))],
    }
print(json.dumps(told))
"""


@cache
def those_of(*classes: str) -> dict[str, dict[str, list[str]]]:
    """Options and methods by class, asked in a process of its own: importing dask_jobqueue takes Ctrl-C for itself."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *classes], capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(page: str, heading: str) -> list[list[str]]:
    """The table below a heading, without its own head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{page} has no table below {heading!r}"
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def named(cells: Iterator[str] | list[str]) -> set[str]:
    """What stands in backquotes."""
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_no_option_of_dask_jobqueue_is_missing() -> None:
    found = those_of(
        "dask_jobqueue:JobQueueCluster",
        "dask_jobqueue.core:Job",
        "dask_jobqueue.pbs:PBSJob",
        "dask_jobqueue.slurm:SLURMJob",
    )
    options = {name for each in found.values() for name in each["options"]} - INTERNAL
    assert named([row[0] for row in rows("from-dask-jobqueue.md", "Options")]) == options


def test_no_method_of_dask_jobqueue_is_missing() -> None:
    (found,) = those_of("dask_jobqueue:JobQueueCluster").values()
    told = {name.partition("(")[0] for name in named([row[0] for row in rows("from-dask-jobqueue.md", "Methods")])}
    assert set(found["methods"]) <= told


def test_no_option_of_kubecluster_is_missing() -> None:
    (found,) = those_of("dask_kubernetes.operator:KubeCluster").values()
    assert named([row[0] for row in rows("from-dask-kubernetes.md", "Options")]) == set(found["options"]) - INTERNAL


def test_no_method_of_kubecluster_is_missing() -> None:
    (found,) = those_of("dask_kubernetes.operator:KubeCluster").values()
    told = {name.partition("(")[0] for name in named([row[0] for row in rows("from-dask-kubernetes.md", "Methods")])}
    assert told == set(found["methods"])


def test_no_option_of_a_gateway_is_missing() -> None:
    found = those_of("dask_gateway:Gateway", "dask_gateway:GatewayCluster")
    options = {name for each in found.values() for name in each["options"]} - INTERNAL
    assert named([row[0] for row in rows("from-dask-gateway.md", "Options")]) == {*options, "**kwargs"}


def test_no_method_of_a_gateway_is_missing() -> None:
    found = those_of("dask_gateway:Gateway", "dask_gateway:GatewayCluster")
    told = {name.partition("(")[0] for name in named([row[0] for row in rows("from-dask-gateway.md", "Methods")])}
    for cls, each in found.items():
        missing = [name for name in each["methods"] if not {name, f"{cls}.{name}"} & told]
        assert missing == [], cls


def test_no_key_of_a_gateway_s_dask_config_is_missing() -> None:
    import dask.config
    import dask_gateway  # noqa: F401 - brings its defaults along

    def leaves(table: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in table.items():
            dotted = f"{prefix}{key.replace('_', '-')}"
            yield from leaves(value, f"{dotted}.") if value and isinstance(value, dict) else [dotted]

    wanted = set(leaves(dask.config.get("gateway"), "gateway."))
    assert named([row[0] for row in rows("from-dask-gateway.md", "Keys of the Dask config")]) == wanted


@pytest.mark.parametrize("page", ["from-dask-jobqueue.md", "from-dask-kubernetes.md", "from-dask-gateway.md"])
def test_what_is_to_be_written_here_exists(page: str) -> None:
    backends = {name: registry.backend(name).options_type for name in registry.candidates()}
    for row in rows(page, "Options"):
        assert len(row) == 3, row
        for key in named([row[1]]):
            head, _, rest = key.partition(".")
            if key.startswith(("connect(", "attach(")):
                assert hasattr(clusterhub, key.partition("(")[0])
            elif head in backends:
                default_at(backends[head], rest.split("."))
            else:
                default_at(ClusterSpec, key.split("."))


@pytest.mark.parametrize("page", ["from-dask-jobqueue.md", "from-dask-kubernetes.md", "from-dask-gateway.md"])
def test_the_methods_that_are_told_of_exist(page: str) -> None:
    for row in rows(page, "Methods"):
        for name in named([row[1]]):
            if name.startswith("clusterhub "):
                continue  # a command, which test_markdown looks at
            base = clusterhub if re.match(r"(clusterhub\.|attach|connect)", name) else clusterhub.Cluster
            for step in re.findall(
                r"\w+(?=\(|$|\.)", re.sub(r"\(.*?\)", "", name).removeprefix("clusterhub.").removeprefix("cluster.")
            ):
                assert hasattr(base, step), name
                base = clusterhub.Cluster if step == "attach" else getattr(base, step)
