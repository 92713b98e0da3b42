"""What the workers' Python is, as far as it can be run on this host."""

from __future__ import annotations

import json
import os
import shutil
import string
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from clusterhub import ClusterSpec
from clusterhub.versions import COMPARED, Versions

PATIENCE = 30.0
"""Seconds for one start: from a busy file system it takes long."""
PATH = "/usr/local/bin:/usr/bin:/bin"
"""About what jobs start with: nothing of the submitter's environment is exported to them."""
PROBE = """\
import json, sys
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
try:
    from importlib import metadata, util
except ImportError:
    sys.exit(print(json.dumps({"versions": found, "ssl": True})))
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps({"versions": found, "ssl": util.find_spec("_ssl") is not None}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python, asked."""

    path: str
    """Where it is here; empty where it is not."""
    versions: Versions = field(default_factory=dict)
    """Empty where it does not run."""
    ssl: bool = True
    """Whether it can speak TLS."""
    words: str = ""
    """What it said instead of its versions."""


def environment_here(spec: ClusterSpec) -> dict[str, str]:
    """What a worker's environment will hold for sure, before its setup."""
    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME") if name in os.environ}
    return {"PATH": PATH, **kept, **spec.environment.variables}


def expanded_here(text: str, spec: ClusterSpec) -> str | None:
    """``text`` as it expands on a worker; None where that takes a variable which only the job has."""
    environment = environment_here(spec)
    if text == "~" or text.startswith("~/"):
        text = environment.get("HOME", "~") + text[1:]
    try:
        return string.Template(text).substitute(environment)
    except (KeyError, ValueError):
        return None


def interpreter_here(path: str, spec: ClusterSpec) -> Interpreter:
    """The interpreter at ``path``, or found by that name, and what it says of itself. Raises nothing."""
    environment = environment_here(spec)
    found = path if "/" in path else shutil.which(path, path=environment["PATH"]) or ""
    if not found or not Path(found).is_file():
        return Interpreter("")
    packages = [package for package in COMPARED if package != "python"]
    try:
        ended = subprocess.run(
            [found, "-c", PROBE, *packages],
            capture_output=True, env=environment, cwd="/", stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Interpreter(found, words=f"it did not start within {PATIENCE:g} s")
    except OSError as error:
        return Interpreter(found, words=error.strerror or str(error))
    said = ended.stdout.decode(errors="replace").strip().splitlines()
    try:
        answer = json.loads(said[-1])
        return Interpreter(found, answer["versions"], answer["ssl"])
    except (IndexError, ValueError, KeyError, TypeError):
        errors = ended.stderr.decode(errors="replace").strip().splitlines()
        return Interpreter(found, words=errors[-1] if errors else f"it ended with {ended.returncode} and said nothing")
