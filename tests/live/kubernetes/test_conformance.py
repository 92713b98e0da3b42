"""Kubernetes keeps the contract, on a real API server, kubelet and operator, for a user with the rights that the docs list."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterhub.cluster import Cluster
from clusterhub.testing import BackendConformance
from live.kubernetes.stories import SMALL, write_profile


class TestKubernetes(BackendConformance):
    backend = "cloud"
    overrides = {"worker": SMALL}
    broken = {"kubernetes": {"image": "registry.invalid/no-such-image:1"}}
    timeout = 90.0

    @pytest.fixture(autouse=True)
    def _profile(self, user: Path, home: Path) -> None:
        write_profile(home, user)

    def lose_worker(self, cluster: Cluster) -> None:
        def killed_soon() -> None:  # made here, so that it travels by value; soon, so that it is answered
            import os
            import signal
            import threading

            def kill() -> None:
                os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

            threading.Timer(0.3, kill).start()

        with cluster.get_client(set_as_default=False) as client:
            client.run(killed_soon, workers=[next(iter(cluster.scheduler_info["workers"]))])
