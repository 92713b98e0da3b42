"""On a Kubernetes that is up: that of tests/labs/kubernetes, where test_kubernetes_lab.py takes them, or kind, k3d, any other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

# Elsewhere there is nothing to run them on; ../test_kubernetes_lab.py says so, loudly.
collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_KUBECONFIG") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What libraries leave to the garbage collector where they are cancelled, as any question may be that is asked for a while
    only: kr8s the kubeconfig that it reads, httpcore the socket of a TLS handshake (its start_tls closes after errors alone)."""
    ignored = ["unclosed file .*kubeconfig"]
    if (named := os.environ.get("CLUSTERHUB_KUBECONFIG")) is not None:
        server = re.search(r"server: https://([^:/\s]+):(\d+)", Path(named).read_text(encoding="utf-8"))
        ignored += [f"unclosed <socket.socket .*raddr=..{server[1]}., {server[2]}"] if server else []
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for each in ignored:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{each}:ResourceWarning"))


@pytest.fixture
def user() -> Path:
    """The kubeconfig of somebody with just the rights that the docs list."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG"])


@pytest.fixture
def admin() -> Path:
    """The kubeconfig of somebody who may do anything, to bring about what users suffer."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG_ADMIN"])
