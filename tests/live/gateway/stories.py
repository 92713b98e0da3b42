"""What the stories about a gateway are told in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import clusterhub
from clusterhub.cluster import Cluster
from labs.gateway.lab import Gateway

SMALL: Mapping[str, Any] = {"cores": 1, "memory": "512 MiB"}


def options_of(lab: Gateway, workers: Any = 0, *, user: str = "ann", **said: Any) -> dict[str, Any]:
    """A call for a small cluster of that gateway; ``worker=None`` leaves its shape to the gateway."""
    said.setdefault("worker", SMALL)
    said["gateway"] = {**lab.table(user), **said.get("gateway", {})}
    return {"workers": workers, **{key: value for key, value in said.items() if value is not None}}


def connected(lab: Gateway, workers: Any = 0, **said: Any) -> Cluster:
    """Such a cluster."""
    return clusterhub.connect("gateway", **options_of(lab, workers, **said))


def eventually(what: str, met: Callable[[], bool], patience: float = 90.0) -> None:
    """Return once ``met()`` holds; fail, naming ``what``, when it does not in time."""
    deadline = time.monotonic() + patience
    while not met():
        assert time.monotonic() < deadline, f"not in {patience:g} s: {what}"
        time.sleep(0.1)


def write_profile(home: Path, lab: Gateway, user: str = "ann") -> None:
    """A profile ``lab`` in the user's own file."""
    said = {"backend": "gateway", "worker": {"cores": 1, "memory": "512 MiB"}, "gateway": lab.table(user)}
    (home / ".clusterhub.yaml").write_text(json.dumps({"profiles": {"lab": said}}))
