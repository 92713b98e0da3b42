"""Every block of the documentation does what it says: scripts run, configs resolve, commands exist, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from clusterhub.profile import resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment above it that says how it is checked."""

    page: Path
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}-{self.mark or self.language}"


def blocks(language: str) -> list[Block]:
    return [
        Block(page, found["mark"] or "", found["language"], found["text"])
        for page in PAGES
        for found in BLOCK.finditer(page.read_text())
        if found["language"] == language
    ]


def test_there_is_documentation_to_check() -> None:
    assert len(PAGES) > 8
    assert len(blocks("python")) >= 4


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles_and_what_is_marked_runs(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.text)
    compile(block.text, str(block.page), "exec")
    if block.mark == "run":
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout, "a block that runs shows something"


def test_a_yaml_block_is_a_config_or_one_that_its_page_s_own_test_looks_at() -> None:
    assert {(block.mark, block.page.name) for block in blocks("yaml") if block.mark != "config"} == {
        ("rights", "kubernetes.md"),
        ("labextension", "notebook.md"),
    }


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if block.mark == "config"], ids=str)
def test_configs_resolve(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "clusterhub.yaml"
    config.write_text(block.text)
    monkeypatch.setenv("CLUSTERHUB_CONFIG", str(config))
    monkeypatch.setattr("socket.gethostname", lambda: "ocean-3")
    names = re.findall(r"^  (\S+):$", block.text, re.MULTILINE)
    assert names
    for name in names:
        assert resolve(name, {}).profile == name


def test_the_commands_that_are_told_of_exist() -> None:
    from clusterhub.cli import clusterhub as group

    prose = BLOCK.sub("", (ROOT / "README.md").read_text())
    told = set(re.findall(r"clusterhub ([a-z]+)\b", " ".join(re.findall(r"`([^`]+)`", prose))))
    assert {"profiles", "show", "plan", "check", "run", "demo", "init"} <= told
    for command in told:
        assert CliRunner().invoke(group, [command, "--help"]).exit_code == 0, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
