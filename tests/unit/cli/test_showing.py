from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from clusterhub.backend import Backend
from clusterhub.cli.arithmetic import in_all
from clusterhub.spec import ClusterSpec, Job, Limits, Node, Worker, Workers
from clusterhub_backends.local import LocalBackend
from clusterhub_backends.pbs import PbsBackend
from clusterhub_backends.slurm import SlurmBackend

from .conftest import HAL

Hub = Callable[..., Result]


def test_show_gives_every_value_with_its_origin_and_the_arithmetic(hub: Hub) -> None:
    assert hub("show", "hal").stdout.splitlines() == [
        "hal · pbs · CNES HAL, PBS Pro",
        "  worker.memory  60 GiB  ~/.clusterhub.yaml:8",
        "  network.tls    true    default",
        "one job: 2 workers (memory decides), 8 of 24 cores, 120 of 120 GiB (59.8 GiB for each worker)"
        " · 100 jobs for up to 200 workers",
        "1 more key not set: clusterhub show hal --all",
    ]
    assert "storage.logs" in hub("show", "hal", "--all").stdout


def test_show_as_a_file_to_paste(hub: Hub) -> None:
    assert hub("show", "hal", "--yaml").stdout == "hal:\n  backend: pbs\n"


def test_show_for_programs(hub: Hub) -> None:
    data = json.loads(hub("show", "hal", "--json").stdout)
    assert data["values"][1] == {
        "key": "worker.memory",
        "text": "60 GiB",
        "origin": "~/.clusterhub.yaml:8",
        "default": False,
    }
    assert data["in_all"].startswith("one job: 2 workers")


@pytest.mark.parametrize(
    ("args", "workers"), [(("--workers", "5"), 5), (("--workers", "0..20"), {"minimum": 0, "maximum": 20})]
)
def test_workers_is_a_number_or_a_range(args: tuple[str, ...], workers: Any, hub: Hub, profile_room: Any) -> None:
    hub("show", "hal", *args, "--set", "worker.memory=8GiB")
    assert profile_room.asked == [{"worker.memory": "8GiB", "workers": workers}]


def test_plan_prints_what_would_be_sent(hub: Hub, api: Any) -> None:
    assert hub("plan", "hal", "--workers", "200").stdout.splitlines() == [
        "34 jobs of 6",
        "──── job script ────",
        "#!/usr/bin/env bash",
        "#PBS -N hal",
    ]
    assert api.asked == [("hal", {"workers": 200})]
    assert json.loads(hub("plan", "hal", "--json").stdout)["documents"][0]["title"] == "job script"


@pytest.mark.parametrize(
    ("backend", "spec", "words"),
    [
        (PbsBackend(), HAL.model_copy(update={"workers": Workers.exactly(5)}), "3 jobs for 5 workers (6 would fit)"),
        (PbsBackend(), HAL.model_copy(update={"limits": Limits(workers=300)}), "your limit is 300 workers"),
        (
            SlurmBackend(),
            ClusterSpec(job=Job(workers_per_job=6), worker=Worker(cores=4, memory="16 GiB"), workers=24),
            "one job: 6 workers (as given), 24 cores, 96.7 GiB · 4 jobs for 24 workers",
        ),
        (
            SlurmBackend(),
            ClusterSpec(worker=Worker(gpus=1), node=Node(cores=8, memory="64 GiB", gpus=2), workers=2),
            "one job: 2 workers (GPUs decide), 2 of 8 cores, 8.31 of 64 GiB, 2 of 2 GPUs · 1 job for 2 workers",
        ),
        (
            SlurmBackend(),
            ClusterSpec(worker=Worker(cores=4, gpus=1), node=Node(cores=8, memory="64 GiB", gpus=8), workers=2),
            "one job: 2 workers (cores decide)",
        ),
        (
            PbsBackend(),
            ClusterSpec(workers=1, worker=Worker(gpus=1)),
            "one job: 1 worker (no node is described), 1 core, 4.22 GiB, 1 GPU · 1 job for 1 worker",
        ),
        (PbsBackend(), HAL.model_copy(update={"worker": Worker(memory="500 MiB")}), "14.1 of 120 GiB"),
        (LocalBackend(), ClusterSpec(workers=4), "in all: 4 workers, 4 cores, 16 GiB"),
        (LocalBackend(), ClusterSpec(workers=1, worker=Worker(cores=0.5)), "in all: 1 worker, 0.5 cores, 4 GiB"),
        (LocalBackend(), ClusterSpec(), "in all: up to 10 workers, 10 cores, 40 GiB"),
        (LocalBackend(), ClusterSpec(workers=0), "in all: 0 workers, 0 cores"),
    ],
)
def test_the_arithmetic(backend: Backend[Any], spec: ClusterSpec, words: str) -> None:
    assert words in in_all(spec, backend)


def test_check_prints_each_step_and_the_verdict(hub: Hub, api: Any) -> None:
    result = hub("check", "hal", "--start")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "hal · pbs",
        "  ✔ config            2 files, no problem",
        "  ✔ queue             enabled",
        "everything works",
    ]
    assert api.asked == [("hal", {"start": True})]
    # About the work, and so not among the results.
    assert result.stderr == "  ·                   job 27.hal is pending: needs 24 free cores, 6 are free\n"


def test_a_start_is_waited_for_as_long_as_one_says(hub: Hub, api: Any) -> None:
    assert hub("check", "hal", "--start", "--timeout", "30m").exit_code == 0
    assert api.asked == [("hal", {"start": True, "patience": 1800.0})]
    refused = hub("check", "hal", "--timeout", "30m")
    assert (refused.exit_code, "add --start" in refused.stderr) == (2, True)


def test_a_problem_found_is_a_failure(hub: Hub, api: Any) -> None:
    api.steps += [("warn", "address", "3 candidates"), ("fail", "python", "not there\nsee the log")]
    result = hub("check", "hal")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[3:] == [
        "  ! address           3 candidates",
        "  ✘ python            not there",
        "                      see the log",
        "1 problem",
    ]


def test_a_remark_is_no_failure(hub: Hub, api: Any) -> None:
    api.steps += [("warn", "address", "3 candidates")]
    result = hub("check", "hal")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "everything works, with 1 remark")


def test_check_for_programs(hub: Hub, api: Any) -> None:
    api.steps = [("fail", "python", "not there")]
    result = hub("check", "hal", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "profile": "hal",
        "backend": "pbs",
        "ok": False,
        "steps": [{"mark": "fail", "title": "python", "text": "not there", "because": ""}],
    }
