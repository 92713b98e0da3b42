"""Isolation: no test sees the home, the site files or the environment of the machine it runs on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_OURS = ("CLUSTERHUB_", "SLURM_", "PBS_", "DASK_", "XDG_", "JUPYTERHUB_")
_KEPT = {"CLUSTERHUB_LIVE", "CLUSTERHUB_ON_SLURM", "CLUSTERHUB_SLURM_LAB", "SLURM_CONF"}  # where a real system is

for _name in [name for name in os.environ if name.startswith(_OURS) and name not in _KEPT]:
    del os.environ[_name]


# Run under `nohup`, or in the background of a script, everybody below us would ignore these, and tests send them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the test's own."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("CLUSTERHUB_CONFIG", raising=False)
    monkeypatch.delenv("CLUSTERHUB_PROFILE", raising=False)
    return path
