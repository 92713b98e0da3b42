"""On a Kubernetes that is up: that of tests/labs/kubernetes, where test_kubernetes_lab.py takes them, or kind, k3d, any other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Elsewhere there is nothing to run them on; ../test_kubernetes_lab.py says so, loudly.
collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_KUBECONFIG") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kr8s leaves to the garbage collector where it is cancelled, as any question may be: the kubeconfig that it reads."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed file .*kubeconfig:ResourceWarning"))


@pytest.fixture
def user() -> Path:
    """The kubeconfig of somebody with just the rights that the docs list."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG"])


@pytest.fixture
def admin() -> Path:
    """The kubeconfig of somebody who may do anything, to bring about what users suffer."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG_ADMIN"])
