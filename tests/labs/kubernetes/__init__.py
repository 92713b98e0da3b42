"""The lab from Python: for tests and benchmarks that need a real Kubernetes, brought up for them and gone afterwards."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMMAND = HERE / "lab"


def environment(folder: Path) -> dict[str, str]:
    """For the lab's command: where it is, its Python, and the home that its caches are in, whatever that of a test is."""
    cache = os.environ.get("CLUSTERHUB_LAB_CACHE") or f"{pwd.getpwuid(os.getuid()).pw_dir}/.cache/clusterhub-labs"
    return {
        **os.environ,
        "CLUSTERHUB_KUBERNETES_LAB": str(folder),
        "CLUSTERHUB_LAB_CACHE": cache,
        "PYTHON": sys.executable,
    }


def missing(folder: Path) -> str | None:
    """Why there can be no Kubernetes here, or None. One that has not been built takes minutes, which no test is to take."""
    told = subprocess.run([COMMAND, "missing"], env=environment(folder), capture_output=True, text=True, check=False)
    if told.returncode != 0:
        return told.stdout.strip() or told.stderr.strip()
    built = subprocess.run(
        [HERE / "build", "--check"], env=environment(folder), capture_output=True, text=True, check=False
    )
    return None if built.returncode == 0 else "not built: say tests/labs/kubernetes/build, once"
