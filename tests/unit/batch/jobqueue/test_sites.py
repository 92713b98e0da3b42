"""Configs in the shapes in which sites publish theirs: each becomes a profile that resolves and plans."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from clusterhub.profile import resolve

from .conftest import BACKENDS, Taken

# A whole node of a PBS machine, the settings of Dask itself beside it, an old name for the account.
WHOLE_NODE = """
    distributed:
      scheduler: {bandwidth: 1000000000}
      worker:
        memory: {target: 0.90, spill: false, pause: 0.80, terminate: 0.95}
      comm: {compression: null}
    jobqueue:
      pbs:
        cores: 36
        processes: 4
        memory: 108GB
        interface: ib0
        local-directory: $TMPDIR
        queue: regular
        project: null  # fill me in
        walltime: '00:30:00'
        resource-spec: select=1:ncpus=36:mem=109G
"""
# One core at a time, with the whole file that dask-jobqueue leaves in a home, filled in.
ONE_CORE = """
    jobqueue:
      pbs:
        name: analysis-worker
        cores: 1
        memory: '10GiB'
        processes: 1
        python: null
        interface: ext
        death-timeout: 60
        local-directory: /local_scratch/pbs.$PBS_JOBID/dask/spill
        shared-temp-directory: null
        extra: null
        worker-command: "distributed.cli.dask_worker"
        worker-extra-args: []
        shebang: "#!/usr/bin/env bash"
        queue: casual
        account: null
        walltime: '06:00:00'
        env-extra: null
        job-script-prologue: []
        resource-spec: select=1:ncpus=1:mem=10GB
        job-extra: null
        job-extra-directives: ['-j oe']
        job-directives-skip: []
        log-directory: ~/.cache/dask-logs
        scheduler-options: {dashboard_address: ':0'}
"""
# Every core a process, no mail, two days.
PROCESS_PER_CORE = """
    jobqueue:
      pbs:
        name: dask-worker
        cores: 28
        processes: 28
        memory: 120GB
        interface: ib0
        local-directory: $TMPDIR
        queue: mpi_1
        project: myproj
        walltime: '48:00:00'
        resource-spec: select=1:ncpus=28:mem=120GB
        job-extra: ['-m n']
"""
# The example of the docs, with another shell.
ANOTHER_SHELL = """
    jobqueue:
      pbs:
        cores: 24
        memory: 100GB
        processes: 6
        shebang: "#!/usr/bin/env zsh"
        interface: ib0
        local-directory: $TMPDIR
        resource-spec: "select=1:ncpus=24:mem=100GB"
        queue: regular
        project: my-project
        walltime: 00:30:00
"""
# SLURM with node types by constraint and a quality of service in place of a partition; two threads a core.
BY_CONSTRAINT = """
    jobqueue:
      slurm:
        cores: 64
        memory: 115GB
        processes: 4
        queue: debug
        walltime: '00:30:00'
        job-extra: ['-C haswell', '--qos=debug', '-L SCRATCH']
"""
# Memory and cores of a worker where those of a job belong, put right by what is booked; keys that nobody reads.
BOOKED_APART = """
    jobqueue:
      slurm:
        name: cmor-worker
        queue: compute
        account: ab1234
        cores: 4
        memory: 128GB
        walltime: '00:30:00'
        interface: ib0
        job-extra-directives: ['--exclusive', '--nodes=1']
        worker-extra: ["--nthreads", 4, "--lifetime", "25m"]
        job-cpu: 128
        job-mem: 256GB
        processes: 4
"""
# Hardly anything, the rest by keywords in a notebook; a section of another package in the wrong place.
HARDLY_ANYTHING = """
    jobqueue:
      slurm:
        name: dask-worker
        interface: ib0
        queue: general
        account: someone
        scheduler-options: {}
        distributed:
          dashboard: {link: "/proxy/{port}/status"}
"""
# A GPU for each job, announced to Dask as a resource.
GPUS = """
    jobqueue:
      slurm:
        cores: 10
        processes: 1
        memory: 40GB
        queue: gpu
        walltime: '04:00:00'
        job-extra-directives: ['--gres=gpu:1']
        worker-extra-args: ['--resources', 'GPU=1', '--lifetime', '230m', '--lifetime-stagger', '5m']
        job-script-prologue: ['module load cuda', 'export OMP_NUM_THREADS=1']
        log-directory: worker-logs
"""

SITES: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "whole-node": (
        "pbs", WHOLE_NODE,
        {"worker.cores": 9, "worker.memory": "27 GB", "job.workers_per_job": 4, "node.memory": "109 GiB",
         "pbs.queue": "regular", "pbs.account": None, "network.interface": "ib0", "storage.scratch": "$TMPDIR"},
        (),
    ),
    "one-core": (
        "pbs", ONE_CORE,
        {"worker.cores": 1, "worker.memory": "10 GiB", "node.memory": "10 GiB", "job.walltime": "6h",
         "storage.scratch": "/local_scratch/pbs.$PBS_JOBID/dask/spill", "storage.logs": "~/.cache/dask-logs"},
        ("name", "job-extra-directives", "scheduler-options.dashboard_address"),
    ),
    "process-per-core": (
        "pbs", PROCESS_PER_CORE,
        {"worker.cores": 1, "worker.memory": "4285 MB", "job.workers_per_job": 28, "job.walltime": "2d",
         "pbs.account": "myproj", "pbs.directives": ["-m n"]},
        (),
    ),
    "another-shell": ("pbs", ANOTHER_SHELL, {"worker.cores": 4, "job.walltime": "30m"}, ("shebang",)),
    "by-constraint": (
        "slurm", BY_CONSTRAINT,
        {"worker.cores": 16, "worker.memory": "28750 MB", "slurm.constraint": "haswell", "slurm.qos": "debug",
         "slurm.partition": "debug", "slurm.directives": ["-L SCRATCH"]},
        (),
    ),
    "booked-apart": (
        "slurm", BOOKED_APART,
        {"worker.cores": 32, "worker.threads": 1, "worker.memory": "32 GB", "node.cores": 128, "node.memory": "256 GiB",
         "slurm.directives": ["--exclusive"]},
        ("job-extra-directives", "name", "worker-extra"),
    ),
    "hardly-anything": (
        "slurm", HARDLY_ANYTHING,
        {"slurm.partition": "general", "slurm.account": "someone", "job.walltime": "30m", "worker.cores": None},
        ("distributed",),
    ),
    "gpus": (
        "slurm", GPUS,
        {"worker.cores": 10, "slurm.gres": "gpu:1", "storage.logs": "worker-logs",
         "environment.variables.DASK_DISTRIBUTED__WORKER__RESOURCES": '{"GPU": 1}'},
        ("worker-extra-args", "worker-extra-args"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("site", SITES)
def test_a_site_s_config_is_taken_as_a_layer(dask_files: Any, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)
    backend, text, values, unused = SITES[site]
    dask_files.write(text)
    taken = Taken(BACKENDS[backend]().from_jobqueue(backend))
    assert {path: taken.values.get(path) for path in values} == values
    assert taken.lost == {}
    resolved = resolve(backend, {"workers": 8})
    assert sorted(problem.path.split(".", 2)[2] for problem in resolved.unused) == sorted(unused)
    plan = resolved.backend.plan("eddies", resolved.spec, resolved.options)
    assert plan.documents[0].text.startswith("#!/usr/bin/env bash\n")


def test_several_sections_of_a_site_stand_beside_one_another(dask_files: Any) -> None:
    sections = textwrap.dedent("""
        jobqueue:
          site_short: {cores: 2, memory: 2GB, queue: short, job-cpu: null, walltime: '00:30:00'}
          site_long: {cores: 2, memory: 30GB, queue: long, job-cpu: null, walltime: '10-00:00:00'}
    """)
    dask_files.write(sections)
    backend = BACKENDS["slurm"]()
    found = {name: Taken(backend.from_jobqueue(name)).values for name in ("site_short", "site_long")}
    assert {name: (v["slurm.partition"], v["worker.memory"], v["job.walltime"]) for name, v in found.items()} == {
        "site_short": ("short", "1 GB", "30m"),
        "site_long": ("long", "15 GB", "10d"),
    }
