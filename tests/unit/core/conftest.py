"""Distributions that exist for one test."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PLUGIN = """
    from clusterhub.backend import CONTRACT, Backend, NoOptions, Plan

    class Fine(Backend):
        name = "fine"
        contract = CONTRACT
        features = frozenset()
        options_type = NoOptions

        def plan(self, name, spec, options):
            return Plan(name=name, backend=self.name, spec=spec, options=options)

        async def start(self, plan):
            raise NotImplementedError
"""


class Plugins:
    """Installs distributions on ``sys.path`` for the length of a test, to be found by the real importlib.metadata."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.modules: list[str] = []

    def install(
        self, distribution: str, entries: Mapping[str, str], modules: Mapping[str, str] = {}, version: str = "1.0"
    ) -> None:
        """A distribution that claims backends (``{"fine": "module:Class"}``) and brings modules by name."""
        info = self._folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[clusterhub.backends]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in modules.items():
            (self._folder / f"{name}.py").write_text(textwrap.dedent(text))
            self.modules.append(name)
        importlib.invalidate_caches()

    def fine(self, called: str = "fine", distribution: str = "fine-plugin", **changes: str) -> None:
        """A working backend, with lines of its class changed: ``contract="contract = 7"``."""
        module = f"{distribution.replace('-', '_')}_module"
        text = textwrap.dedent(PLUGIN).replace('name = "fine"', f'name = "{called}"')
        for attribute, line in changes.items():
            before = next(found for found in text.splitlines() if found.strip().startswith(f"{attribute} = "))
            text = text.replace(before, f"    {line}")
        self.install(distribution, {called: f"{module}:Fine"}, {module: text})


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    plugins = Plugins(folder)
    yield plugins
    for name in plugins.modules:
        sys.modules.pop(name, None)
