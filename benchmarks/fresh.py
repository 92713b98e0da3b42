"""Fresh interpreters: what an import costs, and what a command costs that only reads."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from .config import SMALL, only_config
from .measuring import Figure, command, interleaved

IMPORTS = """`import clusterhub` against `import distributed`, each as `python -c` in a new interpreter. Nothing is
subtracted: both include the start of the interpreter itself, which the line below shows alone (`python -c pass`).
Names are imported when they are first used, so this is the floor: `clusterhub.connect` imports distributed as well."""

COMMANDS = """`clusterhub profiles`, with a config of three profiles on two backends, against `dask --version`: two
commands that start nothing, as everyone who types one on a login node waits for them. They do not do the same: ours reads
and validates the config and asks the backends, Dask's imports itself to print a number, and numpy with it where that is
installed (a sixth of its time). Both are the installed commands, or both `python -m` where one of them is not installed."""


def imports(pairs: int) -> list[Figure]:
    """``import clusterhub`` and ``import distributed``, and the interpreter alone."""
    sources = ("import clusterhub", "import distributed", "pass")
    with _bytecode():
        ours, native, bare = interleaved([command(sys.executable, "-c", source) for source in sources], pairs)
    return [Figure("import", ours, native, target=0.3), Figure("import: interpreter alone", bare)]


def commands(pairs: int) -> list[Figure]:
    """``clusterhub profiles`` and ``dask --version``."""
    with only_config(SMALL), _bytecode():
        calls = [command(*_script("clusterhub"), "profiles"), command(*_script("dask"), "--version")]
        ours, native = interleaved(calls, pairs)
    return [Figure("command", ours, native, target=0.5)]


@contextmanager
def _bytecode() -> Iterator[None]:
    """Within it child processes keep all bytecode in one place, as if everything had been installed there.

    pip compiles what it installs, and what runs from a checkout is compiled at each start where the environment forbids
    writing (``PYTHONDONTWRITEBYTECODE``): that would compare installations and not programs.
    """
    with tempfile.TemporaryDirectory(prefix="clusterhub-bench-") as folder, mock.patch.dict(os.environ):
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield


def _script(name: str) -> list[str]:
    """The installed command where both are installed, else both as ``python -m``: like is compared with like."""
    scripts = Path(sys.executable).parent
    if (scripts / "clusterhub").exists() and (scripts / "dask").exists():
        return [str(scripts / name)]
    return [sys.executable, "-m", name]
