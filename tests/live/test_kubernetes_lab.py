"""Takes the tests of ./kubernetes to a real Kubernetes: that of CLUSTERHUB_KUBECONFIG, or one that is brought up for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labs.kubernetes import COMMAND, environment, missing
from live.inside import LONGEST, passed, pytest_of

HERE = Path(__file__).parent
PATIENCE = 2400.0
NAMED = "kubernetes" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


@pytest.mark.timeout(PATIENCE + LONGEST)
def test_on_a_real_kubernetes() -> None:
    lab = Path("/tmp") / f"clusterhub-kubernetes-{os.getpid()}"
    if not (NAMED or os.environ.get("CLUSTERHUB_KUBECONFIG")):
        pytest.skip(
            "that Kubernetes works was NOT tested: CLUSTERHUB_LIVE=kubernetes builds one, which takes ten minutes once"
            " (tests/labs/kubernetes/README.md)"
        )
    if not os.environ.get("CLUSTERHUB_KUBECONFIG") and (reason := missing(lab)):
        assert not NAMED, f"CLUSTERHUB_LIVE names kubernetes, and {reason}"
        pytest.skip(f"{reason}: that Kubernetes works was NOT tested (tests/labs/kubernetes/README.md)")
    tests = pytest_of(HERE / "kubernetes", PATIENCE)
    # Takes what CLUSTERHUB_KUBECONFIG names, if it does
    done = subprocess.run(
        [COMMAND, "around", *tests], env=environment(lab), capture_output=True, text=True, check=False
    )
    shutil.rmtree(lab, ignore_errors=True)
    passed(done)
