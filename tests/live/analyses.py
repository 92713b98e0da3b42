"""The analyses of docs/examples as tests run them: how each is started, and where it prints its digest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from live.places import Place, finished, hub

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@dataclass(frozen=True)
class Analysis:
    """One of them, in two sizes."""

    name: str
    file: str
    small: tuple[str, ...] = ()
    """Arguments of a few seconds' work."""
    longer: tuple[str, ...] = ()
    """Arguments of so much work that workers can be killed in the midst of it."""
    longest: tuple[str, ...] = ()
    """Arguments of more work than four workers do in a minute."""

    @property
    def is_notebook(self) -> bool:
        return self.file.endswith(".ipynb")

    def argv(self, folder: Path, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """The command, as a user types it; a notebook's output goes to ``folder``."""
        if self.is_notebook:
            return ("jupyter", "execute", str(EXAMPLES / self.file), f"--output={folder / self.file}")
        return (str(EXAMPLES / self.file), *arguments)

    def digest(self, said: str, folder: Path) -> str:
        """That of its result, from what it said or, of a notebook, wrote."""
        if self.is_notebook:
            cells = json.loads((folder / self.file).read_text())["cells"]
            said = "".join(
                text for cell in cells for output in cell.get("outputs", ()) for text in output.get("text", ())
            )
        found = re.findall(r"^digest ([0-9a-f]{16})$", said, re.MULTILINE)
        assert len(found) == 1, said
        return str(found[0])

    def without_us(self, arguments: tuple[str, ...]) -> str:
        """Its digest where nobody names a place: with the cluster that Dask makes for a bare ``Client()``."""
        with tempfile.TemporaryDirectory() as folder:
            argv = self.argv(Path(folder), arguments)
            argv = argv if self.is_notebook else (sys.executable, *argv)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            program = subprocess.Popen(
                argv, env={**os.environ, "PATH": path}, cwd=folder, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            return self.digest(finished(program, argv), Path(folder))

    def on(self, place: Place, arguments: tuple[str, ...]) -> str:
        """Its digest in a place, on a cluster that is made for it and ends with it."""
        folder = place.folder / f"{self.name}-output"
        folder.mkdir(exist_ok=True)
        return self.digest(place.clusterhub("run", "place", *self.argv(folder, arguments)), folder)

    def started_on(self, place: Place, cluster: str, arguments: tuple[str, ...]) -> Running:
        """It, on a cluster that is there."""
        folder = place.folder / f"{self.name}-output"
        folder.mkdir(exist_ok=True)
        argv = hub("run", "--on", cluster, *self.argv(folder, arguments))
        return Running(self, folder, argv, place.start(*argv))


@dataclass(frozen=True)
class Running:
    """An analysis at work."""

    analysis: Analysis
    folder: Path
    argv: tuple[str, ...]
    program: subprocess.Popen[str]

    @property
    def is_over(self) -> bool:
        return self.program.poll() is not None

    def digest(self) -> str:
        """That of its result, once it is over. Raises Failed."""
        return self.analysis.digest(finished(self.program, self.argv), self.folder)


ORBITS = Analysis(
    "orbits",
    "orbits.py",
    ("--samples=40", "--days=1"),
    ("--samples=150", "--days=1", "--batch=5"),
    ("--samples=600", "--days=5", "--batch=4"),
)
CAMPAIGN = Analysis(
    "campaign",
    "campaign.py",
    ("--kinds=3", "--parts=1", "--closer=2", "--runs=40", "--coarse=100", "--years=3"),
    ("--kinds=3", "--parts=2", "--closer=2", "--runs=40", "--coarse=100"),
)
REMOTE_SENSING = Analysis(
    "remote sensing",
    "remote_sensing.py",
    ("--scenes=4", "--bands=2", "--size=1024"),
    ("--scenes=12", "--bands=1", "--size=1024"),
)
CLIMATE = Analysis("climate", "climate.ipynb")
ANALYSES = (ORBITS, CAMPAIGN, REMOTE_SENSING, CLIMATE)
