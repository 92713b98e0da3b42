"""Words of other tools, and right words in the wrong place, are translated."""

from __future__ import annotations

from typing import Any

import pytest

from clusterhub.errors import ConfigError
from clusterhub.profile import foreign_argument, resolve


@pytest.mark.parametrize(
    ("overrides", "word", "told"),
    [
        ({"queue": "big"}, "queue", "belongs to the backend's options: pbs={'queue': 'big'}"),
        ({"project": "ocean"}, "project", "is called account by backend pbs: pbs={'account': 'ocean'}"),
        ({"account": "ocean"}, "account", "belongs to the backend's options: pbs={'account': 'ocean'}"),
        ({"memory": "8 GiB"}, "memory", "memory is the shape of one worker: worker={'memory': '8 GiB'}"),
        ({"cores": 4}, "cores", "cores is the shape of one worker: worker={'cores': 4}"),
        ({"walltime": "2h"}, "walltime", "walltime is a matter of one job: job={'walltime': '2h'}"),
        ({"interface": "ib0"}, "interface", "network={'interface': 'ib0'}"),
        ({"python": "/p"}, "python", "environment={'python': '/p'}"),
        ({"minimum": 3}, "minimum", "workers={'minimum': 3}"),
        ({"n_workers": 4}, "n_workers", "is called workers here: workers=4"),
        ({"threads_per_worker": 2}, "threads_per_worker", "is called worker.threads here: worker={'threads': 2}"),
        ({"nthreads": 2}, "nthreads", "worker={'threads': 2}"),
        ({"memory_limit": "4GB"}, "memory_limit", "worker={'memory': '4GB'}"),
        ({"processes": 6}, "processes", "is called job.workers_per_job here: job={'workers_per_job': 6}"),
        ({"local_directory": "/t"}, "local_directory", "storage={'scratch': '/t'}"),
        ({"log_directory": "/t"}, "log_directory", "storage={'logs': '/t'}"),
        ({"env_extra": ["a"]}, "env_extra", "environment={'setup': ['a']}"),
        ({"job-extra": ["-m n"]}, "job-extra", "is called directives by backend pbs: pbs={'directives': ['-m n']}"),
        ({"pbs": {"partition": "big"}}, "pbs.partition", "is called queue by backend pbs: pbs={'queue': 'big'}"),
        ({"pbs": {"job_extra_directives": ["-V"]}}, "pbs.job_extra_directives", "pbs={'directives': ['-V']}"),
        ({"resource_spec": "select=1"}, "resource_spec", "cores and memory of a job follow from its workers"),
        ({"job_cpu": 4}, "job_cpu", "follows from worker.cores"),
        ({"job_mem": "4G"}, "job_mem", "follows from worker.memory"),
        ({"job_directives_skip": ["--mem"]}, "job_directives_skip", "no directive is left out"),
        ({"header_skip": ["--mem"]}, "header_skip", "no directive is left out"),
        ({"shebang": "#!/bin/bash"}, "shebang", "jobs run bash; leave it out"),
        ({"nanny": False}, "nanny", "have a nanny"),
        ({"worker_command": "x"}, "worker_command", "plain Dask workers"),
        ({"config_name": "hal"}, "config_name", "clusterhub init --from-jobqueue NAME"),
        ({"job_name": "x"}, "job_name", "connect(..., name=...)"),
        ({"shared_temp_directory": "/s"}, "shared_temp_directory", "leave it out"),
        ({"dashboard_address": ":8787"}, "dashboard_address", "cluster.dashboard_link"),
        ({"scheduler_options": {"port": 1}}, "scheduler_options", "stands under network"),
        ({"worker_extra_args": ["--x"]}, "worker_extra_args", "say what workers are started with"),
        ({"job_script_prologue": "a"}, "job_script_prologue", "environment={'setup': 'a'}"),
        ({"death_timeout": 60}, "death_timeout", "leave it out"),
        ({"asynchronous": True}, "asynchronous", "clusterhub.aio.connect"),
        ({"maximum_jobs": 3}, "maximum_jobs", "workers are counted here, not jobs"),
        ({"jobs": 3, "job": {"workers_per_job": 6}}, "jobs", "workers=18 (3 jobs of 6 workers)"),
        ({"worker.memory": "8GiB"}, "worker.memory", "write it as a table: worker={'memory': '8GiB'}"),
        ({"image": "x"}, "image", "is an option of backend cloud; this profile uses pbs"),
        ({"quuee": "x"}, "quuee", "did you mean pbs={'queue': 'x'}?"),
        ({"worker": {"nthreads": 3}}, "worker.nthreads", "worker={'threads': 3}"),
        ({"worker": {"walltime": "3h"}}, "worker.walltime", "job={'walltime': '3h'}"),
        ({"limits": {"worker": 3}}, "limits.worker", "did you mean workers?"),
        ({"pbs": {"memory": "3GB"}}, "pbs.memory", "worker={'memory': '3GB'}"),
        ({"worker": {"queue": "q"}}, "worker.queue", "pbs={'queue': 'q'}"),
        ({"workers": {"cores": 4}}, "workers.cores", "worker={'cores': 4}"),
    ],
)  # fmt: skip
def test_a_foreign_word_in_a_call(machine: Any, overrides: dict[str, Any], word: str, told: str) -> None:
    problem = machine.problem("pbs", **overrides)
    assert (problem.origin, problem.path) == ("call", word)
    assert told in problem.message, problem.message


@pytest.mark.parametrize(
    ("memory", "processes", "told"),
    [
        ("120GB", 6, "worker={'memory': '20 GB'} (120 GB / 6)"),
        ("120 GiB", 6, "worker={'memory': '20 GiB'} (120 GiB / 6)"),
        ("16 GiB", 3, "worker={'memory': '5461 MiB'} (16 GiB / 3, rounded down)"),
        ("100GB", 8, "worker={'memory': '12500 MB'} (100 GB / 8)"),
        (120, 6, "divide it by processes"),
        ("lots", 6, "divide it by processes"),
    ],
)
def test_the_memory_of_a_job_is_divided_among_its_workers(machine: Any, memory: Any, processes: int, told: str) -> None:
    error = machine.refused("pbs", memory=memory, processes=processes)
    (problem,) = [problem for problem in error.problems if problem.path == "memory"]
    assert problem.message.startswith("dask-jobqueue's memory is per job; here it is per worker: ")
    assert problem.message.endswith(told) or told in problem.message


@pytest.mark.parametrize(
    ("cores", "told"), [(24, "worker={'cores': 4} (24 / 6)"), (25, "rounded down"), ("x", "divide")]
)
def test_the_cores_of_a_job_are_divided_among_its_workers(machine: Any, cores: Any, told: str) -> None:
    error = machine.refused("pbs", cores=cores, processes=6)
    assert any(told in problem.message for problem in error.problems if problem.path == "cores")


def test_a_number_of_processes_is_not_taken_for_the_switch_of_that_name(machine: Any) -> None:
    assert machine.problem("local", processes=False).message.endswith("local={'processes': False}")
    assert "job={'workers_per_job': 6}" in machine.problem("local", processes=6).message


def test_the_advice_has_the_form_of_the_place_it_is_for(machine: Any) -> None:
    machine.user("profiles: {p: {backend: pbs, queue: big}}")
    assert "pbs: {queue: big}" in machine.problem("p").message
    with pytest.raises(ValueError, match=r"--set pbs\.queue=big"):
        resolve("pbs", {"queue": "big"}, origin="--set")


@pytest.mark.parametrize(
    ("word", "value", "told"),
    [
        ("jobs", 3, "scale(n), with n = 3 × the workers of one job"),
        ("minimum_jobs", 1, "adapt(minimum=n), with n = 1 × the workers of one job"),
        ("maximum_jobs", 1, "adapt(maximum=n)"),
        ("cores", 8, "n = 8 / worker.cores"),
        ("memory", "8GB", "n = '8GB' / worker.memory"),
        ("interval", "1s", "leave it out"),
        ("whatever", object(), "scale takes n, adapt takes minimum and maximum"),
        pytest.param("n_workers", 10**5000, "scale(...)", id="huge"),
    ],
)
def test_an_argument_of_other_clusters(word: str, value: Any, told: str) -> None:
    assert told in foreign_argument(word, value)


def test_cores_and_memory_together_are_those_of_a_job(machine: Any) -> None:
    told = {problem.path: problem.message for problem in machine.refused("pbs", cores=24, memory="120GB").problems}
    assert told["memory"].endswith("per worker: worker={'memory': '120GB'} makes it one worker in each job")
    assert told["cores"].endswith("per worker: worker={'cores': 24} makes it one worker in each job")


@pytest.mark.parametrize(
    ("backend", "word", "told"),
    [
        ("pbs", "project", "pbs={'project': 'x'}; what dask-jobqueue calls project is pbs={'account': 'x'}"),
        ("slurm", "project", "is called account by backend slurm: slurm={'account': 'x'}"),
        ("slurm", "queue", "is called partition by backend slurm: slurm={'partition': 'x'}"),
        ("slurm", "job_extra_directives", "is called directives by backend slurm: slurm={'directives': 'x'}"),
        ("pbs", "partition", "is called queue by backend pbs: pbs={'queue': 'x'}"),
        ("pbs", "resource_spec", "what else it asks for goes into pbs={'resources': {'model': 'bro'}}"),
        ("slurm", "resource_spec", "follow from its workers; leave it out"),
    ],
)
def test_the_real_batch_backends_name_their_own_option(backend: str, word: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(backend, {word: "x"})
    (problem,) = caught.value.problems
    assert (problem.path, told in problem.message) == (word, True), problem.message


def test_advice_for_a_call_is_python(machine: Any) -> None:
    told = machine.problem("pbs", env_extra=["module load x"]).message
    assert told.endswith("environment={'setup': ['module load x']}")
    assert "hunter2" not in machine.problem("pbs", env={"API_TOKEN": "hunter2"}).message
