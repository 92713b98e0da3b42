"""The child process of ``run``: what is executed, how it finds the cluster, and how its end becomes an exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .signals import Signals

NOT_EXECUTABLE, NOT_FOUND = 126, 127

# distributed's client reads `scheduler-address` of Dask's config when it is given no address (client.py,
# `Client.__init__`), and Security() the files of `distributed.comm.tls` (security.py); Dask fills its config from
# DASK_* variables, `__` standing for a level.
ADDRESS = "DASK_SCHEDULER_ADDRESS"
TLS = {
    "tls_ca_file": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
    "tls_client_cert": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
    "tls_client_key": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
}

WATCH_EVERY = 5.0
"""Seconds between two looks at the cluster while the command runs."""


class CannotExecute(click.ClickException):
    """The command cannot be executed; its exit codes are the shell's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance


def argv_of(words: Sequence[str]) -> list[str]:
    """What to execute: the words, with this Python in front of a script. Raises CannotExecute for what is not there."""
    command = words[0]
    if command.endswith(".py"):
        _require_file(command)
        if not os.access(command, os.R_OK):
            raise CannotExecute(f"cannot read {command}", NOT_EXECUTABLE)
        return [sys.executable, *words]
    if os.sep in command:
        _require_file(command)
        if not os.access(command, os.X_OK):
            raise CannotExecute(
                f"{command} is not executable; chmod +x {command}, or name its interpreter", NOT_EXECUTABLE
            )
    elif shutil.which(command) is None:
        here = f"; the file here would be ./{command}" if Path(command).is_file() else ""
        raise CannotExecute(f"no command {command!r} on PATH{here}", NOT_FOUND)
    return list(words)


def _require_file(path: str) -> None:
    if Path(path).is_dir():
        raise CannotExecute(f"{path} is a directory", NOT_EXECUTABLE)
    if not Path(path).exists():
        raise CannotExecute(f"there is no {path}", NOT_FOUND)


DASKS_OWN = ("tcp", "tls", "ucx", "ucxx", "ws", "wss")
"""Schemes of addresses that every Dask knows: others need a library to be imported that a script knows nothing of."""


@contextmanager
def address_variables(name: str, address: str, security: Any) -> Iterator[dict[str, str]]:
    """The variables by which a bare ``Client()`` finds the cluster called ``name`` and is let in.

    They name files and hold no secret: keys that exist only in memory (``Security.temporary``) are written to a folder
    of mode 0700 that is gone afterwards. Behind a gateway it is found by its name, at which what is needed is loaded.
    """
    if address.partition("://")[0] not in DASKS_OWN:
        yield {ADDRESS: f"hub://{name}"}
        return
    with TemporaryDirectory(prefix="clusterhub-") as folder:
        variables = {ADDRESS: address}
        for field, variable in TLS.items():
            if value := getattr(security, field, None):
                variables[variable] = _as_file(value, Path(folder) / field)
        yield variables


def _as_file(value: str, path: Path) -> str:
    if "\n" not in value:  # distributed tells a PEM text from a path in the same way (security.py)
        return str(Path(value).absolute())
    path.touch(mode=0o600)
    path.write_text(value)
    return str(path)


def run_child(
    argv: Sequence[str], variables: Mapping[str, str], signals: Signals, watch: Callable[[], None] = lambda: None
) -> int:
    """Run ``argv`` on our own stdin, stdout and stderr, and return the exit code that a shell would give it.

    ``watch`` is called every few seconds meanwhile.
    """
    sys.stdout.flush()
    try:
        child = subprocess.Popen(argv, env={**os.environ, **variables})
    except PermissionError:
        raise CannotExecute(f"{argv[0]} is not executable", NOT_EXECUTABLE) from None
    except FileNotFoundError:
        raise CannotExecute(f"{argv[0]} or the interpreter in its first line is not there", NOT_FOUND) from None
    except OSError as error:
        raise CannotExecute(f"{argv[0]} cannot be executed: {error.strerror}", NOT_EXECUTABLE) from None
    with signals.passed_to(child):
        code = _end_of(child, watch)
    return 128 - code if code < 0 else code


def _end_of(child: subprocess.Popen[Any], watch: Callable[[], None]) -> int:
    while True:
        try:
            return child.wait(WATCH_EVERY)
        except subprocess.TimeoutExpired:
            watch()
