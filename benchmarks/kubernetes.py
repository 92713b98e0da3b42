"""Clusters on Kubernetes: ours and dask-kubernetes' own `KubeCluster` in turn on one real Kubernetes, brought up for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .measuring import Figure, Unavailable, interleaved

ROOT = Path(__file__).parents[1]
LAB = ROOT / "tests" / "labs" / "kubernetes" / "lab"

COMING = """From nothing to the first worker, in the eyes of a Dask client: `connect("kubernetes", workers=1)` against
`KubeCluster(n_workers=1)`, each in a new process on a host where the Services of the cluster have names, once all is imported,
until `wait_for_workers(1)`; and the end of both. Ours makes keys, and its traffic is encrypted, which `KubeCluster` cannot do.
It is given a `custom_cluster_spec` with commands that exist, and the same image and resources. Where it loses the race that is
known of it (dask-kubernetes 968), a pair is told as it was."""


def coming(pairs: int) -> list[Figure]:
    """From nothing to the first worker, and to nothing again."""
    with _lab() as environment:
        ours, theirs = interleaved([_side("ours", environment), _side("native", environment)], pairs)
    return [
        Figure("kubernetes: first worker", tuple(up for up, _ in ours), tuple(up for up, _ in theirs), target=1.1),
        Figure("kubernetes: close", tuple(down for _, down in ours), tuple(down for _, down in theirs)),
    ]


def _side(name: str, environment: dict[str, str]) -> Callable[[], tuple[float, float]]:
    def measured() -> tuple[float, float]:
        command = [str(LAB), "enter", sys.executable, "-m", "benchmarks.kubernetes_side", name]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"{name} could not do it:\n{done.stderr[-4000:]}")
        up, down = json.loads(done.stdout.splitlines()[-1])
        return up, down

    return measured


@contextmanager
def _lab() -> Iterator[dict[str, str]]:
    """The environment of a client of a Kubernetes of our own. Raises Unavailable where there can be none."""
    with tempfile.TemporaryDirectory(prefix="kbench-") as folder:
        environment = {**os.environ, "CLUSTERHUB_KUBERNETES_LAB": f"{folder}/lab", "PYTHON": sys.executable}
        (Path(folder) / "lab").mkdir()
        missing = subprocess.run([str(LAB), "missing"], env=environment, capture_output=True, text=True, check=False)
        if missing.returncode or missing.stdout.strip():
            raise Unavailable((missing.stdout + missing.stderr).strip() or "no Kubernetes can be brought up here")
        subprocess.run([str(LAB), "up"], env=environment, check=True, capture_output=True)
        try:
            yield {**environment, "KUBECONFIG": f"{folder}/lab/user.kubeconfig"}
        finally:
            subprocess.run([str(LAB), "down"], env=environment, check=True, capture_output=True)
