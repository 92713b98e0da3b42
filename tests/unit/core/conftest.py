"""Distributions that exist for one test, and scripts that run in a Python of their own."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
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


def environment() -> dict[str, str]:
    """This process's, with everything that can be imported here importable from any folder."""
    path = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "default", "PYTHONFAULTHANDLER": "1"}


class Script:
    """A script in a Python of its own, and the processes that it starts."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        self.stdout = self.stderr = ""
        self._seen: set[psutil.Process] = set()

    def says(self, line: str) -> None:
        """Return once the script has printed ``line``."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.stdout += said
            if said.strip() == line:
                return
        raise AssertionError(f"it ended without saying {line!r}: {self.process.communicate()[1]}")

    def children(self) -> list[psutil.Process]:
        """The processes below it, remembered to see whether they end."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self._seen.update(found)
        return found

    def ends(self, timeout: float = 30) -> int:
        """Its exit code; ``stdout`` and ``stderr`` hold what it said."""
        stdout, self.stderr = self.process.communicate(timeout=timeout)
        self.stdout += stdout
        return self.process.returncode

    def leftovers(self, patience: float = 5) -> list[psutil.Process]:
        """What of its session is still there a moment after its end."""
        deadline = time.monotonic() + patience
        while (alive := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return alive

    def _alive(self) -> list[psutil.Process]:
        session = {found for found in psutil.process_iter() if _session(found) == self.process.pid}
        return [found for found in session | self._seen if _runs(found)]

    def kill(self) -> None:
        """End the whole session; of a script that hangs, show where."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)  # faulthandler's sign to show every thread
            with contextlib.suppress(subprocess.TimeoutExpired):
                print("\n".join(self.process.communicate(timeout=5)))
        for found in self._alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.kill()
        self.process.communicate()


def _runs(process: psutil.Process) -> bool:
    try:
        # In a container without an init nobody reaps orphans: a zombie has ended.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return -1


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    """Starts a script from its text."""
    started: list[Script] = []

    def start(text: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(text))
        started.append(Script(path))
        return started[-1]

    yield start
    for one in started:
        one.kill()
