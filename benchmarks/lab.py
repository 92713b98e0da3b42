"""Brings up a real SLURM, and on its login host two sides and one who watches the queue for both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .fresh import _bytecode
from .measuring import Unavailable

ROOT = Path(__file__).parents[1]
END_PATIENCE = 120.0
"""Seconds that a side may take to end its cluster once nobody asks any more."""
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sacct")
RECORDER = """\
#!/usr/bin/env bash
echo "$EPOCHREALTIME ${0##*/}" >>"${0%/*}/commands"
exec /usr/bin/env PATH="${PATH#*:}" "${0##*/}" "$@"
"""


class Asked:
    """A process in the lab (:mod:`benchmarks.sides`) that is asked, and answers."""

    def __init__(self, argv: list[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                argv, env=environment, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
            )
        self._log = log
        self._read()

    def ask(self, do: str, **arguments: Any) -> Any:
        """What it answers. Raises RuntimeError with what it said where that failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended without an answer"}
        if "error" in answer:
            raise RuntimeError(f"a side could not do it: {answer['error']}; it said:\n{self._log.read_text()[-4000:]}")
        return answer["value"]

    def end(self) -> None:
        """Have it end its cluster, and then itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Sides:
    """Ours, dask-jobqueue's, and the one who watches."""

    hub: Asked
    native: Asked
    queue: Asked
    commands: Path
    """Where each command that ours runs on the batch system is written down, if so wished: its Unix time, and its name."""


@contextmanager
def sides(*, recorded: bool = False, **sizes: int) -> Iterator[Sides]:
    """Both on one SLURM, of ``NODES`` of ``CPUS`` and ``MEMORY`` (MB) each; what they leave ends with it.

    Raises Unavailable where there can be none. With ``recorded`` our commands are written down, which takes time.
    """
    _require()
    from labs.slurm import standing

    with _bytecode(), standing("ch-bench", **sizes) as lab, ExitStack() as ending:

        def side(kind: str, **changed: str) -> Asked:
            folder = lab.folder / kind
            folder.mkdir(mode=0o755)
            argv = lab.entering(sys.executable, "-m", "benchmarks.sides", kind, str(folder))
            asked = Asked(argv, {**lab.environment, **changed}, folder / "said")
            ending.callback(asked.end)
            return asked

        recorders = _recorders(lab.folder / "bin")
        changed = {"PATH": f"{recorders}:{lab.environment['PATH']}"} if recorded else {}
        yield Sides(side("hub", **changed), side("jobqueue"), side("queue"), recorders / "commands")


def _recorders(folder: Path) -> Path:
    """A folder for PATH whose commands write down that they were called, and then are the real ones."""
    folder.mkdir()
    for name in COMMANDS:
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    return folder


def _require() -> None:
    """Raises Unavailable with what is to be done where there can be no SLURM, or no dask-jobqueue, here."""
    if str(ROOT / "tests") not in sys.path:
        sys.path.append(str(ROOT / "tests"))  # where the tests find the lab, too
    from labs.slurm import missing

    if reason := missing():
        raise Unavailable(f"{reason} (tests/labs/slurm/README.md)")
    if find_spec("dask_jobqueue") is None:
        raise Unavailable('not installed: dask-jobqueue (pip install -e ".[bench]")')
