"""``clusterhub init --from-jobqueue``, as somebody with a dask-jobqueue config uses it: nothing is stood in for."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clusterhub.cli import clusterhub
from clusterhub.profile import profiles, resolve

Run = Callable[..., Result]

# In the manner of a PBS site: a whole node for each job, the scheduler's interface, a job of a day.
SITE = """
    jobqueue:
      pbs:
        name: dask-worker
        cores: 24
        memory: 120GB
        processes: 6
        interface: ib0
        death-timeout: 60
        local-directory: $TMPDIR
        queue: regular
        project: P0042
        walltime: '24:00:00'
        resource-spec: select=1:ncpus=24:mem=120GB
        job-extra: ['-m n']
        env-extra: [module load conda]
        extra: [--lifetime, 23h]
        scheduler-options: {port: 8786}
"""
CUSTOM = """
    jobqueue:
      tides:
        cores: 36
        memory: 180 GB
        processes: 4
        queue: compute
        account: ocean
        walltime: '12:00:00'
        job-cpu: null
        job-extra-directives: [--exclusive]
"""


@pytest.fixture
def run(dask_files: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line on a machine without batch commands."""
    monkeypatch.setenv("PATH", str(home / "bin"))

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(clusterhub, args, prog_name="clusterhub")

    return invoke


def command(home: Path, name: str) -> None:
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / name).write_text("#!/bin/sh\n")
    (home / "bin" / name).chmod(0o755)


def test_a_section_becomes_a_profile_and_the_arithmetic_is_printed(run: Run, dask_files: Any, home: Path) -> None:
    dask_files.write(SITE)
    result = run("init", "--from-jobqueue", "pbs")
    assert (result.exit_code, result.stderr) == (0, "")
    told = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert told[0] == "written ~/.clusterhub.yaml"
    assert "profile pbs, from jobqueue.pbs (~/.config/dask/jobqueue.yaml), backend pbs" in told
    assert "worker.memory 20 GB 120 GB for 6 processes: 20 GB each" in told
    assert "worker.cores 4 24 cores for 6 processes: 4 each" in told
    assert any(line.startswith("scheduler-options.port 8786 the scheduler takes a free port here") for line in told)
    assert any(line.startswith('extra "--lifetime 23h" jobs are replaced before') for line in told)
    assert told[-1] == "next clusterhub show pbs, clusterhub plan pbs, clusterhub check pbs --start"
    assert stat.S_IMODE((home / ".clusterhub.yaml").stat().st_mode) == 0o600


def test_what_is_written_loads_shows_and_plans(run: Run, dask_files: Any, home: Path) -> None:
    dask_files.write(SITE)
    assert run("init", "--from-jobqueue").exit_code == 0
    dask_files.write("")  # the file counts no more
    assert profiles().problems == ()
    resolved = resolve("pbs", {})
    assert (str(resolved.spec.worker.memory), resolved.options.account, resolved.spec.job.workers_per_job) == (
        "20 GB",
        "P0042",
        6,
    )
    assert resolved.origins["worker.memory"].startswith("~/.clusterhub.yaml:")
    shown, planned = run("show", "pbs"), run("plan", "pbs")
    assert (shown.exit_code, planned.exit_code) == (0, 0)
    assert "one job: 6 workers" in shown.stdout
    assert "#PBS -l walltime=24:00:00" in planned.stdout
    text = re.sub(" +#", " #", (home / ".clusterhub.yaml").read_text())
    assert "memory: 20 GB # 120 GB for 6 processes: 20 GB each" in text
    assert (
        " # left out: ~/.config/dask/jobqueue.yaml:18: jobqueue.pbs.scheduler-options.port = 8786: the scheduler"
        in text
    )


def test_without_a_name_every_section_that_says_anything_is_converted(run: Run, dask_files: Any) -> None:
    dask_files.write(SITE)
    dask_files.write(CUSTOM, name="tides.yaml")
    dask_files.write("jobqueue: {sge: {cores: 4, queue: all}, oar: {cores: null, name: dask-worker}}", name="zz.yaml")
    result = run("init", "--from-jobqueue")
    assert result.exit_code == 0
    assert [(info.name, info.backend) for info in profiles()] == [("here", "local"), ("pbs", "pbs"), ("tides", "slurm")]
    assert (
        "jobqueue.sge is left alone: it is for a batch system that needs another backend than pbs or slurm"
        in result.stdout
    )
    assert "oar" not in result.stdout


def test_a_section_of_a_name_of_its_own(run: Run, dask_files: Any) -> None:
    dask_files.write(CUSTOM)
    assert run("init", "--from-jobqueue", "tides").exit_code == 0
    resolved = resolve("tides", {})
    assert (resolved.backend.name, resolved.options.partition, str(resolved.spec.worker.memory)) == (
        "slurm",
        "compute",
        "45 GB",
    )
    assert resolve("slurm", {}).options.partition is None


@pytest.mark.parametrize("name", ["red_tides", "red-tides", "jobqueue.red-tides"])
def test_a_section_is_found_as_dask_finds_it(run: Run, dask_files: Any, name: str) -> None:
    dask_files.write(CUSTOM.replace("tides", "red_tides"))
    assert run("init", "--from-jobqueue", name).exit_code == 0
    assert resolve("red_tides", {}).options.partition == "compute"


UNTOLD = "jobqueue: {site: {cores: 4, memory: 8GB, queue: q}}"


@pytest.mark.parametrize(("name", "backend"), [("qsub", "pbs"), ("sbatch", "slurm")])
def test_the_commands_of_this_host_tell_what_a_section_does_not(
    run: Run, dask_files: Any, home: Path, name: str, backend: str
) -> None:
    dask_files.write(UNTOLD)
    command(home, name)
    result = run("init", "--from-jobqueue")
    assert f"backend {backend}: {backend.upper()} commands were found here" in result.stdout
    assert resolve("site", {}).backend.name == backend


def test_where_nothing_tells_it_is_asked_for(run: Run, dask_files: Any, home: Path) -> None:
    dask_files.write(UNTOLD)
    for args in (("init", "--from-jobqueue"), ("init", "--from-jobqueue", "site")):
        result = run(*args)
        assert result.exit_code == 2
        assert "does not tell which batch system it is for; say --backend pbs or --backend slurm" in result.stderr
    assert not (home / ".clusterhub.yaml").exists()
    assert run("init", "--from-jobqueue", "--backend", "slurm").exit_code == 0
    assert resolve("site", {}).options.partition == "q"


def test_the_option_counts_for_a_section_that_is_named(run: Run, dask_files: Any) -> None:
    dask_files.write(CUSTOM)
    assert run("init", "--from-jobqueue", "tides", "--backend", "pbs").exit_code == 0
    assert resolve("tides", {}).options.queue == "compute"


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        (
            CUSTOM,
            ("tide",),
            "there is no section jobqueue.tide in your dask config; did you mean tides? (sections: tides)",
        ),
        (CUSTOM, ("tides", "--backend", "local"), "--backend: takes pbs or slurm, not local"),
        (
            "",
            (),
            "there is no dask-jobqueue config to convert: no section below jobqueue says anything, in ~/.config/dask",
        ),
        ("jobqueue: {pbs: {cores: null, name: dask-worker}}", (), "clusterhub init writes a file to start from"),
        ("jobqueue: {pbs: {cores: null}}", ("pbs",), "jobqueue.pbs: says nothing that a profile could be made of"),
        ("jobqueue: {sge: {cores: 4}}", (), "jobqueue.sge: it is for a batch system that needs another backend"),
        ("jobqueue: {sge: {cores: 4}}", ("sge",), "jobqueue.sge: it is for a batch system that needs another backend"),
        ("jobqueue: 5", (), "must be a table of keys and values"),
        ("jobqueue: {pbs: {cores: x}, slurm: {cores: y}}", (), "jobqueue.slurm.cores = y"),
        ("jobqueue: {pbs: {cores: x}, slurm: {cores: y}}", (), "jobqueue.pbs.cores = x"),
    ],
)
def test_what_cannot_be_converted_is_one_clear_message(
    run: Run, dask_files: Any, home: Path, text: str, args: tuple[str, ...], words: str
) -> None:
    dask_files.write(text)
    result = run("init", "--from-jobqueue", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert not (home / ".clusterhub.yaml").exists()


def test_a_file_that_is_there_is_left_alone(run: Run, dask_files: Any, home: Path) -> None:
    dask_files.write(SITE)
    (home / ".clusterhub.yaml").write_text("profiles: {}\n")
    result = run("init", "--from-jobqueue")
    assert result.exit_code == 2
    assert "is there already, and is left as it is" in result.stderr
    assert "CLUSTERHUB_CONFIG=new.yaml clusterhub init --from-jobqueue" in result.stderr
    assert (home / ".clusterhub.yaml").read_text() == "profiles: {}\n"


def test_a_profile_called_here_stands_in_place_of_ours(run: Run, dask_files: Any) -> None:
    dask_files.write(CUSTOM.replace("tides", "here"))
    assert run("init", "--from-jobqueue", "here").exit_code == 0
    assert [(info.name, info.backend) for info in profiles()] == [("here", "slurm")]


def test_what_is_secret_is_neither_printed_nor_a_comment(run: Run, dask_files: Any, home: Path) -> None:
    dask_files.write("jobqueue: {pbs: {queue: q, env-extra: [export API_TOKEN=hunter2], extra: ['--token=hunter2']}}")
    result = run("init", "--from-jobqueue")
    assert result.exit_code == 0
    assert "hunter2" not in result.stdout
    lines = [line for line in (home / ".clusterhub.yaml").read_text().splitlines() if "hunter2" in line]
    assert [line.partition("# ")[2].count("hunter2") for line in lines] == [0]
    assert resolve("pbs", {}).spec.environment.setup == ("export API_TOKEN=hunter2",)


def test_show_tells_what_of_the_dask_config_has_no_effect(run: Run, dask_files: Any) -> None:
    dask_files.write("jobqueue: {slurm: {queue: q, death-timeout: 300}}")
    result = run("show", "slurm")
    assert result.exit_code == 0
    assert "of the dask config this has no effect here:" in result.stdout
    assert "jobqueue.slurm.death-timeout = 300" in result.stdout
    assert '"key": "jobqueue.slurm.death-timeout"' in run("show", "slurm", "--json").stdout


def test_show_refuses_what_cannot_be_had_and_says_what_to_do(run: Run, dask_files: Any) -> None:
    dask_files.write(SITE)
    result = run("show", "pbs")
    assert result.exit_code == 2
    assert "jobqueue.pbs.scheduler-options.port = 8786" in result.stderr
    assert "clusterhub init --from-jobqueue pbs writes a profile without it" in result.stderr
