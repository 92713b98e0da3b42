"""For which batch system a section of a name of its own is."""

from __future__ import annotations

from typing import Any

import pytest

from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.slurm import SlurmBackend


@pytest.mark.parametrize(
    ("name", "text", "system"),
    [
        ("pbs", "queue: q", "pbs"),
        ("slurm", "queue: q", "slurm"),
        ("sge", "queue: q", "sge"),
        ("moab", "resource-spec: select=1", "moab"),
        ("hal", "queue: q", None),
        ("hal", "{queue: q, job-cpu: null}", "slurm"),
        ("hal", "{queue: q, job_mem: null}", "slurm"),
        ("hal", "resource-spec: 'select=1:ncpus=4'", "pbs"),
        ("hal", "resource_spec: 'nodes=1:ppn=4'", "pbs"),
        ("hal", "resource-spec: h_vmem=4G", None),
        ("hal", "resource-spec: null", None),
        ("hal", "job-extra: [--exclusive]", "slurm"),
        ("hal", "job_extra_directives: ['-W group_list=x']", "pbs"),
        ("hal", "job-extra-directives: ['-l place=excl']", "pbs"),
        ("hal", "job-extra: ['-l h_vmem=4G', -V]", None),
        ("hal", "job-extra: {universe: docker}", None),
        ("hal", "{queue: q, lsf-units: null}", "lsf"),
        ("hal", "{cores: 1, disk: 4GB}", "htcondor"),
        ("nesh-PBS", "queue: q", "pbs"),
        ("my_slurm_site", "queue: q", "slurm"),
        ("slurm-from-pbs", "queue: q", None),
        ("localhost", "queue: q", None),
    ],
)
def test_a_section_tells_its_system(dask_files: Any, name: str, text: str, system: str | None) -> None:
    dask_files.write(f"jobqueue:\n  {name}:\n    {text}\n")
    claims = {backend.name: backend.claims(name) for backend in (PbsBackend(), SlurmBackend())}
    assert claims == {name: None if system is None else name == system for name in ("pbs", "slurm")}
