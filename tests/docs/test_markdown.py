"""Every block of the documentation does what it says: scripts run, configs resolve, calls bind, links lead somewhere."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import clusterhub
from clusterhub.cli import clusterhub as group
from clusterhub.profile import Overrides, resolve
from docs.pages import PAGES, ROOT, Block, blocks, blocks_of, prose

OVERRIDES = frozenset(Overrides.__annotations__)
TAKES_A_PROFILE = {"connect": clusterhub.connect, "plan": clusterhub.plan, "check": clusterhub.check}


def test_there_is_documentation_to_check() -> None:
    assert len(PAGES) > 30
    assert len(blocks("python")) > 12


@pytest.mark.parametrize("block", [block for block in blocks("python") if "run" in block.marks], ids=str)
def test_a_script_that_is_marked_runs_and_shows_something(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.text)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout, "a block that runs shows something"


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_what_a_script_calls_exists_and_takes_what_it_is_given(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it cannot be run: its names are there, its arguments are taken, and its profiles resolve with them."""
    tree = ast.parse(block.text, str(block.page))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "clusterhub":
            assert hasattr(clusterhub, node.attr), f"clusterhub.{node.attr}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "clusterhub":
            module = __import__(node.module or "", fromlist=["_"])
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
    profiles = _profiles_of(block.page, tmp_path, monkeypatch)
    for name, arguments, keywords in _calls(tree):
        called = TAKES_A_PROFILE[name]
        inspect.signature(called).bind(*arguments, **keywords)
        overrides = {key: value for key, value in keywords.items() if key in OVERRIDES or isinstance(value, dict)}
        if arguments and arguments[0] in profiles:
            resolve(arguments[0], overrides)
        else:
            assert "name" in keywords or not arguments, (
                f"{arguments[0]} is neither a backend nor a profile of this page"
            )


def _calls(tree: ast.AST) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """The calls of ours that take a profile, as far as their arguments are written down."""
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name = node.func.attr
        if name not in TAKES_A_PROFILE or ast.unparse(node.func.value) not in ("clusterhub", "clusterhub.aio"):
            continue
        try:
            arguments = [ast.literal_eval(each) for each in node.args]
            keywords = {each.arg or "": ast.literal_eval(each.value) for each in node.keywords}
        except ValueError:
            continue  # computed where it stands
        found.append((name, arguments, keywords))
    return found


def _profiles_of(page: Path, folder: Path, patch: pytest.MonkeyPatch) -> set[str]:
    """The profiles that can be named on the page: the backends, and those of its configs, which become the user's."""
    import clusterhub.registry

    configs = [block.text for block in blocks_of(page) if "config" in block.marks]
    names: dict[str, str] = {}
    for text in configs:
        for found in re.finditer(r"^  ([\w-]+):(?:\n(?:    .*\n)+| .*\n)", text, re.MULTILINE):
            names.setdefault(found[1], found[0])
    config = folder / "of-the-page.yaml"
    config.write_text("profiles:\n" + "".join(names.values()) if names else "")
    patch.setenv("CLUSTERHUB_CONFIG", str(config))
    patch.setattr("socket.gethostname", lambda: "ocean-3")
    return {*names, *clusterhub.registry.candidates()}


def test_a_yaml_block_is_a_config_or_the_rights_that_its_page_s_own_test_looks_at() -> None:
    assert {
        (block.mark, block.page.name) for block in blocks("yaml") if not ({"config"} & block.marks or block.file)
    } == {("rights", "kubernetes.md"), ("labextension", "notebook.md")}


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if "config" in block.marks], ids=str)
def test_configs_resolve(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "clusterhub.yaml"
    config.write_text(block.text)
    monkeypatch.setenv("CLUSTERHUB_CONFIG", str(config))
    names = re.findall(r"^  ([\w-]+):", block.text, re.MULTILINE)
    assert names
    for name in names:
        needed = re.findall(r"required: \{(\w+)\.(\w+):", block.text)
        given = {table: {key: "given"} for table, key in needed}
        assert resolve(name, given, anywhere=True).profile == name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_that_are_told_of_exist(page: Path) -> None:
    told = set(re.findall(r"`clusterhub ([a-z]+)\b", prose(page)))
    assert told <= set(group.list_commands(None)), page


def test_the_readme_tells_of_every_command() -> None:
    told = set(re.findall(r"`(?:clusterhub )?([a-z]+)\b", prose(ROOT / "README.md")))
    assert set(group.list_commands(None)) <= told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_order_of_imports_that_the_architecture_tells_is_the_one_that_import_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (told,) = [block.text for block in blocks_of(ROOT / "docs" / "architecture.md") if block.language == "text"]
    assert [layer for layer in layers if layer != "__main__"] == [step.strip() for step in told.split("→")]
