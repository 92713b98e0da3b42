"""What the stories about Kubernetes are told in."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import clusterhub
from clusterhub.cluster import Cluster
from clusterhub_backends.kubernetes.api import Api

T = TypeVar("T")

NAMESPACE = "ocean"
"""The user's, as tests/labs/kubernetes/rights.yaml has it."""
SMALL: Mapping[str, Any] = {"cores": 1, "memory": "512 MiB"}
LITTLE: Mapping[str, Any] = {"requests": {"cores": 0.1}, "scheduler": {"cores": 1, "memory": "512 MiB"}}
"""Several clusters fit on one node. Schedulers have a whole core: with a fifth of one, each took five seconds to start."""


def connected(user: Path, workers: Any = 0, **said: Any) -> Cluster:
    """A small cluster; ``kubernetes`` adds to the options."""
    said.setdefault("worker", SMALL)
    options = {"kubeconfig": str(user), **LITTLE, **said.pop("kubernetes", {})}
    return clusterhub.connect("kubernetes", workers=workers, kubernetes=options, **said)


def write_profile(home: Path, user: Path) -> None:
    """A profile ``cloud`` in the user's own file."""
    said = {"backend": "kubernetes", "worker": SMALL, "kubernetes": {"kubeconfig": str(user), **LITTLE}}
    (home / ".clusterhub.yaml").write_text(json.dumps({"profiles": {"cloud": said}}))


def eventually(what: str, met: Callable[[], Any], patience: float = 120.0) -> Any:
    """What ``met()`` returns once it is true; fail, naming ``what``, when it does not become so in time."""
    deadline = time.monotonic() + patience
    while not (found := met()):
        assert time.monotonic() < deadline, f"not in {patience:g} s: {what}"
        time.sleep(0.2)
    return found


def asked(kubeconfig: Path, question: Callable[[Api], Awaitable[T]]) -> T:
    """What the API server answers to the owner of that kubeconfig."""

    async def answered() -> T:
        api = await Api.of(str(kubeconfig), None, NAMESPACE)
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(answered())


def pods(admin: Path, component: str = "worker") -> list[dict[str, Any]]:
    """The pods of that component, of all clusters in the tests' namespace."""
    return list(asked(admin, lambda api: api.list("pods", labels={"dask.org/component": component})))


def left(admin: Path) -> list[str]:
    """Everything that clusters have left in the namespace."""

    async def found(api: Api) -> list[str]:
        names = []
        for kind in (
            "daskclusters",
            "daskworkergroups",
            "daskautoscalers",
            "deployments",
            "pods",
            "services",
            "secrets",
        ):
            for each in await api.list(kind):
                labels = each["metadata"].get("labels", {})
                if "dask.org/cluster-name" in labels or "clusterhub/cluster" in labels:
                    names.append(f"{kind}/{each['metadata']['name']}")
        return names

    return asked(admin, found)


def started(user: Path, *, wait: bool = True, end: str = "time.sleep(600)", **said: object) -> subprocess.Popen[str]:
    """A user's program with a cluster of one worker, which goes on as told; returns once it has its worker."""
    text = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from live.kubernetes.stories import connected
        cluster = connected(Path({str(user)!r}), 1, **{said!r})
        cluster.wait(timeout=60)
        print(cluster.name, flush=True)
        {end}
    """
    stdout = subprocess.PIPE if wait else subprocess.DEVNULL
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], stdout=stdout, text=True)
    if program.stdout is not None:
        assert program.stdout.readline()
        program.stdout.close()
    return program


@contextmanager
def there(admin: Path, kind: str, body: Mapping[str, Any]) -> Iterator[None]:
    """Something is there for the while."""
    asked(admin, lambda api: api.create(kind, body))
    try:
        yield
    finally:
        asked(admin, lambda api: api.delete(kind, body["metadata"]["name"]))


def on_the_lab_alone() -> None:
    """Skips the test elsewhere, before anything is made."""
    if "CLUSTERHUB_KUBERNETES_LAB" not in os.environ:
        pytest.skip("outages are brought about on the lab alone: this was NOT tested (tests/labs/kubernetes/README.md)")


def lab(*argv: str) -> None:
    """Have the lab do something that no other Kubernetes would do for us; skips the test elsewhere."""
    on_the_lab_alone()
    command = Path(__file__).parents[2] / "labs" / "kubernetes" / "lab"
    subprocess.run([str(command), *argv], check=True, capture_output=True, timeout=120)
