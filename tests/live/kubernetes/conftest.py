"""A Kubernetes that somebody has brought up: that of tests/labs/kubernetes, kind, k3d, or any other."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

NAMED = "kubernetes" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")
NEEDS = ("CLUSTERHUB_KUBECONFIG", "CLUSTERHUB_KUBECONFIG_ADMIN")


def missing() -> str | None:
    """Why there is no Kubernetes to test on, or None."""
    unset = [name for name in NEEDS if not os.environ.get(name)]
    if unset:
        return f"not set: {', '.join(unset)}"
    lacking = [name for name in ("kr8s", "dask_kubernetes") if find_spec(name) is None]
    return f'not installed: {", ".join(lacking)} (pip install "clusterhub[kubernetes]")' if lacking else None


@pytest.fixture(autouse=True, scope="session")
def there_is_one() -> None:
    if reason := missing():
        assert not NAMED, f"CLUSTERHUB_LIVE names kubernetes, and {reason}"
        pytest.skip(f"{reason}: that Kubernetes works was NOT tested (tests/labs/kubernetes/README.md)")


@pytest.fixture
def user(there_is_one: None) -> Path:
    """The kubeconfig of somebody with just the rights that the docs list."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG"])


@pytest.fixture
def admin(there_is_one: None) -> Path:
    """The kubeconfig of somebody who may do anything, to bring about what users suffer."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG_ADMIN"])
