"""A machine of the tests' own: home, site files, installed packages, environment and host name."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clusterhub import profile as profiles_room
from clusterhub.errors import ConfigError
from clusterhub.profile import Resolved, sources

HERE = Path(__file__).parent
BACKENDS = {
    "local": "profile_test_backends:Local",
    "pbs": "profile_test_backends:Pbs",
    "cloud": "profile_test_backends:Cloud",
    "needy": "profile_test_backends:Needy",
    "stubborn": "profile_test_backends:Stubborn",
    "broken": "profile_test_no_such_module:Broken",
}


class Machine:
    """What a test writes to this machine, and how it asks."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.home = root / "home"
        self.etc = root / "etc"
        self.prefix = root / "prefix"
        self.bin = root / "bin"
        self.packages = root / "packages"
        self._monkeypatch = monkeypatch
        for folder in (self.home, self.etc, self.prefix, self.bin, self.packages):
            folder.mkdir(parents=True)

    @property
    def file(self) -> Path:
        """The user's config."""
        return self.home / ".clusterhub.yaml"

    def user(self, text: str) -> None:
        self.file.write_text(textwrap.dedent(text), encoding="utf-8")

    def site(self, text: str, name: str = "config.yaml", *, prefix: bool = False) -> Path:
        path = (self.prefix if prefix else self.etc) / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def command(self, name: str) -> None:
        path = self.bin / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    def env(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def called(self, name: str) -> None:
        """Give this host a name."""
        self._monkeypatch.setattr("socket.gethostname", lambda: name)

    def install(self, distribution: str, entry_points: Mapping[str, Mapping[str, str]], **modules: str) -> None:
        """Install a distribution with entry points by group, and modules by name."""
        info = self.packages / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = []
        for group, entries in entry_points.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in modules.items():
            (self.packages / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def resolve(self, profile: Any = None, /, **overrides: Any) -> Resolved:
        return profiles_room.resolve(profile, overrides)

    def refused(self, profile: Any = None, /, **overrides: Any) -> ConfigError:
        """The error of a profile that must not resolve."""
        with pytest.raises(ConfigError) as caught:
            profiles_room.resolve(profile, overrides)
        assert caught.value.problems, "an error must carry its problems"
        assert "Traceback" not in str(caught.value)
        return caught.value

    def problem(self, profile: Any = None, /, **overrides: Any) -> Any:
        """The only problem of a profile that must not resolve."""
        problems = self.refused(profile, **overrides).problems
        assert len(problems) == 1, problems
        return problems[0]


@pytest.fixture
def _hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of an installed clusterhub are left out: these tests bring backends of the same names."""
    import importlib.metadata as metadata

    original = metadata.entry_points

    def only_of_tests(**params: Any) -> Any:
        found = original(**params)
        if params.get("group", "").startswith("clusterhub."):
            return metadata.EntryPoints(entry for entry in found if "profile-test" in entry.dist.name)
        return found

    from clusterhub import registry

    for module in (registry, sources):
        monkeypatch.setattr(module, "entry_points", only_of_tests)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _hidden: None) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    for name in list(os.environ):
        if name.startswith(("CLUSTERHUB", "SLURM", "PBS", "LSB", "OAR", "SGE", "_CONDOR", "DASK", "KUBE", "JOB_ID")):
            monkeypatch.delenv(name)
    machine.env(HOME=str(machine.home), PATH=str(machine.bin))
    monkeypatch.setattr(sources, "site_directories", lambda: (machine.etc, machine.prefix))
    monkeypatch.syspath_prepend(str(machine.packages))
    machine.called("laptop.example.org")
    (machine.packages / "profile_test_backends.py").write_text((HERE / "backends.py").read_text())
    sys.modules.pop("profile_test_backends", None)
    machine.install("profile-test-backends", {"clusterhub.backends": BACKENDS})
    yield machine
    for name in [name for name in sys.modules if name.startswith(("profile_test_", "my_site"))]:
        del sys.modules[name]
