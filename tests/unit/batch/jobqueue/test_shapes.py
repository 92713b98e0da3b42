"""From per job to per worker: what `cores`, `memory` and `processes` of dask-jobqueue come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from distributed.deploy.utils import nprocesses_nthreads

from clusterhub import Bytes
from clusterhub.profile import resolve
from clusterhub_backends.batch.jobqueue.shape import processes_of
from clusterhub_backends.batch.script import shape_of

from .conftest import Take

SHAPE = ("worker.cores", "worker.threads", "worker.memory", "job.workers_per_job", "node.cores", "node.memory")


def shape(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(path) for path in SHAPE)


@pytest.mark.parametrize("backend", ["pbs", "slurm"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{cores: 24, memory: 120GB, processes: 6}", (4, None, "20 GB", 6, 24, "120 GB")),
        ("{cores: 24, memory: 120GB}", (4, None, "20 GB", 6, 24, "120 GB")),
        ("{cores: 1, memory: 10 GB}", (1, None, "10 GB", 1, 1, "10 GB")),
        ("{cores: 36, memory: 109 GiB, processes: 9}", (4, None, "12401 MiB", 9, 36, "109 GiB")),
        ("{cores: 16, memory: 64 G, processes: 16}", (1, None, "4 GB", 16, 16, "64 GB")),
        ("{cores: 16, memory: 64 Gi, processes: 16}", (1, None, "4 GiB", 16, 16, "64 GiB")),
        ("{cores: 8, memory: 16000000000, processes: 2}", (4, None, "8 GB", 2, 8, "16 GB")),
        ("{cores: 24.0, memory: 24e9 B, processes: 2}", (12, None, "12 GB", 2, 24, "24 GB")),
        ("{cores: 24, memory: 100GB, processes: 5}", (4, None, "20 GB", 5, 24, "100 GB")),
        ("{cores: 24}", (4, None, None, 6, None, None)),
        ("{memory: 100GB, processes: 5}", (None, None, "20 GB", 5, None, None)),
        ("{processes: 3}", (None, None, None, 3, None, None)),
        ("{cores: 128, memory: 20 GiB, processes: 128}", (1, None, "160 MiB", 128, None, None)),
    ],
)  # fmt: skip
def test_the_job_is_shared_among_its_processes(take: Take, backend: str, text: str, expected: tuple[Any, ...]) -> None:
    assert shape(take(backend, text).values) == expected


def test_the_arithmetic_is_told(take: Take) -> None:
    notes = take("pbs", "cores: 24\nmemory: 120GB\nprocesses: 6").notes
    assert notes["worker.memory"] == "120 GB for 6 processes: 20 GB each"
    assert notes["worker.cores"] == "24 cores for 6 processes: 4 each"
    assert notes["job.workers_per_job"] == "processes"


def test_what_does_not_divide_is_told(take: Take) -> None:
    notes = take("slurm", "cores: 25\nmemory: 100 GB\nprocesses: 6").notes
    assert notes["worker.cores"] == "25 cores for 6 processes: 4 each, 1 left over"
    assert notes["worker.memory"] == "100 GB for 6 processes: 16666 MB each, rounded down"


def test_processes_that_nobody_said_are_as_many_as_dask_jobqueue_makes(take: Take) -> None:
    assert take("pbs", "cores: 24\nmemory: 1 GB").notes["job.workers_per_job"] == (
        "not said: dask-jobqueue makes 6 processes of 24 cores"
    )
    assert [processes_of(n) for n in range(1, 300)] == [nprocesses_nthreads(n)[0] for n in range(1, 300)]


def test_a_job_that_filled_its_node_still_fits_on_it(take: Take) -> None:
    """What is around the workers has to find room in what the job asked for, or the job would wait for ever."""
    take("pbs", "cores: 36\nmemory: 109GB\nprocesses: 6")
    spec = resolve("pbs", {}).spec
    wanted = shape_of(spec)
    assert (wanted.cores, wanted.memory) == (36, Bytes("109 GB"))
    assert wanted.memory_limit * 6 < wanted.memory


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("cores: many", "cores", "must be a whole number"),
        ("cores: 0", "cores", "must be a whole number"),
        ("cores: true", "cores", "must be a whole number"),
        ("cores: 2.5", "cores", "must be a whole number"),
        ("cores: [4]", "cores", "must be a whole number"),
        ("{cores: 4, processes: -1}", "processes", "must be a whole number"),
        ("{cores: 4, processes: 8}", "processes", "8 workers cannot share 4 cores"),
        ("{cores: 4, memory: 16}", "memory", "Dask reads 16 B, which no job can live on; write 16GB"),
        ("{cores: 4, memory: '16'}", "memory", "write 16GB"),
        ("{cores: 4, memory: lots}", "memory", "is no amount of memory; write a number and its unit, as 120GB"),
        ("{cores: 4, memory: true}", "memory", "is no amount of memory"),
        ("{cores: 4, memory: 5000 PB}", "memory", "is more memory than any machine has"),
        ("memory: 120GB", "memory", "neither cores nor processes say how many workers share it; say jobqueue.pbs.processes"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_names_its_key(refuse: Callable[..., Any], text: str, key: str, words: str) -> None:
    (problem,) = refuse("pbs", text)
    assert problem.path == f"jobqueue.pbs.{key}"
    assert problem.origin == "~/.config/dask/jobqueue.yaml:3"
    assert words in problem.message


def test_all_that_cannot_be_meant_is_told_at_once(refuse: Callable[..., Any]) -> None:
    problems = refuse("pbs", "cores: 0\nmemory: lots\nwalltime: 2 hours\nqueue: [a]")
    assert sorted(problem.path.rpartition(".")[2] for problem in problems) == ["cores", "memory", "queue", "walltime"]


# What SLURM books apart


def test_what_is_booked_apart_counts_for_the_job(take: Take) -> None:
    taken = take("slurm", "{cores: 48, memory: 96GB, processes: 6, job-cpu: 24, job-mem: 100G}")
    assert shape(taken.values) == (4, 8, "16 GB", 6, 24, "100 GiB")
    assert taken.notes["worker.threads"] == "cores: 48 for 6 processes: 8 each"


def test_a_job_that_asks_for_less_than_its_workers_want_makes_them_smaller(take: Take) -> None:
    taken = take("slurm", "{cores: 4, memory: 128GB, processes: 4, job-cpu: 128, job-mem: 64GB}")
    assert shape(taken.values) == (32, 1, "16 GiB", 4, 128, "64 GiB")
    assert (
        taken.notes["worker.memory"] == "64 GiB for 4 processes: 16 GiB each; memory says 128 GB, the job asks for less"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("job-extra-directives: ['--mem=64G', '-c 32']", (8, 2, "16 GB", 4, 32, "64 GiB")),
        ("job-extra-directives: ['--mem=0', '--exclusive']", (2, None, "16 GB", 4, 8, "64 GB")),
        ("job-extra-directives: ['--cpus-per-task=8']", (2, None, "16 GB", 4, 8, "64 GB")),
    ],
)
def test_directives_can_tell_the_shape_as_well(take: Take, text: str, expected: tuple[Any, ...]) -> None:
    assert shape(take("slurm", f"cores: 8\nmemory: 64GB\nprocesses: 4\n{text}").values) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("job-cpu: few", "must be a whole number"),
        ("job-mem: 5X", "no amount of memory that SLURM can mean"),
        ("job-mem: 100", "100 MiB"),
        ("job-mem: 0", "no amount of memory that SLURM can mean"),
        ("job-mem: true", "must be a text"),
    ],
)
def test_what_is_booked_must_be_meant(refuse: Callable[..., Any], take: Take, text: str, words: str) -> None:
    if words.endswith("MiB"):  # SLURM counts in MiB where no unit is given
        assert take("slurm", f"cores: 1\nmemory: 1GB\n{text}").values["worker.memory"] == words
    else:
        assert words in refuse("slurm", f"cores: 1\n{text}")[0].message


# What PBS's resource lists book


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("select=1:ncpus=36:mem=109GB", (9, None, "27 GB", 4, 36, "109 GiB")),
        ("select=1:ncpus=36:mem=109G", (9, None, "27 GB", 4, 36, "109 GiB")),
        ("ncpus=36,mem=109gb", (9, None, "27 GB", 4, 36, "109 GiB")),
        ("select=1:ncpus=36", (9, None, "27 GB", 4, 36, "108 GB")),
        ("select=ncpus=72:mem=110000000kb", (18, 9, "27 GB", 4, 72, "110000000 KiB")),
        ("select=1:ncpus=36:mem=64gb", (9, None, "16 GiB", 4, 36, "64 GiB")),
        ("nodes=1:ppn=36", (9, None, "27 GB", 4, 36, "108 GB")),
    ],
)
def test_a_resource_list_is_read_as_pbs_reads_it(take: Take, spec: str, expected: tuple[Any, ...]) -> None:
    taken = take("pbs", f"cores: 36\nmemory: 108GB\nprocesses: 4\nresource-spec: {spec}")
    found = shape(taken.values)
    assert (*found[:5], Bytes(found[5])) == (*expected[:5], Bytes(expected[5]))


def test_a_shape_that_only_the_resource_list_says_is_taken(take: Take) -> None:
    assert shape(take("pbs", "resource-spec: 'select=1:ncpus=4:mem=16gb'").values) == (1, None, "4 GiB", 4, 4, "16 GiB")


@pytest.mark.parametrize(
    "spec",
    [
        "select=0:ncpus=1",
        "select=",
        "select=1:ncpus",
        "select=1:ncpus=few",
        "select=1:mem=5zb",
        "select=1:mem=0",
        "mem=1",
    ],
)
def test_a_resource_list_that_pbs_would_refuse_is_refused(refuse: Callable[..., Any], spec: str) -> None:
    (problem,) = refuse("pbs", f"cores: 1\nmemory: 1GB\nresource-spec: '{spec}'")
    assert problem.path == "jobqueue.pbs.resource-spec"
    assert (problem.written or "").strip('"') == spec
