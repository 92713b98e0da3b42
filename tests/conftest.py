"""Isolation: no test sees the home, the site files or the environment of the machine it runs on."""

from __future__ import annotations

import copy
import os
import signal
import tempfile
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from hypothesis import HealthCheck, settings

_OURS = ("CLUSTERHUB_", "SLURM_", "PBS_", "DASK_", "XDG_", "JUPYTERHUB_")
_KEPT = {  # where a real system is, and where pictures go
    *("CLUSTERHUB_LIVE", "CLUSTERHUB_SCREENSHOTS", "CLUSTERHUB_ON_SLURM", "CLUSTERHUB_SLURM_LAB", "SLURM_CONF"),
    *("CLUSTERHUB_KUBECONFIG", "CLUSTERHUB_KUBECONFIG_ADMIN", "CLUSTERHUB_KUBERNETES_LAB", "CLUSTERHUB_LAB_CACHE"),
}

for _name in [name for name in os.environ if name.startswith(_OURS) and name not in _KEPT]:
    del os.environ[_name]


# Dask reads its config when it is first imported: this would be that of whoever runs the tests.
_HOME = tempfile.TemporaryDirectory(prefix="clusterhub-home-")
os.environ["DASK_ROOT_CONFIG"] = str(Path(_HOME.name, "etc-dask"))
with pytest.MonkeyPatch.context() as _patch:
    _patch.setenv("HOME", _HOME.name)
    import_module("dask.config")


# Run under `nohup`, or in the background of a script, everybody below us would ignore these, and tests send them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


# Pytest parses modules of its plugins when they are imported, which anyio puts off. CPython 3.11 fails an import where what is
# collected meanwhile prints a traceback, which is parsed as well: "AST constructor recursion depth mismatch", seen once.
for _module in walk_packages(import_module("anyio").__path__, "anyio."):
    if "trio" not in _module.name:
        import_module(_module.name)


# How long an example takes is the machine's affair. All else is as hypothesis has it here: in CI, the same examples each time.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the test's own."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("CLUSTERHUB_CONFIG", raising=False)
    monkeypatch.delenv("CLUSTERHUB_PROFILE", raising=False)
    return path


@pytest.fixture(autouse=True)
def unwatched() -> Iterator[None]:
    """Workers in this process do not pause for its memory, most of which is not theirs: it grows with every test."""
    import dask
    import distributed  # noqa: F401  # whose defaults would come and go with what is set here

    with dask.config.set({f"distributed.worker.memory.{mark}": False for mark in ("target", "spill", "pause")}):
        yield


class DaskFiles:
    """The files of a user's Dask config, and Dask as it is after it has read them."""

    def __init__(self, home: Path) -> None:
        self.folder = home / ".config" / "dask"
        self.site = home / "etc-dask"
        for folder in (self.folder, self.site):
            folder.mkdir(parents=True)

    def write(self, text: str, name: str = "jobqueue.yaml", *, site: bool = False) -> Path:
        """Write a file, and have Dask read everything anew."""
        path = (self.site if site else self.folder) / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        self.read()
        return path

    def read(self) -> None:
        """Read the files and the environment, as Dask does when it is imported."""
        from dask import config

        config.refresh(paths=config.paths)


@pytest.fixture
def dask_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskFiles]:
    """A Dask config of the test's own, in this process; Dask's own is back when the test ends."""
    from dask import config

    before = copy.deepcopy(config.config)
    files = DaskFiles(home)
    monkeypatch.setattr(config, "paths", [str(files.site), str(files.folder)])
    yield files
    config.config.clear()
    config.config.update(before)
