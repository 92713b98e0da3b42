"""On a Kubernetes that is up: that of tests/labs/kubernetes, where test_kubernetes_lab.py takes them, or kind, k3d, any other."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# Elsewhere there is nothing to run them on; ../test_kubernetes_lab.py says so, loudly.
collect_ignore_glob = [] if os.environ.get("CLUSTERHUB_KUBECONFIG") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kr8s leaves to the garbage collector where it is cancelled, as any question may be: the kubeconfig that it reads."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed file .*kubeconfig:ResourceWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure goes what Dask's operator said last: whether it heard of the cluster at all is seen there alone."""
    report = yield
    lab = os.environ.get("CLUSTERHUB_KUBERNETES_LAB")
    if report.failed and lab and (log := Path(lab, "log", "operator.log")).exists():
        said = log.read_text(errors="replace").splitlines()
        own = [
            line[:200] for line in said if line.startswith("[") and " httpx " not in line
        ]  # no tracebacks, no requests
        report.sections.append(("Dask's operator, lately", "\n".join(own[-15:])))
    return report


@pytest.fixture(autouse=True)
def _all_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists clusters waits for each to tell how it fares, as long as a busy machine may take; else two seconds."""
    monkeypatch.setattr("clusterhub_backends.kubernetes.sight.PATIENCE", 30.0)
    monkeypatch.setattr("clusterhub.keeper.discovery.PATIENCE", 60.0)


@pytest.fixture
def user() -> Path:
    """The kubeconfig of somebody with just the rights that the docs list."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG"])


@pytest.fixture
def admin() -> Path:
    """The kubeconfig of somebody who may do anything, to bring about what users suffer."""
    return Path(os.environ["CLUSTERHUB_KUBECONFIG_ADMIN"])
