"""The command line on the local backend, with nothing replaced: what a first user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from distributed import Client

if __name__ == "__main__":
    client = Client()
    client.wait_for_workers(1)
    workers = len(client.scheduler_info()["workers"])
    print(sys.argv[1:], client.submit(sum, [1, 2, 3]).result(), workers)
    sys.exit(3)
"""


def clusterhub(*args: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLUSTERHUB_", "DASK_"))}
    if "PYTHONPATH" in kept:  # relative ones would be looked for in the other folder
        kept["PYTHONPATH"] = os.pathsep.join(
            str(Path(path).absolute()) for path in kept["PYTHONPATH"].split(os.pathsep)
        )
    return subprocess.run(
        [sys.executable, "-m", "clusterhub", *args],
        cwd=home, env={**kept, "HOME": str(home), **env}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_an_unmodified_script_runs_on_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(SCRIPT)
    result = clusterhub("run", "local", "--workers", "1", "x.py", "--year", "2020", home=tmp_path)
    assert (result.returncode, result.stdout) == (3, "['--year', '2020'] 6 1\n"), result.stderr
    assert "Traceback" not in result.stderr


def test_workers_as_threads_are_refused_with_the_way_out(tmp_path: Path) -> None:
    result = clusterhub("run", "local", "--set", "local.processes=false", "--workers", "1", "true", home=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--set local.processes=true" in result.stderr


def test_from_no_config_to_a_plan(tmp_path: Path) -> None:
    assert clusterhub("init", home=tmp_path).returncode == 0
    again = clusterhub("init", home=tmp_path)
    assert (again.returncode, again.stderr[:2]) == (2, "✘ ")
    names = [one["name"] for one in json.loads(clusterhub("profiles", "--json", home=tmp_path).stdout)]
    assert "here" in names
    shown = clusterhub("show", "here", "--workers", "3", home=tmp_path).stdout
    assert "in all: 3 workers" in shown
    assert "LocalCluster(" in clusterhub("plan", "here", home=tmp_path).stdout


def test_the_doctor_finds_a_local_cluster_well(tmp_path: Path) -> None:
    result = clusterhub("check", "local", "--workers", "1", home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "local"
    assert result.stdout.splitlines()[-1].startswith("everything works")


def test_ascii_terminals_are_served(tmp_path: Path) -> None:
    result = clusterhub("check", "local", "--workers", "1", home=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()


@pytest.mark.parametrize("key", ["wrker.memory=8GiB", "worker.memory=16"])
def test_a_slip_in_set_is_told_with_what_to_write(key: str, tmp_path: Path) -> None:
    result = clusterhub("show", "local", "--set", key, home=tmp_path)
    assert result.returncode == 2
    assert "did you mean" in result.stderr or "write 16 GiB" in result.stderr
