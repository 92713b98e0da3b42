"""The line to a real API server: what it refuses to an admin and to a user, and what it tells of a cluster that does not come."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clusterhub import BackendUnavailable, ClusterSpec, Finding, SubmitRejected
from clusterhub_backends.kubernetes.api import AlreadyThere, Api, Forbidden, NoSuchThing, Unreachable
from clusterhub_backends.kubernetes.doctor import findings
from clusterhub_backends.kubernetes.evidence import with_log
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.pods import cause_of, scheduler_trouble, units_of
from live.kubernetes.test_lab import PATIENCE, manifest

LAB = Path(__file__).parents[2] / "labs" / "kubernetes" / "lab"


@asynccontextmanager
async def line(kubeconfig: Path, namespace: str | None = None) -> AsyncIterator[Api]:
    api = await Api.of(str(kubeconfig), None, namespace)
    try:
        yield api
    finally:
        await api.close()


@pytest.fixture
async def api(user: Path) -> AsyncIterator[Api]:
    async with line(user) as opened:
        yield opened


def name() -> str:
    return f"api-{uuid.uuid4().hex[:8]}"


# What is asked, and what is refused


async def test_things_come_change_and_go(api: Api) -> None:
    mine = {"clusterhub/uid": uuid.uuid4().hex}
    secret = {"metadata": {"name": name(), "labels": mine}, "stringData": {"key": "value"}}
    made = await api.create("secrets", secret)
    called = made["metadata"]["name"]
    with pytest.raises(AlreadyThere, match=f"there is secrets {called} in namespace {api.namespace} already"):
        await api.create("secrets", secret)
    await api.patch("secrets", called, {"metadata": {"labels": {"a": "b"}}})
    found = await api.get("secrets", called)
    assert found is not None
    assert found["metadata"]["labels"] == {**mine, "a": "b"}
    assert not await api.delete("secrets", called, uid=str(uuid.uuid4())), "it is another one"
    assert await api.delete("secrets", called, uid=made["metadata"]["uid"])
    assert not await api.delete("secrets", called)
    assert await api.get("secrets", called) is None
    with pytest.raises(NoSuchThing):
        await api.patch("secrets", called, {})


async def test_what_is_asked_about_without_being_made_is_not_there(api: Api) -> None:
    spec = manifest()
    await api.create("daskclusters", spec, dry_run=True)
    assert await api.get("daskclusters", spec["metadata"]["name"]) is None


async def test_a_resource_that_is_not_valid_is_refused_by_its_fields(api: Api) -> None:
    with pytest.raises(SubmitRejected, match=r"spec\.scheduler: Required value; spec\.worker: Required value"):
        await api.create("daskclusters", {"metadata": {"name": name()}, "spec": {}})


async def test_the_user_hears_which_right_is_lacking_and_what_to_ask_for(user: Path) -> None:
    async with line(user, "default") as api:
        with pytest.raises(Forbidden, match="may not create daskclusters in namespace default") as caught:
            await api.create("daskclusters", manifest())
        assert 'resources: ["daskclusters"], verbs: ["create"]' in str(caught.value)
        assert not await api.may("create", "daskclusters")
        with pytest.raises(Forbidden, match="may not get pods/log in namespace default"):
            await api.logs("any")


async def test_a_namespace_that_there_is_not_is_made_with_a_line(admin: Path) -> None:
    async with line(admin, "no-such-namespace") as api:
        assert await api.list("daskclusters") == []
        with pytest.raises(
            BackendUnavailable, match="has no namespace no-such-namespace.*create namespace no-such-namespace"
        ):
            await api.create("daskclusters", manifest())


async def test_a_token_that_is_none_is_told_as_such(user: Path, tmp_path: Path) -> None:
    config = YAML(typ="safe").load(user)
    config["users"][0]["user"] = {"token": "none"}
    file = tmp_path / "config"
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(config, stream)
    async with line(file) as api:
        with pytest.raises(BackendUnavailable, match=r"does not know us \(401\).*may have expired"):
            await api.list("pods")


async def test_a_context_that_there_is_not_is_told_with_those_there_are(user: Path) -> None:
    with pytest.raises(BackendUnavailable, match="kubernetes.context is nowhere, which is not in .*; there are "):
        await Api.of(str(user), "nowhere", None)


async def test_a_server_whose_authority_is_another_is_not_trusted(user: Path, tmp_path: Path) -> None:
    config = YAML(typ="safe").load(user)
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    file = tmp_path / "config"
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(config, stream)
    async with line(file) as api:
        with pytest.raises(BackendUnavailable, match="cannot be trusted"):
            await api.list("pods")


@pytest.fixture
def outage() -> Iterator[Callable[[str], Awaitable[None]]]:
    """Stops and starts the API server of the lab, which is up again at the end."""
    if "CLUSTERHUB_KUBERNETES_LAB" not in os.environ:
        pytest.skip("only the lab's API server can be stopped")

    async def turn(how: str) -> None:
        await asyncio.to_thread(subprocess.run, [LAB, "api", how], check=True)

    yield turn
    if subprocess.run([LAB, "kubectl", "version"], capture_output=True, check=False).returncode:
        subprocess.run([LAB, "api", "start"], check=True)


async def test_a_line_survives_an_outage(api: Api, outage: Callable[[str], Awaitable[None]]) -> None:
    assert await api.version()
    await outage("stop")
    with pytest.raises(Unreachable, match="cannot be reached"):
        await api.list("pods")
    await outage("start")
    assert await api.version()
    await api.list("pods")


# What it tells of a cluster that does not come


def change(**worker: Any) -> Callable[[dict[str, Any]], None]:
    """Changes the container of the workers."""
    return lambda spec: spec["spec"]["worker"]["spec"]["containers"][0].update(worker)


def too_many_cores(spec: dict[str, Any]) -> None:
    change(resources={"requests": {"cpu": "1000"}})(spec)


def no_such_account(spec: dict[str, Any]) -> None:
    spec["spec"]["worker"]["spec"]["serviceAccountName"] = "nobody-here"


CASES: Mapping[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "image": (change(image="registry.invalid/no-such-image:1"), "its registry cannot be reached", "kubernetes.image"),
    "cores": (too_many_cores, "one needs 1000 cores, no node has so many", "worker.cores"),
    "account": (no_such_account, "service account nobody-here does not exist", "kubernetes.service_account"),
    "memory": (
        change(args=["python", "-c", "held = bytearray(10**9); print(sum(held[::4096]))"]),
        "out of memory: it outgrew its 600 MiB",
        "worker.memory",
    ),
    "module": (
        change(args=["python", "-c", "import nothing_of_that_name"]),
        "No module named 'nothing_of_that_name'",
        "kubernetes.image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_workers_that_do_not_come_have_their_cause_in_time(case: str, api: Api) -> None:
    spoil, summary, because = CASES[case]
    spec = manifest()
    spoil(spec)
    called = spec["metadata"]["name"]
    mine = {"dask.org/cluster-name": called, "dask.org/component": "worker"}
    await api.create("daskclusters", spec)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            pods, deployments = await api.list("pods", labels=mine), await api.list("deployments", labels=mine)
            events, now = await api.list("events"), api.now
            cause = cause_of(pods, deployments, events, {}, 1, now)
            if cause is not None:
                break
            assert time.monotonic() < deadline, units_of(pods, deployments, events, {}, 1, now)
            await asyncio.sleep(0.5)
        cause = await with_log(api, cause, pods)
        assert summary in cause.summary
        assert cause.because == because
        assert (case in ("memory", "module")) == bool(cause.log_path), "what ran has a log"
        if case == "module":
            assert any("nothing_of_that_name" in text for text in cause.log_tail)
    finally:
        await api.delete("daskclusters", called)


async def test_a_scheduler_that_does_not_come_has_its_cause_in_time(api: Api) -> None:
    spec = manifest(image="registry.invalid/no-such-image:1")
    mine = {"dask.org/cluster-name": spec["metadata"]["name"], "dask.org/component": "scheduler"}
    await api.create("daskclusters", spec)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            pods, deployments = await api.list("pods", labels=mine), await api.list("deployments", labels=mine)
            failure = scheduler_trouble(pods, deployments, await api.list("events"), api.now)
            if failure is not None:
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        assert failure.summary.startswith(
            "the scheduler's pod: image registry.invalid/no-such-image:1 cannot be pulled"
        )
    finally:
        await api.delete("daskclusters", spec["metadata"]["name"])


# What check tells


def told(kubeconfig: Path, **said: Any) -> dict[str, Finding]:
    options = KubernetesOptions(kubeconfig=str(kubeconfig), **said)
    return {each.title: each for each in findings(ClusterSpec(backend="kubernetes", workers=2), options)}


def test_the_user_of_the_listed_rights_lacks_none(user: Path) -> None:
    found = told(user)
    assert found["rights"].mark == found["manifest"].mark == "ok"
    assert "fail" not in {each.mark for each in found.values()}


def test_what_is_not_there_is_told_before_anything_is_sent(admin: Path) -> None:
    found = told(admin, namespace="ocean", service_account="nobody-here", priority_class="none-such")
    assert {title for title, each in found.items() if each.mark == "fail"} == {"service account", "priority class"}
    assert told(admin, namespace="no-such-namespace")["namespace"].mark == "fail"
    assert told(admin, context="nowhere")["server"].because == "kubernetes.context"
