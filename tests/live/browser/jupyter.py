"""A JupyterLab as a person has it: a server of its own, a notebook in a browser, and what a person does there."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

import importable

TOKEN = secrets.token_hex(16)
LONG = 60_000
"""Milliseconds that a kernel, a cluster or a dashboard may take to be there."""
DONE = re.compile(r"^\s*\[\d+\]:\s*$")

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    # Nothing is asked of the world outside, and no cell is left undrawn.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class Jupyter:
    """A JupyterLab server on loopback, in a home of its own."""

    def __init__(self, home: Path, *, base: str = "/", environment: Mapping[str, str] | None = None) -> None:
        self.base, self.port = base, free_port()
        self._start(
            home,
            *("jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"),
            *(f"--ServerApp.port={self.port}", f"--ServerApp.base_url={base}"),
            *(f"--ServerApp.root_dir={home / 'work'}", f"--IdentityProvider.token={TOKEN}"),
            answers=f"{base}api",
            environment=environment or {},
        )

    def _start(self, home: Path, *module: str, answers: str, environment: Mapping[str, str]) -> None:
        """Return when the module of Python runs that serves this home, and answers."""
        self.root = home / "work"
        self.root.mkdir()
        for name, values in SETTINGS.items():
            file = home / ".jupyter" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        output = home / "jupyter.log"
        with output.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *module], env={**os.environ, **_paths(), **environment}, cwd=self.root,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + LONG / 1000
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{answers}"):
                    return
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise AssertionError(f"no {module[0]}: {output.read_text()[-2000:]}") from None
            time.sleep(0.1)

    @property
    def url(self) -> str:
        """What the JupyterLab answers below."""
        return f"http://127.0.0.1:{self.port}{self.base}"

    def visit(self, page: Page, name: str) -> None:
        """Open the notebook of that name, as somebody who may."""
        page.goto(f"{self.url}lab/tree/{name}?token={TOKEN}&reset")

    def write(self, name: str, cells: Sequence[str]) -> None:
        """Write a notebook."""
        code = [
            {"cell_type": "code", "id": f"cell{number}", "source": source, "metadata": {}, "outputs": [],
             "execution_count": None}
            for number, source in enumerate(cells)
        ]  # fmt: skip
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        notebook = {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        (self.root / name).write_text(json.dumps(notebook))

    def stop(self) -> None:
        """End the server and the kernels that it started."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(30)


def free_port() -> int:
    """A port of loopback that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _paths() -> dict[str, str]:
    """The packages of this process for the server and its kernels; its own backends too, such as the tests'."""
    return {
        "PYTHONPATH": importable.path(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, jupyter: Jupyter, name: str, cells: Sequence[str]) -> None:
        self.page = page
        jupyter.write(name, cells)
        jupyter.visit(page, name)
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self._idle()

    def _idle(self) -> None:
        # Before its kernel is there, the notebook would ask which one to take.
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=LONG)

    def cell(self, number: int) -> Locator:
        """The cell of that number, from 0."""
        return self.panel.locator(".jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        """What the cell of that number shows."""
        return self.cell(number).locator(".jp-OutputArea-output")

    def prompt(self, number: int) -> Locator:
        """``[*]:`` while the cell runs, ``[3]:`` afterwards."""
        return self.cell(number).locator(".jp-InputArea-prompt")

    def order(self, title: str) -> None:
        """Choose from the command palette."""
        self.menu("View", "apputils:activate-command-palette")
        palette = self.page.locator(".lm-CommandPalette")
        palette.locator("input").fill(title)
        palette.get_by_role("menuitem", name=title).first.click()

    def menu(self, title: str, command: str) -> None:
        """Choose the entry of that command from that menu."""
        self.page.locator(".lm-MenuBar").get_by_role("menuitem", name=title, exact=True).click()
        self.page.locator(f".lm-Menu [data-command='{command}']").click()

    def run_all(self) -> None:
        """Run every cell, and return when the last one is done."""
        self.menu("Run", "runmenu:run-all")
        self.done()

    def restart_and_run_all(self) -> None:
        """Restart the kernel and run every cell; what is shown may still be that of the kernel before."""
        self.menu("Run", "runmenu:restart-and-run-all")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def done(self) -> None:
        """Return when no cell runs or waits any more, and the last has run."""
        last = self.panel.locator(".jp-CodeCell").last.locator(".jp-InputArea-prompt")
        expect(last).to_have_text(DONE, timeout=2 * LONG)
        expect(self.panel.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")).to_have_count(0)

    def run(self, number: int) -> None:
        """Start one cell, and return at once."""
        self.prompt(number).click()
        expect(self.cell(number)).to_have_class(re.compile(r"\bjp-mod-active\b"))
        # Not by the keyboard: a notebook that has just been opened still moves the focus around.
        self.menu("Run", "runmenu:run")
