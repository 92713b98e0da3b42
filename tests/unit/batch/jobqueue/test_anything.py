"""Whatever the Dask config holds: a profile that resolves, or an error that names the key."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterhub.errors import ConfigError, Problem
from clusterhub.profile import resolve
from clusterhub.profile.converting import Converted
from clusterhub.profile.yaml12 import lines, read_yaml
from clusterhub_backends.batch.jobqueue.conversion import LOGIN
from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.slurm import SlurmBackend

# 3000 and more examples of each were run when this was written; these keep watch.
watch = settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "60")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
backends = st.sampled_from([PbsBackend(), SlurmBackend()])

NAMES = """
    name cores memory processes python interface death-timeout local-directory shared-temp-directory extra worker-command
    worker-extra-args shebang queue account project walltime env-extra job-script-prologue resource-spec job-extra
    job-extra-directives job-directives-skip header-skip log-directory scheduler-options job-cpu job-mem worker_extra_args
    job_extra nonsense
"""
KEYS = st.sampled_from(NAMES.split())
WORDS = (
    """
    0|1|4|24|-1|1e3|16|8GB|8 GiB|120 GB|100G|5 PB|12:00:00|1-12|90|UNLIMITED|30m|ib0|$TMPDIR|${A:-b}|~/x|$(x)|/usr/bin/env
    |#!/bin/bash -l|#!/bin/tcsh|#!|select=1:ncpus=4:mem=8gb|select=2:ncpus=4+1:ncpus=1|select=1:x.y=2|select=|nodes=1:ppn=4
    |place=excl|ncpus=|mem=0|-l select=1:ncpus=3|-l walltime=5|-q long|-A|-j oe|-W group_list=x|--qos=long|--mem=4G|--mem=0
    |-c 4|-t 5|--time|--nodes=1|-C 'a b|--chdir=/x|--lifetime|55m|--resources GPU=1|--preload x|--memory-limit 2GB|--nthreads
    |-p a -q b|#SBATCH -p x|#PBS -q y|if true; then|\\|module load x|a\nb|\0|export TOKEN=x|--gres=gpu:1|--x='
""".replace("\n    ", "")
    .strip()
    .split("|")
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(0, 64), st.floats(), st.text(max_size=12), st.sampled_from(WORDS)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["port", "interface", "protocol", "idle-timeout", "dashboard_address"]), SCALARS),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


LINES = st.lists(st.sampled_from(WORDS), max_size=4)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "cores": st.integers(1, 256),
        "memory": st.one_of(
            st.builds("{}{}".format, st.integers(1, 2000), st.sampled_from(["GB", " GiB", "G", "MB"])),
            st.integers(1, 2**45),
        ),
        "processes": st.one_of(st.none(), st.integers(1, 64)),
        "queue": st.from_regex(r"[a-z@_0-9-]{1,12}", fullmatch=True),
        "account": st.one_of(st.none(), st.integers(), st.text("abc _'\"$", min_size=1, max_size=6)),
        "walltime": st.builds("{}:{:02}:{:02}".format, st.integers(0, 200), st.integers(0, 59), st.integers(0, 59)),
        "interface": st.sampled_from([None, "ib0"]),
        "local-directory": st.sampled_from(["$TMPDIR", "${SCRATCH}/a b", "~/x"]),
        "python": st.sampled_from([None, "/opt/python", "$CONDA_PREFIX/bin/python"]),
        "job-extra-directives": LINES,
        "env-extra": st.one_of(st.none(), LINES),
        "shebang": st.sampled_from(["#!/bin/bash", "#!/bin/bash -l", "#!/usr/bin/env -S bash --login", "#!/bin/zsh"]),
        "extra": st.sampled_from(
            [[], ["--lifetime", "1h"], ["--resources", "A=1"], ["--nthreads=2"], ["--preload", "a"]]
        ),
        "resource-spec": st.sampled_from(
            ["select=1:ncpus=4:mem=8gb", "select=2:ncpus=4:model=bro", "select=1:ngpus=1,place=excl", "ncpus=3,mem=9gb"]
        ),
        "job-cpu": st.one_of(st.none(), st.integers(1, 64)),
        "job-mem": st.sampled_from([None, "4G", "900M", 5000]),
        "death-timeout": st.integers(),
        "name": st.text(max_size=5),
        "whatever": VALUES,
    },
)


@contextmanager
def dask_config(section: Any, name: str) -> Iterator[None]:
    from dask import config

    before = config.config.get("jobqueue", ...)
    config.config["jobqueue"] = {name: section}
    try:
        yield
    finally:
        del config.config["jobqueue"]
        if before is not ...:
            config.config["jobqueue"] = before


def taken(backend: Any) -> tuple[Any, tuple[Problem, ...]]:
    try:
        return backend.dask_config(), ()
    except ConfigError as error:
        return None, error.problems


def check(backend: Any, section: Any) -> None:
    with dask_config(section, backend.name):
        said, problems = taken(backend)
        assert all(problem.path.startswith(f"jobqueue.{backend.name}") for problem in problems), problems
        if said is None:
            assert problems
            return
        resolved = resolve(backend.name, {})
        assert bool(said) or not any("jobqueue" in origin for origin in resolved.origins.values())
        converted = Converted(backend.name, backend.name, "", backend.from_jobqueue(backend.name))
        assert "\n#" not in converted.as_yaml(), "a comment is one line"
        tree = read_yaml(f"profiles:\n{converted.as_yaml()}", lines("f")).plain()["profiles"][backend.name]
    # What is written stands for the same without the Dask config.
    again = resolve(backend.name, {key: value for key, value in tree.items() if key not in ("backend", "workers")})
    assert again.spec == resolved.spec
    assert again.options == resolved.options


@watch
@given(backend=backends, section=st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_section(backend: Any, section: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)
    check(backend, section)


@watch
@given(backend=backends, section=PLAUSIBLE)
def test_any_plausible_section(backend: Any, section: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)
    check(backend, section)


@watch
@given(backend=backends, section=st.one_of(VALUES, st.dictionaries(SCALARS, VALUES, max_size=3)))
def test_anything_in_place_of_a_section(backend: Any, section: Any) -> None:
    check(backend, section)


@watch
@given(
    backend=backends,
    cores=st.integers(1, 512),
    processes=st.one_of(st.none(), st.integers(1, 512)),
    gigabytes=st.integers(1, 4000),
    unit=st.sampled_from(["GB", "GiB", " G", "Gi"]),
)
def test_no_core_and_no_byte_is_made_up(
    backend: Any, cores: int, processes: int | None, gigabytes: int, unit: str
) -> None:
    section = {"cores": cores, "memory": f"{gigabytes}{unit}", "processes": processes}
    whole = gigabytes * (2**30 if "i" in unit else 10**9)
    with dask_config(section, backend.name):
        if processes is not None and processes > cores:
            with pytest.raises(ConfigError, match="cannot share"):
                backend.dask_config()
            return
        spec = resolve(backend.name, {}).spec
    count = spec.packing.workers_per_job
    assert count == (processes or count)
    assert spec.worker.cores == cores // count
    assert 0 <= whole - spec.worker.memory * count < max(2**20, 10**6) * count
    assert spec.node is None or (spec.node.cores, int(spec.node.memory)) == (cores, whole)
    assert math.isclose(float(spec.job.walltime or 0), 1800)


@watch
@given(text=st.lists(st.text(alphabet="abc $'\"\\;|&(){}#\n-=", max_size=12), max_size=4))
def test_any_prologue_keeps_its_lines_and_their_order(text: list[str]) -> None:
    with dask_config({"job-script-prologue": text, "queue": "q"}, "slurm"):
        setup = resolve("slurm", {}).spec.environment.setup
    kept = [line for step in setup for line in step.splitlines() if line != LOGIN]
    wanted = [line.rstrip() for item in text for line in item.splitlines() if line.strip()]
    while wanted and wanted[0].startswith("#"):
        wanted.pop(0)
    assert kept == wanted
