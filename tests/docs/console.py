"""Console blocks: their commands, and what they show, as a pattern for what is printed on another day and machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "----- clusterhub docs: next command -----"
_PORT_TAKEN = re.compile(r".*UserWarning: Port \d+ is already in use\.\n(?:.*\n){3}")
"""Dask's warning, where another program of this machine took the port between our look at it and its binding."""
_LAST_WORDS = re.compile(
    r".* - distributed\.(?:"
    r"nanny - WARNING - Worker process still alive after [\d.]+ seconds, killing"
    r"|worker\.state_machine - WARNING - Async instruction for <Task cancelled .* ended with CancelledError"
    r"|worker - ERROR - Failed to communicate with scheduler during heartbeat\.\n"
    r"(?:.*\n)*?distributed\.comm\.core\.CommClosedError: .*"
    r")\n"
)
"""What Dask's workers say where this machine was so busy that their cluster's end came upon them late, or was late for them."""
_NUMBER = re.compile(r"\d+(?:[.:]\d+)*")


@dataclass(frozen=True)
class Command:
    """One command, without its comment, and the lines that the page shows below it."""

    line: str
    shown: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """The commands of a console block. Raises ValueError for a block that does not begin with one."""
    found: list[tuple[str, list[str]]] = []
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            found.append((re.sub(r"\s+#\s.*$", "", line[2:]), []))
        elif not found:
            raise ValueError(f"a console block begins with a command: {line!r}")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
        else:
            found[-1][1].append(line)
    return [Command(line, tuple(shown)) for line, shown in found]


def pattern(shown: Sequence[str]) -> re.Pattern[str]:
    """What the lines stand for: numbers and blanks may differ, ``…`` is any text, and alone on its line any lines."""
    parts = []
    for line in shown:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        pieces = [_any_number(piece) for piece in line.strip().split("…")]
        parts.append(rf"[ \t]*{'.*?'.join(pieces)}[ \t]*\n")
    return re.compile("".join(parts))


def _any_number(text: str) -> str:
    ends, numbers = _NUMBER.split(text), _NUMBER.findall(text)
    fixed = [re.sub(r"(?:\\ )+", r"[ \\t]+", re.escape(end)) for end in ends]
    return fixed[0] + "".join(rf"\d+(?:[.:]\d+)*{end}" for end, _ in zip(fixed[1:], numbers, strict=True))


def session(
    lines: Sequence[str],
    folder: Path,
    home: Path,
    timeout: float,
    python: str | Path = sys.executable,
    also: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """What each command prints, on either stream, run one after the other in one shell, in the environment of ``python``.

    ``also`` are further variables.
    """
    script = "".join(f"echo '{MARK}'\n{line}\n" for line in lines)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLUSTERHUB_", "DASK_", "SLURM_", "PBS_"))
    }
    environment |= {
        "HOME": str(home), "PATH": f"{Path(python).parent}:{os.environ['PATH']}", "COLUMNS": "200",
        "XDG_STATE_HOME": str(home / "state"), "PYTHONUNBUFFERED": "1",
        # Dask's, where this machine was so busy that a second passed while it made its folders.
        "PYTHONWARNINGS": "ignore:Creating scratch directories is taking:UserWarning",
        **(also or {}),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    yield from _LAST_WORDS.sub("", _PORT_TAKEN.sub("", done.stdout)).split(f"{MARK}\n")[1:]


def differences(found: Sequence[Command], printed: Sequence[str]) -> list[str]:
    """Where what was printed is not what a page shows, or is a traceback, in words for whoever mends either of them."""
    told = [
        f"$ {command.line}\n{output}" for command, output in zip(found, printed, strict=True) if "Traceback" in output
    ]
    for command, output in zip(found, printed, strict=True):
        if command.shown and not pattern(command.shown).fullmatch(output):
            told.append(f"$ {command.line}\nprinted\n{output}\nand not\n" + "\n".join(command.shown))
    return told
