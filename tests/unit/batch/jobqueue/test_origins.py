"""Where a value of the Dask config was said, and that a file which lies about counts nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clusterhub import plan
from clusterhub.errors import ConfigError
from clusterhub.profile import profiles, resolve

SLURM = """
    jobqueue:
      slurm:
        cores: 8
        memory: 32GB
        processes: 2
        queue: compute
"""


def origins(profile: str = "slurm") -> dict[str, str]:
    return {path: origin for path, origin in resolve(profile, {}).origins.items() if "default" not in origin}


def test_every_value_names_its_file_and_line(dask_files: Any) -> None:
    dask_files.write(SLURM)
    found = origins()
    file = "~/.config/dask/jobqueue.yaml"
    assert {
        path: found[path] for path in ("worker.cores", "worker.memory", "job.workers_per_job", "slurm.partition")
    } == {
        "worker.cores": f"{file}:4",
        "worker.memory": f"{file}:5",
        "job.workers_per_job": f"{file}:6",
        "slurm.partition": f"{file}:7",
    }


def test_an_error_names_it_too(dask_files: Any) -> None:
    dask_files.write(SLURM.replace("32GB", "lots"))
    with pytest.raises(ConfigError) as caught:
        resolve("slurm", {})
    assert str(caught.value).splitlines() == [
        "jobqueue.slurm has a problem",
        "  ~/.config/dask/jobqueue.yaml:5  jobqueue.slurm.memory = lots  is no amount of memory; write a number and its unit,"
        " as 120GB",
    ]


def test_a_value_that_contradicts_the_call_names_its_file(dask_files: Any) -> None:
    dask_files.write(SLURM)
    with pytest.raises(ConfigError) as caught:
        resolve("slurm", {"job": {"workers_per_job": 5}})
    assert "call" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        resolve("slurm", {"worker": {"cores": 8}})
    assert "~/.config/dask/jobqueue.yaml:6" in str(caught.value)


def test_the_stronger_file_is_named(dask_files: Any) -> None:
    dask_files.write(SLURM, site=True)
    dask_files.write("jobqueue: {slurm: {memory: 64GB, queue: compute}}", name="zz.yaml")
    found = origins()
    assert found["worker.memory"] == "~/.config/dask/zz.yaml:1"
    assert found["slurm.partition"] == "~/.config/dask/zz.yaml:1"
    assert found["worker.cores"] == "~/etc-dask/jobqueue.yaml:4"


def test_hyphens_and_underscores_are_the_same(dask_files: Any) -> None:
    dask_files.write("jobqueue: {slurm: {local-directory: /a, queue: q}}", site=True)
    dask_files.write("jobqueue:\n  slurm:\n    local_directory: /b")
    resolved = resolve("slurm", {})
    assert (resolved.spec.storage.scratch, resolved.origins["storage.scratch"]) == (
        "/b",
        "~/.config/dask/jobqueue.yaml:3",
    )


def test_a_variable_is_named(dask_files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dask_files.write(SLURM)
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__MEMORY", "16GB")
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__LOCAL_DIRECTORY", "/ssd")
    dask_files.read()
    found = origins()
    assert found["worker.memory"] == "$DASK_JOBQUEUE__SLURM__MEMORY"
    assert found["storage.scratch"] == "$DASK_JOBQUEUE__SLURM__LOCAL_DIRECTORY"
    assert str(resolve("slurm", {}).spec.worker.memory) == "8 GB"


def test_what_a_program_sets_is_named_as_that(dask_files: Any) -> None:
    from dask import config

    dask_files.write(SLURM)
    with config.set({"jobqueue.slurm.memory": "48GB"}):
        assert origins()["worker.memory"] == "dask config"
        assert str(resolve("slurm", {}).spec.worker.memory) == "24 GB"


def test_a_file_that_yaml_1_2_reads_otherwise_is_named_without_a_line(dask_files: Any) -> None:
    dask_files.write("jobqueue: {slurm: {queue: a, queue: b}}")
    assert origins()["slurm.partition"] == "~/.config/dask/jobqueue.yaml"


def test_the_defaults_of_an_imported_package_say_nothing(dask_files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``import dask_jobqueue`` puts its defaults into the Dask config of the process."""
    from dask import config

    defaults = {
        "jobqueue": {"slurm": {"walltime": "00:30:00", "name": "dask-worker", "death-timeout": 60, "cores": None}}
    }
    monkeypatch.setattr(config, "defaults", [*config.defaults, defaults])
    config.refresh(paths=config.paths, defaults=config.defaults)
    assert "job.walltime" not in origins()
    dask_files.write("jobqueue: {slurm: {queue: q}}")
    config.refresh(paths=config.paths, defaults=config.defaults)
    assert (resolve("slurm", {}).origins["job.walltime"], resolve("slurm", {}).unused) == (
        "dask-jobqueue's default",
        (),
    )


# It counts for a bare backend and for `extends: dask`


def test_it_counts_for_a_bare_backend_and_for_extends_dask_only(dask_files: Any, home: Path) -> None:
    dask_files.write(SLURM)
    (home / ".clusterhub.yaml").write_text(
        "profiles:\n"
        "  plain: {backend: slurm}\n"
        "  pbs-one: {backend: pbs}\n"
        "  built: {extends: dask, backend: slurm, slurm: {account: ocean}}\n"
        "  on-it: {extends: built, worker: {cores: 2}}\n"
    )
    assert (resolve("plain", {}).options.partition, resolve("plain", {}).spec.job.workers_per_job) == (None, None)
    assert "~/.config" not in str(resolve("plain", {}).origins)
    assert "~/.config" not in str(
        (resolve("pbs-one", {}).origins, resolve("pbs", {}).origins, resolve("local", {}).origins)
    )
    built = resolve("built", {})
    assert (built.options.partition, built.options.account, str(built.spec.worker.memory)) == (
        "compute",
        "ocean",
        "16 GB",
    )
    assert (resolve("on-it", {}).spec.worker.cores, resolve("on-it", {}).spec.job.workers_per_job) == (2, 2)
    assert resolve("slurm", {"slurm": {"partition": "mine"}}).options.partition == "mine"


def test_the_section_of_another_system_counts_nowhere(dask_files: Any) -> None:
    dask_files.write("jobqueue: {hal: {cores: 8, memory: 8GB, queue: q}, pbs: {queue: p}}")
    assert resolve("slurm", {}).options.partition is None
    assert resolve("pbs", {}).options.queue == "p"


def test_a_broken_section_breaks_nothing_else(dask_files: Any, home: Path) -> None:
    dask_files.write("jobqueue: {slurm: {cores: many}}")
    (home / ".clusterhub.yaml").write_text(
        "profiles: {plain: {backend: slurm}, built: {extends: dask, backend: slurm}}"
    )
    assert resolve("plain", {}).options.partition is None
    assert {info.name: info.here for info in profiles()}["built"] == "1 problem: clusterhub show built"


@pytest.mark.parametrize("text", ["jobqueue: 5", "jobqueue: {slurm: [a]}", "jobqueue: [slurm]"])
def test_a_section_that_is_no_table_is_told(dask_files: Any, text: str) -> None:
    dask_files.write(text)
    with pytest.raises(ConfigError, match="must be a table of keys and values") as caught:
        resolve("slurm", {})
    assert caught.value.problems[0].origin == "~/.config/dask/jobqueue.yaml:1"
    assert caught.value.problems[0].path.startswith("jobqueue")


def test_planning_by_a_bare_name_takes_it(dask_files: Any) -> None:
    dask_files.write(SLURM)
    made = plan("slurm", workers=4)
    assert made.summary.startswith("2 jobs of 2 workers")
    assert "#SBATCH --partition=compute" in made.documents[0].text


def test_a_file_that_dask_cannot_read_is_one_message(home: Path) -> None:
    """Dask itself cannot be imported then, so this takes a process of its own."""
    folder = home / ".config" / "dask"
    folder.mkdir(parents=True)
    (folder / "jobqueue.yaml").write_text("jobqueue: {slurm: [")
    for args in (["show", "slurm"], ["init", "--from-jobqueue"]):
        done = subprocess.run(
            [sys.executable, "-m", "clusterhub", *args], capture_output=True, text=True, timeout=60, env={**os.environ}
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "jobqueue.yaml' is malformed" in done.stderr
        assert "Traceback" not in done.stderr
