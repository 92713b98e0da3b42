"""The package's front: everything public is there, and importing it costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import clusterhub
import clusterhub.aio
import clusterhub.api
import clusterhub.errors
from importable import environment

HEAVY = ("distributed", "dask", "dask_jobqueue", "dask_kubernetes", "dask_gateway", "pydantic", "rich", "click")


def modules_after(code: str) -> set[str]:
    """The modules that a fresh Python has imported after ``code``."""
    program = f"{code}\nimport sys, json\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_imports_nothing_heavy():
    assert modules_after("import clusterhub").isdisjoint(HEAVY)


def test_the_errors_cost_no_more_than_the_package():
    assert modules_after("from clusterhub import ConfigError, WorkersFailed").isdisjoint(HEAVY)


def test_what_a_backend_is_written_with_does_not_import_dask():
    """Listing the installed backends imports them, and must not take half a second."""
    names = "Backend, Bytes, ClusterSpec, Document, Feature, Frozen, NativeDeployment, Plan, Unit"
    assert modules_after(f"from clusterhub import {names}").isdisjoint({"distributed", "dask", "rich", "click"})


def test_listing_profiles_imports_no_dask(home: Path):
    (home / ".clusterhub.yaml").write_text("profiles: {laptop: {backend: local, workers: 4}}\n")
    after = modules_after("import clusterhub; assert [found.here for found in clusterhub.profiles()] == ['ready']")
    assert after.isdisjoint({"distributed", "dask", "rich", "click"})


@pytest.mark.parametrize("name", clusterhub.__all__)
def test_every_public_name_resolves(name):
    assert getattr(clusterhub, name) is not None


def test_all_is_in_order_and_says_nothing_twice():
    assert clusterhub.__all__ == sorted(set(clusterhub.__all__), key=lambda name: (not name.isupper(), name))


def test_dir_shows_what_is_public():
    assert set(dir(clusterhub)) == {*clusterhub.__all__, "aio", "testing", "__version__"}


def test_star_brings_exactly_what_is_public():
    brought: dict[str, object] = {}
    exec("from clusterhub import *", brought)
    assert set(brought) - {"__builtins__"} == set(clusterhub.__all__)


def test_every_lazy_name_is_public():
    """A name in the table that is not in ``__all__`` would be importable and undocumented."""
    assert set(clusterhub._HOME_OF) == set(clusterhub.__all__) - {"aio"}


def test_every_error_is_public():
    tree = [cls for cls in vars(clusterhub.errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert {cls.__name__ for cls in tree} <= set(clusterhub.__all__)


def test_an_unknown_name_is_an_attribute_error_like_any_other():
    with pytest.raises(AttributeError, match="module 'clusterhub' has no attribute 'conect'"):
        clusterhub.conect  # noqa: B018


def test_the_version_is_the_distributions():
    assert clusterhub.__version__[0].isdigit()


def test_the_subpackages_come_by_attribute():
    code = "import clusterhub; clusterhub.aio.connect; clusterhub.testing.BackendConformance"
    assert {"clusterhub.aio", "clusterhub.testing"} <= modules_after(code)


def test_both_doors_take_the_same_arguments():
    import inspect

    ours, theirs = inspect.signature(clusterhub.connect), inspect.signature(clusterhub.aio.connect)
    assert ours.parameters == theirs.parameters


@pytest.mark.parametrize("module", [clusterhub.aio, clusterhub.api])
def test_all_of_a_module_is_there(module: ModuleType):
    assert all(hasattr(module, name) for name in module.__all__)
