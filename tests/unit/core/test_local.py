"""The local backend: what it takes of this machine, what it refuses, and what it hands to LocalCluster."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.system
import distributed.system
import pytest

import clusterhub
from clusterhub.backend import refuse_unsupported
from clusterhub.errors import BackendUnavailable, ConfigError, Unsupported, WorkersFailed
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec
from clusterhub_backends import local
from clusterhub_backends._local_gpus import GpuCluster
from clusterhub_backends.local import LocalBackend, LocalOptions

GIB = 2**30
SMALL = {"cores": 1, "memory": "512 MiB"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make this machine one of so many cores, so much memory, and an environment."""

    def make(cores: int = 16, memory: int = 64 * GIB, **environment: str) -> None:
        monkeypatch.setattr(dask.system, "CPU_COUNT", cores)
        monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", memory)
        for name in ("SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_NODE", "NCPUS", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    make()
    return make


def resolved(**said: Any) -> tuple[ClusterSpec, LocalOptions]:
    """The spec and options of a bare ``connect("local", ...)``."""
    from clusterhub.profile import resolve

    found = resolve("local", said)
    assert isinstance(found.options, LocalOptions)
    return found.spec, found.options


def refusals(**said: Any) -> Mapping[str, str]:
    spec, options = resolved(**said)
    try:
        refuse_unsupported(LocalBackend(), spec, options)
    except Unsupported as refused:
        return refused.refusals
    return {}


# What it takes of the machine


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({}, 16),
        ({"SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "64"}, 16),
        ({"NCPUS": "2"}, 2),
        ({"SLURM_CPUS_ON_NODE": "many"}, 16),
        ({"SLURM_CPUS_ON_NODE": "0"}, 16),
        ({"SLURM_CPUS_ON_NODE": ""}, 16),
    ],
)
def test_cores_are_those_of_affinity_and_allocation(machine, environment, cores):
    machine(**environment)
    assert local.cores_here() == cores


@pytest.mark.parametrize(
    ("environment", "memory"),
    [
        ({}, 64),
        ({"SLURM_MEM_PER_NODE": "8192"}, 8),
        ({"SLURM_MEM_PER_NODE": "0"}, 64),
        ({"SLURM_MEM_PER_NODE": "x"}, 64),
    ],
)
def test_memory_is_that_of_the_allocation(machine, environment, memory):
    machine(**environment)
    assert local.memory_here() == memory * GIB


def test_a_bare_cluster_takes_the_whole_machine_and_no_more(machine):
    machine(cores=16, memory=64 * GIB)
    spec, _ = resolved()
    assert spec.workers.minimum * spec.worker.nthreads == 16
    assert 0.99 * 64 * GIB <= spec.workers.minimum * spec.worker.memory <= 64 * GIB


def test_a_bare_cluster_keeps_its_number(machine):
    spec, _ = resolved()
    assert not spec.workers.adapts


def test_a_local_cluster_lives_as_long_as_its_process(machine):
    spec, _ = resolved()
    assert (spec.lifecycle.idle_timeout, spec.lifecycle.max_age) == ("never", "never")


def test_workers_share_the_cores(machine):
    spec, _ = resolved(workers=4)
    assert (spec.worker.cores, spec.worker.memory) == (4, 16 * GIB)


def test_workers_of_a_given_size_are_as_many_as_there_are_cores_for(machine):
    spec, _ = resolved(worker={"cores": 4})
    assert spec.workers.minimum == 4


def test_workers_of_a_given_memory_are_no_more_than_fit(machine):
    spec, _ = resolved(worker={"cores": 1, "memory": "20 GiB"})
    assert spec.workers.minimum == 3


def test_a_range_shares_the_memory_among_its_most(machine):
    spec, _ = resolved(workers={"minimum": 2})
    assert (spec.workers.maximum, spec.worker.memory * 10 <= 64 * GIB) == (10, True)


def test_threads_are_one_worker(machine):
    spec, _ = resolved(local={"processes": False})
    assert (spec.workers.minimum, spec.worker.nthreads) == (1, 16)


def test_what_is_given_wrongly_is_for_the_validation_to_tell(machine):
    with pytest.raises(ConfigError) as refused:
        resolved(workers="many", worker={"memory": "8G", "cores": "4"})
    assert {problem.path for problem in refused.value.problems} == {"workers", "worker.memory", "worker.cores"}


# What it refuses


def test_one_worker_larger_than_the_machine_is_refused_with_both_numbers(machine):
    assert refusals(workers=1, worker={"memory": "96 GiB"}) == {
        "worker.memory": "one worker of 96 GiB is more than the 64 GiB that this machine has"
    }


def test_more_memory_than_the_machine_has_is_refused_with_both_numbers(machine):
    assert refusals(workers=5, worker={"memory": "16 GiB"}) == {
        "worker.memory": "5 workers of 16 GiB need 80 GiB, this machine has 64 GiB; 4 would fit"
    }


def test_a_range_is_refused_by_its_most(machine):
    said = refusals(workers={"minimum": 0, "maximum": 100}, worker={"memory": "1 GiB"})
    assert "100 workers of 1 GiB" in said["worker.memory"]


@pytest.mark.parametrize("said", [{"workers": 4, "worker": {"memory": "16 GiB"}}, {}, {"workers": 64}, {"workers": 0}])
def test_what_fits_is_not_refused(machine, said):
    assert refusals(**said) == {}


def test_more_gpus_than_are_visible_are_refused(machine):
    machine(CUDA_VISIBLE_DEVICES="0,1")
    assert refusals(workers=3, worker={"gpus": 1}) == {
        "worker.gpus": "3 workers need 3 GPUs, this machine shows 2",
    }


def test_gpus_where_there_are_none_are_refused(machine):
    machine(CUDA_VISIBLE_DEVICES="")
    assert refusals(workers=1, worker={"gpus": 1})["worker.gpus"].endswith("this machine shows none")


def test_gpus_for_threads_are_refused(machine):
    machine(CUDA_VISIBLE_DEVICES="0,1")
    assert "local.processes: true" in refusals(workers=1, worker={"gpus": 1}, local={"processes": False})["worker.gpus"]


def test_an_interface_that_is_not_there_is_refused_with_those_that_are(machine):
    assert "there are" in (said := refusals(network={"interface": "ib9"})["network.interface"])
    assert "lo" in said


def test_variables_of_threads_are_refused(machine):
    said = refusals(environment={"variables": {"A": "1"}}, local={"processes": False})
    assert "local.processes: true" in said["environment.variables"]


def test_a_life_as_a_job_is_refused_where_there_is_no_batch_system(machine):
    assert "no batch system" in refusals(lifecycle={"host": "job"})["lifecycle.host"]
    assert "lifecycle.host" not in refusals(lifecycle={"host": "process"})


def test_encryption_without_cryptography_is_refused_with_the_line_that_installs_it(machine, monkeypatch):
    monkeypatch.setattr(local, "_can_encrypt", lambda: False)
    assert "pip install cryptography" in refusals(network={"tls": True})["network.tls"]


def test_leaving_loopback_unencrypted_has_to_be_said(machine, monkeypatch):
    monkeypatch.setattr(local, "_can_encrypt", lambda: False)
    with pytest.raises(BackendUnavailable, match="network.tls: false"):
        local._security(ClusterSpec(network={"interface": "lo"}), exposed=True)


# What it warns of


def test_far_more_threads_than_cores_are_a_problem(machine):
    spec, options = resolved(workers=16, worker={"cores": 4, "memory": "1 GiB"})
    assert list(LocalBackend().problems(spec, options)) == [
        "64 threads share 16 cores; ask for fewer workers or worker.cores"
    ]


def test_a_scratch_folder_that_is_not_there_is_a_problem(machine, tmp_path):
    spec, options = resolved(storage={"scratch": str(tmp_path / "missing")})
    assert "not writable" in " ".join(LocalBackend().problems(spec, options))


def test_a_fine_profile_has_no_problem(machine, tmp_path):
    spec, options = resolved(storage={"scratch": str(tmp_path)})
    assert list(LocalBackend().problems(spec, options)) == []


# GPUs


@pytest.mark.parametrize(
    ("named", "gpus"),
    [("0,1", ("0", "1")), ("GPU-a, GPU-b", ("GPU-a", "GPU-b")), ("", ()), ("-1", ()), ("3", ("3",))],
)
def test_visible_gpus_are_those_that_cuda_may_use(machine, named, gpus):
    machine(CUDA_VISIBLE_DEVICES=named)
    assert local.visible_gpus() == gpus


async def test_each_worker_gets_gpus_of_its_own():
    async with GpuCluster(
        ("0", "1", "2", "3"), 2, n_workers=0, asynchronous=True, dashboard_address="127.0.0.1:0"
    ) as cluster:
        given = []
        for _ in range(2):
            new = cluster.new_worker_spec()
            cluster.worker_spec.update(new)
            given += [spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for spec in new.values()]
        cluster.worker_spec.clear()
    assert given == ["0,1", "2,3"]


async def test_the_gpus_of_a_worker_that_left_are_given_again():
    async with GpuCluster(("0", "1"), 1, n_workers=0, asynchronous=True, dashboard_address="127.0.0.1:0") as cluster:
        first = cluster.new_worker_spec()
        cluster.worker_spec.update(first)
        cluster.worker_spec.update(cluster.new_worker_spec())
        for name in first:
            del cluster.worker_spec[name]
        (again,) = cluster.new_worker_spec().values()
        cluster.worker_spec.clear()
    assert again["options"]["env"]["CUDA_VISIBLE_DEVICES"] == "0"


def test_two_workers_see_different_gpus(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    worker = {**SMALL, "gpus": 1}
    with clusterhub.connect("local", workers=2, worker=worker, local={"dashboard": False}) as cluster:
        cluster.wait(timeout=30)
        with cluster.get_client(set_as_default=False) as client:
            seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["0", "1"]


# What it starts


def test_encryption_works_end_to_end():
    pytest.importorskip("cryptography")
    options = {"dashboard": False, "processes": False}
    with clusterhub.connect("local", workers=1, worker=SMALL, local=options, network={"tls": True}) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        cluster.wait(timeout=30)
        with cluster.get_client(set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3


def test_an_encrypted_scheduler_lets_no_stranger_in():
    pytest.importorskip("cryptography")
    from distributed import Client, Security

    options = {"dashboard": False, "processes": False}
    stranger = Security.temporary()
    with (
        clusterhub.connect("local", workers=0, worker=SMALL, local=options, network={"tls": True}) as cluster,
        pytest.raises((OSError, ssl.SSLError)),
    ):
        Client(cluster.scheduler_address, security=stranger, timeout=2, set_as_default=False)


def test_variables_and_scratch_reach_the_workers(tmp_path: Path):
    with clusterhub.connect(
        "local",
        workers=1,
        worker=SMALL,
        local={"dashboard": False},
        environment={"variables": {"CLUSTERHUB_STORY": "told"}},
        storage={"scratch": str(tmp_path)},
    ) as cluster:
        cluster.wait(timeout=30)
        with cluster.get_client(set_as_default=False) as client:
            told = client.run(os.getenv, "CLUSTERHUB_STORY")
            assert list(told.values()) == ["told"]
            assert list(tmp_path.rglob("worker-*"))


def test_a_start_that_cannot_succeed_says_why():
    options = {"dashboard": False, "preload": ["no_such_module_at_all"]}
    with (
        pytest.raises(WorkersFailed, match="no_such_module_at_all"),
        clusterhub.connect("local", workers=1, worker=SMALL, local=options) as cluster,
    ):
        cluster.wait(timeout=30)


def test_a_first_script_ends_with_its_numbers_and_not_with_a_warning(caplog: pytest.LogCaptureFixture):
    """Its results go with the cluster; Dask would warn that they will be recomputed elsewhere."""
    options = {"dashboard": False, "processes": False}
    with clusterhub.connect("local", workers=1, worker=SMALL, local=options) as cluster:
        client = cluster.get_client()
        held = client.map(str, range(3))
        assert client.gather(held) == ["0", "1", "2"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_another_cluster_loses_meanwhile_is_still_told(caplog: pytest.LogCaptureFixture):
    from clusterhub._dask.hosting import last_words

    closing = SimpleNamespace(scheduler=SimpleNamespace(workers={"tcp://10.0.0.1:4001": object()}))
    with last_words(closing):
        for address in ("tcp://10.0.0.1:4001", "tcp://10.0.0.1:40012"):
            logging.getLogger("distributed.scheduler").warning(
                "Removing worker %r caused the cluster to lose already computed task(s)", address
            )
    assert [record.args for record in caplog.records] == [("tcp://10.0.0.1:40012",)]


def test_a_plan_shows_the_names_of_variables_and_not_their_values():
    plan = clusterhub.plan("local", workers=1, worker=SMALL, environment={"variables": {"API_TOKEN": "hunter2"}})
    assert "API_TOKEN" in plan.documents[0].text
    assert "hunter2" not in plan.documents[0].text


def test_the_dashboard_listens_on_loopback_alone():
    assert local._dashboard_address().startswith("127.0.0.1:")


def test_a_share_of_memory_is_never_nothing(machine):
    machine(memory=3 * 2**20)
    assert local._share_of_memory(100) == Bytes("1 MiB")
