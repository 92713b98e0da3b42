"""No test of Kubernetes sees that of the machine it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterhub_backends.kubernetes import login


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In no pod, and with no kubeconfig but what a test names."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(login, "ACCOUNT", tmp_path / "no-account")
