"""Every key that dask-jobqueue 0.9 reads: where it goes, or why it goes nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clusterhub.errors import ConfigError
from clusterhub.profile import resolve
from clusterhub_backends.batch.jobqueue.conversion import LOGIN
from clusterhub_backends.pbs import PbsBackend

from .conftest import Take


@pytest.mark.parametrize(
    ("backend", "text", "path", "value"),
    [
        ("pbs", "queue: regular", "pbs.queue", "regular"),
        ("slurm", "queue: compute", "slurm.partition", "compute"),
        ("pbs", "queue: 7", "pbs.queue", "7"),
        ("pbs", "account: ocean", "pbs.account", "ocean"),
        ("pbs", "project: ocean", "pbs.account", "ocean"),
        ("slurm", "account: ocean", "slurm.account", "ocean"),
        ("slurm", "project: ocean", "slurm.account", "ocean"),
        ("slurm", "{account: ocean, project: tides}", "slurm.account", "ocean"),
        ("slurm", "interface: ib0", "network.interface", "ib0"),
        ("pbs", "local-directory: $TMPDIR", "storage.scratch", "$TMPDIR"),
        ("pbs", "local_directory: '${SCRATCH}/dask'", "storage.scratch", "${SCRATCH}/dask"),
        ("pbs", "log-directory: ~/logs", "storage.logs", "~/logs"),
        ("pbs", "python: /softs/bin/python", "environment.python", "/softs/bin/python"),
        ("pbs", "job-script-prologue: [module load conda]", "environment.setup", ["module load conda"]),
        ("pbs", "env-extra: [module load conda, '', export A=1]", "environment.setup", ["module load conda", "export A=1"]),
        ("pbs", "env_extra: module load conda", "environment.setup", ["module load conda"]),
        ("slurm", "job-script-prologue: [module load conda]", "environment.setup", [LOGIN, "module load conda"]),
        ("slurm", "shebang: '#!/bin/bash -l'", "environment.setup", [LOGIN]),
        ("slurm", "scheduler-options: {interface: eth1}", "network.interface", "eth1"),
        ("slurm", "{interface: ib0, scheduler-options: {interface: eth1}}", "network.interface", "eth1"),
        ("slurm", "scheduler-options: {protocol: tls}", "network.tls", True),
        ("slurm", "scheduler-options: {idle_timeout: 2 hours}", "lifecycle.idle_timeout", "2h"),
        ("slurm", "scheduler-options: {idle-timeout: 90}", "lifecycle.idle_timeout", "1m30s"),
        ("pbs", "worker-extra-args: [--local-directory, /tmp/x]", "storage.scratch", "/tmp/x"),
        ("pbs", "extra: ['--nthreads 2']", "worker.threads", 2),
        ("pbs", "{cores: 8, memory: 8GB, extra: [--memory-limit, 500MB]}", "worker.memory", "500 MB"),
        (
            "pbs", "extra: [--resources, 'GPU=2,MEM=1e9']",
            "environment.variables.DASK_DISTRIBUTED__WORKER__RESOURCES", '{"GPU": 2, "MEM": 1000000000}',
        ),
        (
            "pbs", "extra: ['--preload', my.module, '--preload=/x.py']",
            "environment.variables.DASK_DISTRIBUTED__WORKER__PRELOAD", '["my.module", "/x.py"]',
        ),
    ],
)  # fmt: skip
def test_a_key_with_a_counterpart(take: Take, backend: str, text: str, path: str, value: Any) -> None:
    assert take(backend, text).values[path] == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "worker-command: dask_cuda.cli",
            "workers are started by distributed.cli.dask_worker here, and by nothing else",
        ),
        ("python: singularity exec env.sif python", "write a script that runs it"),
        ("python: $(which python)", "only $VAR, ${VAR} and ~ expand here"),
        ("local-directory: '${TMPDIR:-/tmp}'", "only $VAR, ${VAR} and ~ expand here"),
        ("local-directory: /scratch/`whoami`", "only $VAR, ${VAR} and ~ expand here"),
        ("job-directives-skip: [--mem]", "leaves out none of its own directives"),
        ("header-skip: [--mem]", "leaves out none of its own directives"),
        ("extra: [--no-nanny]", "every worker has a nanny here"),
        ("extra: [--worker-port, '9000:9100']", "workers are started without such an argument here"),
        ("extra: [--memory-limit, '0']", "held to its share of the job's memory"),
        ("{cores: 1, memory: 1GB, extra: [--memory-limit, 2GB]}", "held to its share of the job's memory"),
        ("extra: [--resources, GPU]", "workers are started without such an argument here"),
        ("extra: [tcp://host:8786]", "workers are started without such an argument here"),
        ("scheduler-options: {port: 8786}", "takes a free port here"),
        ("scheduler-options: {host: login1}", "see network.interface"),
        ("scheduler-options: {preload: x}", "takes no options of its own here"),
        ("{shebang: '#!/bin/tcsh', env-extra: [module load x]}", "write job-script-prologue for bash"),
    ],
)
def test_what_cannot_be_had_is_told_by_its_key_and_refused_as_a_layer(take: Take, text: str, told: str) -> None:
    ((key, reason),) = take("pbs", f"queue: regular\n{text}" if text[0] != "{" else text).lost.items()
    assert told in reason
    with pytest.raises(ConfigError) as caught:
        PbsBackend().dask_config()
    (problem,) = caught.value.problems
    assert problem.path == f"jobqueue.pbs.{key.partition(' = ')[0]}"
    assert problem.origin.startswith("~/.config/dask/jobqueue.yaml:")
    assert problem.message.endswith("; clusterhub init --from-jobqueue pbs writes a profile without it")


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        ("name: my-workers", "name = my-workers", "jobs are named by clusterhub"),
        ("death-timeout: 300", "death-timeout = 300", "gives up by itself"),
        ("shared-temp-directory: ~", "", ""),
        ("shared-temp-directory: /shared", "shared-temp-directory = /shared", "in a folder of its own"),
        ("extra: [--lifetime, 55m]", 'extra = "--lifetime 55m"', "replaced before their walltime ends"),
        ("extra: ['--lifetime=55m --lifetime-stagger 4m']", 'extra = "--lifetime-stagger 4m"', "replaced before"),
        ("extra: [--no-dashboard]", 'extra = "--no-dashboard"', "no dashboards of their own"),
        ("scheduler-options: {dashboard_address: ':0'}", 'scheduler-options.dashboard_address = ":0"', "dashboard_link"),
        ("scheduler-options: {port: 0}", "scheduler-options.port = 0", "takes a free port"),
        ("scheduler-options: {protocol: 'tcp://'}", 'scheduler-options.protocol = tcp://', "see network.tls"),
        ("shebang: '#!/usr/bin/env zsh'", 'shebang = "#!/usr/bin/env zsh"', "jobs run bash here"),
        ("shebang: '#!/bin/csh'", 'shebang = "#!/bin/csh"', "jobs run bash here"),
        ("{account: a, project: b}", "project = b", "jobqueue.pbs.account is said as well, and counts"),
        ("{job-extra-directives: [-V], job-extra: [-h]}", 'job-extra = [-h]', "job-extra-directives is said as well"),
        ("job-cpu: 4", "job-cpu = 4", "a key of another batch system, so it had no effect"),
        ("silence_logs: true", "silence_logs = true", "dask-jobqueue has no such key, so it had no effect"),
        ("worker-extra: [--nthreads, 4]", 'worker-extra = ["--nthreads", 4]', "has no such key, so it had no effect"),
        ("distributed: {dashboard: {link: x}}", "distributed = {dashboard: {link: x}}", "has no such key"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told_and_refuses_nothing(take: Take, text: str, key: str, told: str) -> None:
    taken = take("pbs", f"queue: regular\n{text}" if text[0] != "{" else text)
    assert taken.lost == {}
    assert (told in taken.unused[key]) if key else taken.unused == {}
    shown = {
        f"{problem.path.removeprefix('jobqueue.pbs.')} = {problem.written}" for problem in resolve("pbs", {}).unused
    }
    assert shown == set(taken.unused)


@pytest.mark.parametrize("backend", ["pbs", "slurm"])
def test_what_dask_jobqueue_itself_says_is_not_told(take: Take, backend: str) -> None:
    taken = take(
        backend,
        """
        name: dask-worker
        queue: regular
        cores: null
        memory: null
        processes: null
        death-timeout: 60
        shared-temp-directory: null
        worker-command: "distributed.cli.dask_worker"
        worker-extra-args: []
        shebang: "#!/usr/bin/env bash"
        job-extra: null
        job-directives-skip: []
        scheduler-options: {}
        walltime: null
        """,
    )
    assert (taken.lost, taken.unused) == ({}, {})
    assert list(taken.values) == [f"{backend}.{'queue' if backend == 'pbs' else 'partition'}"]


# Walltimes


@pytest.mark.parametrize(
    ("backend", "written", "meant"),
    [
        ("pbs", "'12:00:00'", "12h"),
        ("pbs", "12:00:00", "12h"),  # a number of seconds to YAML 1.1, and to PBS
        ("pbs", "00:30:00", "30m"),
        ("pbs", "'30:00'", "30m"),
        ("pbs", "3600", "1h"),
        ("pbs", "'48:00:00'", "2d"),
        ("pbs", "'0:0:90.5'", "1m30.5s"),
        ("slurm", "'12:00:00'", "12h"),
        ("slurm", "00:30:00", "30m"),
        ("slurm", "'90'", "1h30m"),
        ("slurm", "90", "1h30m"),
        ("slurm", "'90:30'", "1h30m30s"),
        ("slurm", "2-00:00:00", "2d"),
        ("slurm", "1-12", "1d12h"),
        ("slurm", "1-12:30", "1d12h30m"),
    ],
)
def test_a_walltime_means_what_its_system_reads(take: Take, backend: str, written: str, meant: str) -> None:
    assert take(backend, f"queue: q\nwalltime: {written}").values["job.walltime"] == meant


@pytest.mark.parametrize(
    ("backend", "written", "words"),
    [
        ("pbs", "2 hours", "is no time that PBS reads; write it as 'HH:MM:SS', in quotes"),
        ("pbs", "1-00:00:00", "is no time that PBS reads"),
        ("pbs", "true", "must be a text"),
        ("pbs", "'00:00:00'", "must be longer than 0 s"),
        ("pbs", "'999999:00:00'", "longer than ten years"),
        ("slurm", "2h", "is no time that SLURM reads"),
        ("slurm", "12:00:00", "Dask reads 12:00:00 without quotes as the number 43200, which SLURM takes for minutes"),
        ("slurm", "30:00", "Dask reads 30:00 without quotes as the number 1800"),
    ],
)
def test_a_walltime_that_cannot_be_meant(refuse: Callable[..., Any], backend: str, written: str, words: str) -> None:
    (problem,) = refuse(backend, f"queue: q\nwalltime: {written}")
    assert problem.path == f"jobqueue.{backend}.walltime"
    assert words in problem.message


def test_no_limit_stays_none(take: Take) -> None:
    taken = take("slurm", "walltime: UNLIMITED")
    assert taken.values == {"slurm.directives": ["--time=UNLIMITED"]}


def test_a_walltime_that_nobody_said_is_that_of_dask_jobqueue(take: Take) -> None:
    taken = take("slurm", "queue: compute")
    assert taken.said["job.walltime"].value == "30m"
    assert taken.said["job.walltime"].origin == "dask-jobqueue's default"
    assert "job.walltime" not in take("slurm", "queue: compute\nwalltime: null").values
    assert "job.walltime" not in take("slurm", "queue: compute", section="hal").values  # the default is slurm's alone


# Directives


@pytest.mark.parametrize(
    ("backend", "line", "values"),
    [
        ("pbs", "-q long", {"pbs.queue": "long"}),
        ("pbs", "-A ocean", {"pbs.account": "ocean"}),
        ("pbs", "-P tides", {"pbs.project": "tides"}),
        ("pbs", "-l walltime=04:00:00", {"job.walltime": "4h"}),
        ("pbs", "-l place=scatter:excl", {"pbs.place": "scatter:excl"}),
        ("pbs", "-l select=1:ncpus=2:model=bro", {"pbs.resources.model": "bro", "worker.cores": 1, "node.cores": None}),
        ("pbs", "-l software=matlab", {"pbs.directives": ["-l software=matlab"]}),
        ("pbs", "-W group_list=ocean", {"pbs.directives": ["-W group_list=ocean"]}),
        ("pbs", "-q long -A ocean -m n", {"pbs.queue": "long", "pbs.account": "ocean", "pbs.directives": ["-m n"]}),
        ("pbs", "-m n -M a@example.org", {"pbs.directives": ["-m n -M a@example.org"]}),
        ("pbs", "-v A='x -q y'", {"pbs.directives": ["-v A='x -q y'"], "pbs.queue": None}),
        ("pbs", "#PBS -V", {"pbs.directives": ["-V"]}),
        ("slurm", "--qos=long", {"slurm.qos": "long"}),
        ("slurm", "-q long", {"slurm.qos": "long"}),
        ("slurm", "--constraint haswell", {"slurm.constraint": "haswell"}),
        ("slurm", "-C haswell", {"slurm.constraint": "haswell"}),
        ("slurm", "-C 'gpu&nvme'", {"slurm.constraint": "gpu&nvme"}),
        ("slurm", "-p debug", {"slurm.partition": "debug"}),
        ("slurm", "--account=tides", {"slurm.account": "tides"}),
        ("slurm", "--reservation=school", {"slurm.reservation": "school"}),
        ("slurm", "-w n[1-4]", {"slurm.nodelist": "n[1-4]"}),
        ("slurm", "--exclude=n7", {"slurm.exclude": "n7"}),
        ("slurm", "--gres=gpu:a100:2", {"slurm.gres": "gpu:a100:2"}),
        ("slurm", "-t 90", {"job.walltime": "1h30m"}),
        ("slurm", "--chdir=/work", {"environment.directory": "/work"}),
        ("slurm", "--exclusive", {"slurm.directives": ["--exclusive"]}),
        ("slurm", "--mail-type=END --qos=long", {"slurm.directives": ["--mail-type=END"], "slurm.qos": "long"}),
        ("slurm", "exclusive", {"slurm.directives": ["exclusive"]}),
    ],
)
def test_a_directive_is_the_option_that_it_sets_or_stays_one(
    take: Take, backend: str, line: str, values: dict[str, Any]
) -> None:
    taken = take(backend, f'queue: null\njob-extra-directives: ["{line}"]')
    assert {path: taken.values.get(path) for path in values} == values
    assert (taken.lost, taken.unused) == ({}, {})


@pytest.mark.parametrize(
    ("backend", "line", "told"),
    [
        ("pbs", "-N mine", "jobs are named by clusterhub"),
        ("pbs", "-o /logs", "logs are named by job"),
        ("pbs", "-j oe", "logs are named by job"),
        ("pbs", "-J 0-9", "as arrays by itself"),
        ("slurm", "--output=/logs/%j", "logs are named by job"),
        ("slurm", "-J mine", "jobs are named by clusterhub"),
        ("slurm", "--nodes=1", "one task on one node"),
    ],
)
def test_a_directive_that_would_break_what_clusterhub_finds_jobs_and_logs_by(
    take: Take, backend: str, line: str, told: str
) -> None:
    taken = take(backend, f"queue: q\njob-extra: ['{line}']")
    ((key, reason),) = taken.unused.items()
    assert told in reason
    assert f"{backend}.directives" not in taken.values
    assert line in key


def test_what_sbatch_would_refuse_beside_our_own_is_told(take: Take) -> None:
    taken = take("slurm", "{queue: q, job-extra-directives: ['--mem-per-cpu=4G --qos=long']}")
    assert taken.lost == {
        'job-extra-directives = "--mem-per-cpu=4G"': (
            "jobs ask for --mem here, which sbatch takes no other word for memory beside; say it as memory"
        )
    }
    assert taken.values["slurm.qos"] == "long"


def test_the_directive_counts_against_the_key_as_it_does_in_a_script(take: Take) -> None:
    taken = take("slurm", "{queue: a, walltime: '1:00:00', job-extra-directives: [-p b, '--time=2:00:00']}")
    assert (taken.values["slurm.partition"], taken.values["job.walltime"]) == ("b", "2h")


def test_several_chunks_come_along(take: Take) -> None:
    taken = take("pbs", "resource-spec: 'select=2:ncpus=4:mem=8gb+1:ncpus=1:host=fs,place=scatter'")
    assert taken.values["pbs.chunks"] == ["1:ncpus=4:mem=8gb", "1:ncpus=1:host=fs"]
    assert (taken.values["pbs.place"], taken.values["node.cores"]) == ("scatter", 4)


def test_nodes_in_the_plural_are_told(take: Take) -> None:
    assert "all workers of a job are on one node" in str(take("pbs", "resource-spec: 'nodes=2:ppn=24'").lost)


def test_what_pbs_and_slurm_are_told_is_what_is_submitted(take: Take) -> None:
    take(
        "pbs",
        "cores: 24\nmemory: 120GB\nprocesses: 6\nresource-spec: select=1:ncpus=24:mem=120GB:model=bro\nqueue: qdev",
    )
    resolved = resolve("pbs", {"workers": 6})
    script = resolved.backend.plan("eddies", resolved.spec, resolved.options).documents[0].text
    assert "#PBS -l select=1:ncpus=24:mem=115145mb:model=bro\n#PBS -l walltime=00:30:00\n" in script
    assert "--nworkers 6 --nthreads 4 --memory-limit 20000000000 " in script


# Prologues


def test_every_line_is_a_step_of_its_own(take: Take) -> None:
    taken = take("pbs", "job-script-prologue: [module purge, module load conda, '# a comment']")
    assert taken.values["environment.setup"] == ["module purge", "module load conda", "# a comment"]
    assert "a step that fails ends the job here" in taken.notes["environment.setup"]


@pytest.mark.parametrize(
    "lines",
    [
        ["if [ -f x ]; then", "  source x", "fi"],
        ["for m in a b; do", "module load $m", "done"],
        ["module load \\\\", "conda"],
        ["cat <<END", "text", "END"],
        ["setup() {", "true", "}", "setup"],
    ],
)
def test_a_construct_over_several_lines_stays_whole(take: Take, lines: list[str]) -> None:
    taken = take("pbs", "job-script-prologue:\n" + "".join(f'  - "{line}"\n' for line in lines))
    assert taken.values["environment.setup"] == ["\n".join(lines).replace("\\\\", "\\")]


def test_directives_at_the_head_of_a_prologue_are_directives(take: Take) -> None:
    taken = take("slurm", "env-extra: ['#SBATCH --qos=long', '#SBATCH --exclusive', module load x, '#SBATCH -p late']")
    assert (taken.values["slurm.qos"], taken.values["slurm.directives"]) == ("long", ["--exclusive"])
    assert taken.values["environment.setup"] == [LOGIN, "module load x", "#SBATCH -p late"]


def test_nothing_secret_is_told(take: Take) -> None:
    taken = take(
        "pbs", "env-extra: ['export API_TOKEN=hunter2']\nworker-extra: ['--token=hunter2']\njob-extra: ['-N pw']"
    )
    assert "hunter2" not in str((taken.unused, taken.lost, taken.notes))
    assert "hunter2" in str(taken.values["environment.setup"])


# What else says who pays


def test_pbs_takes_the_account_of_the_environment(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    take("pbs", "queue: q")
    monkeypatch.setenv("PBS_ACCOUNT", "from-environment")
    said = resolve("pbs", {})
    assert (said.options.account, said.origins["pbs.account"]) == ("from-environment", "$PBS_ACCOUNT")
    assert take("pbs", "account: mine").values["pbs.account"] == "mine"
