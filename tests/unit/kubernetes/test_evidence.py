"""The log of a pod that ended is part of why there are no workers, and may tell the cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterhub import Failure
from clusterhub_backends.kubernetes.evidence import told, with_log

from .recorded import Recorded
from .serving import asked, kubeconfig, page, refuses, serving


@pytest.mark.parametrize(
    ("line", "summary", "because"),
    [
        ("ModuleNotFoundError: No module named 'ocean'", "No module named 'ocean'", "kubernetes.image"),
        ("/usr/bin/python: No module named dask", "No module named dask", "kubernetes.image"),
        ("/usr/bin/prepare.sh: line 40: exec: dask: not found", "exec: dask: not found", "kubernetes.image"),
        ("OSError: [Errno 28] No space left on device", "No space left on device", "storage.scratch"),
    ],
)
def test_the_log_of_what_ended_tells_the_cause(line: str, summary: str, because: str) -> None:
    failure = told(Failure("one ended with exit code 1"), f"starting\n\n{line}\n")
    assert failure.summary == f"one ended with exit code 1: {summary}"
    assert failure.because == because
    assert failure.log_tail == ("starting", line)


def test_a_log_adds_nothing_to_a_cause_that_is_known_and_shows_no_secret() -> None:
    known = Failure("out of memory", because="worker.memory")
    failure = told(known, "MemoryError\npassword=hunter2\n")
    assert (failure.summary, failure.because) == ("out of memory", "worker.memory")
    assert "hunter2" not in str(failure.log_tail)


async def test_the_log_is_that_of_the_container_that_ended_before_it_was_started_again(tmp_path: Path) -> None:
    sample = Recorded.of("unprepared")
    cause = sample.cause()
    assert cause is not None
    pod = f"/api/v1/namespaces/ocean/pods/{cause.unit}/log"
    async with (
        serving({f"GET {pod}": page("no such file\n", kind="text/plain")}) as (address, heard),
        asked(kubeconfig(tmp_path, address)) as api,
    ):
        failure = await with_log(api, cause, sample.pods)
    assert failure.log_tail == ("no such file",)
    assert failure.log_path == f"kubectl --context sea logs -n ocean {cause.unit} -c fetch"
    assert [path for _, path, _ in heard.requests] == [f"{pod}?container=fetch&tailLines=60"]


async def test_a_container_that_waits_to_be_started_again_has_written_before(tmp_path: Path) -> None:
    sample = Recorded.of("crash")
    cause = sample.cause()
    assert cause is not None
    async with (
        serving(page("ModuleNotFoundError: No module named 'x'\n", kind="text/plain")) as (address, heard),
        asked(kubeconfig(tmp_path, address)) as api,
    ):
        failure = await with_log(api, cause, sample.pods)
    assert failure.summary.endswith("each time it is started: No module named 'x'")
    assert failure.log_path.endswith("-c worker --previous")
    assert "previous=true" in heard.requests[0][1]


async def test_a_cause_is_told_without_a_log_that_cannot_be_had(tmp_path: Path) -> None:
    sample = Recorded.of("crash")
    cause = sample.cause()
    assert cause is not None
    async with (
        serving(refuses(500, "the node is away")) as (address, heard),
        asked(kubeconfig(tmp_path, address)) as api,
    ):
        assert await with_log(api, cause, sample.pods) == cause
        assert await with_log(api, Failure("needs 4 cores"), sample.pods) == Failure("needs 4 cores")
    assert len(heard.requests) == 1
