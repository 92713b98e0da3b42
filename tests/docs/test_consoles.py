"""Every command of the documentation exists and takes what it is given; where it can be run, it prints what is shown."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from clusterhub.cli import clusterhub as group
from docs.console import commands, differences, session
from docs.pages import PAGES, ROOT, Block, blocks, blocks_of

OTHERS = frozenset(
    ["bash", "cd", "curl", "docker", "eval", "export", "git", "helm", "jq", "jupyter", "k3d",
     "kind", "kubectl", "mkdir", "pip", "pre-commit", "python", "python3", "qsub", "sbatch", "source", "ssh"]
)  # fmt: skip
"""Programs that are not ours: that they are called rightly, no test here can tell."""
CONSOLES = blocks("console")
RUN = [page for page in PAGES if any("run" in block.marks for block in blocks_of(page) if block.language == "console")]


def test_there_are_commands_to_check() -> None:
    assert len(CONSOLES) > 10
    assert ROOT / "docs" / "quickstart.md" in RUN


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_commands_exist_and_take_what_they_are_given(block: Block) -> None:
    for command in commands(block.text):
        for words in _programs(command.line):
            _check(words, command.line)


def _programs(line: str) -> Iterator[list[str]]:
    """The programs of a line of shell, each with its words; a file that something is written to is none."""
    split = shlex.shlex(line, posix=True, punctuation_chars=True)
    split.whitespace_split = True
    words: list[str] = []
    file = False
    for word in [*split, ";"]:
        if word in ("|", "&&", ";", ">", "<"):
            if words and not file:
                yield words
            words, file = [], word in (">", "<")
        else:
            words.append(word)


def _check(words: list[str], line: str) -> None:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program = words[0]
    if program == "clusterhub":
        _check_ours(words[1:])
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), line
    elif "/" in program:
        assert (ROOT / program).is_file(), line
    else:
        assert program in OTHERS, f"who is {program}?"


def _check_ours(words: list[str]) -> None:
    if not words or words[0].startswith("-"):
        group.make_context("clusterhub", list(words), resilient_parsing=True)
        return
    name, *arguments = words
    root = click.Context(group, info_name="clusterhub")
    command = group.get_command(root, name)
    assert command is not None, f"there is no command {name}"
    command.make_context(name, [argument for argument in arguments if argument != "…"], parent=root)


@pytest.mark.parametrize(
    "block", [block for block in CONSOLES if not block.marks & {"run", "seen", "packaged"}], ids=str
)
def test_what_a_page_shows_of_an_output_is_run_or_was_seen(block: Block) -> None:
    shown = [line for command in commands(block.text) for line in command.shown]
    assert shown == [], f"mark the block with <!-- run -->, or <!-- seen --> where its system is not here: {shown[0]!r}"


@pytest.fixture
def pbs(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The stand-in for PBS, and the variables by which commands find it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the stand-in for PBS needs Linux")
    lab, scripts = tmp_path / "pbs", ROOT / "tests" / "labs" / "pbs"
    environment = {**os.environ, "CLUSTERHUB_PBS_LAB": str(lab), "PYTHON": sys.executable}
    subprocess.run([scripts / "up"], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)
    programs = f"{lab / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    yield {"CLUSTERHUB_PBS_LAB": str(lab), "PATH": programs}
    subprocess.run([scripts / "down"], env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_commands_print_what_their_page_shows(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    on_page = blocks_of(page)
    also = request.getfixturevalue("pbs") if any("pbs" in block.marks for block in on_page) else {}
    found = []
    for block in on_page:
        if block.file:
            block.write(folder, home)
        if block.language == "console" and "run" in block.marks:
            found += commands(block.text)
    printed = list(session([command.line for command in found], folder, home, 280, also=also))
    assert differences(found, printed) == []
