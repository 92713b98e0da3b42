"""``up``, ``down`` and ``fault``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from labs.pbs import processes
from labs.pbs.client import LAB, connect

HERE = Path(__file__).parent
PATIENCE = 60.0


def folder() -> Path:
    """The lab's, which an environment variable names."""
    named = os.environ.get(LAB)
    if not named:
        sys.exit(f"name a folder of your own in {LAB}")
    return Path(named).absolute()


def up(settings: dict[str, object]) -> None:
    """Start the server, and return once it answers."""
    lab = folder()
    lab.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (lab / "server.sock").exists():
        sys.exit(f"something is up in {lab} already")
    (lab / "config.json").write_text(json.dumps(settings or {}))
    _commands(lab)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PBS_", "PYTHON"))}
    with (lab / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "labs.pbs.server", str(lab)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={**environment, "PYTHONPATH": str(HERE.parent.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    (lab / "server.pid").write_text(f"{server.pid} {processes.born(server.pid)}\n")
    deadline = time.monotonic() + PATIENCE
    while not (lab / "server.sock").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"it did not start; see {lab / 'server.log'}")
        time.sleep(0.02)
    server.returncode = 0  # it is meant to outlive us
    print(f"PBS's stand-in is up; its commands are in {lab / 'bin'}")


def _commands(lab: Path) -> None:
    (lab / "bin").mkdir(exist_ok=True)
    for name in ("qsub", "qstat", "qdel", "qalter", "pbsnodes"):
        path = lab / "bin" / name
        client = HERE / "client.py"
        path.write_text(
            f'#!/bin/sh\n: "${{{LAB}:={lab}}}"\nexport {LAB}\nexec {sys.executable} -IS {client} {name} "$@"\n'
        )
        path.chmod(0o755)


def down() -> None:
    """End the server and all its jobs, also where the server is gone already."""
    lab = folder()
    pid, born = _known(lab / "server.pid")[0] if (lab / "server.pid").exists() else (0, 0)
    if pid and processes.born(pid) == born:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while processes.born(pid) == born:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    left = [session for session, since in _known(lab / "sessions") if processes.born(session) == since]
    processes.send(left, signal.SIGKILL)
    for name in ("server.sock", "control.sock", "server.pid", "sessions"):
        with contextlib.suppress(OSError):
            (lab / name).unlink()


def _known(path: Path) -> list[tuple[int, int]]:
    with contextlib.suppress(OSError):
        return [(int(pid), int(born)) for pid, born in (line.split() for line in path.read_text().splitlines())]
    return []


def fault(words: list[str]) -> None:
    """Have something go wrong."""
    with connect(str(folder()), "control.sock") as line, line.makefile("rwb") as stream:
        stream.write(json.dumps(words).encode() + b"\n")
        stream.flush()
        said = stream.readline().decode().strip()
    if said != "ok":
        sys.exit(f"fault: {said.removeprefix('! ')}")


def main() -> None:
    """Do what was said."""
    parser = argparse.ArgumentParser(prog="python -m labs.pbs", description="A stand-in for PBS, for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start it in the folder that the environment variable names")
    starting.add_argument("--set", action="append", default=[], metavar="KEY=JSON", dest="settings")
    commands.add_parser("down", help="end it and all its jobs")
    commands.add_parser("fault", help="see README.md").add_argument("words", nargs="+")
    said = parser.parse_args()
    match said.command:
        case "up":
            up({key: json.loads(value) for key, _, value in (setting.partition("=") for setting in said.settings)})
        case "down":
            down()
        case "fault":
            fault(said.words)


if __name__ == "__main__":
    main()
