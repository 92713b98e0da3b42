"""What the other tests of Kubernetes stand on, without clusterhub: an operator, an image with Dask, rights and their limits."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import distributed
import pytest

PATIENCE = 120.0
IMAGE = f"ghcr.io/dask/dask:{distributed.__version__}-py{sys.version_info.major}.{sys.version_info.minor}"
COMPONENT = "dask.org/component"


@asynccontextmanager
async def api_of(kubeconfig: Path) -> AsyncIterator[Any]:
    from kr8s.asyncio import api

    opened = await api(kubeconfig=str(kubeconfig))
    try:
        yield opened
    finally:
        await opened._session.aclose()  # kr8s has no public way, and its sockets would be found open


@pytest.fixture
async def api(user: Path) -> AsyncIterator[Any]:
    async with api_of(user) as opened:
        yield opened


def manifest(**changes: Any) -> dict[str, Any]:
    """A cluster as dask-kubernetes makes one, but for the commands: Dask no longer has those that it names."""
    from dask_kubernetes.operator import make_cluster_spec

    resources = {"limits": {"memory": "600Mi"}, "requests": {"cpu": "100m", "memory": "300Mi"}}
    name = f"lab-{uuid.uuid4().hex[:8]}"
    made: dict[str, Any] = make_cluster_spec(
        name, worker_command="dask worker", **{"image": IMAGE, "n_workers": 1, "resources": resources, **changes}
    )
    scheduler = made["spec"]["scheduler"]["spec"]["containers"][0]
    scheduler["args"] = ["dask", "scheduler", *scheduler["args"][1:]]
    return made


@asynccontextmanager
async def running(api: Any, spec: dict[str, Any]) -> AsyncIterator[Callable[[str], Awaitable[list[Any]]]]:
    """A cluster, as the pods of each component; gone afterwards, with all of its pods."""
    from dask_kubernetes.operator._objects import DaskCluster

    cluster = await DaskCluster(spec, api=api)
    mine = {"dask.org/cluster-name": cluster.name}

    async def pods(component: str) -> list[Any]:
        return [pod async for pod in api.get("pods", label_selector={**mine, COMPONENT: component})]

    await cluster.create()
    try:
        yield pods
    finally:
        await cluster.delete()
        await eventually("the end of the pods", lambda: none_of(api.get("pods", label_selector=mine)))


async def none_of(things: AsyncIterator[Any]) -> bool:
    return not [thing async for thing in things]


async def eventually(what: str, met: Callable[[], Awaitable[Any]]) -> Any:
    import asyncio

    deadline = time.monotonic() + PATIENCE
    while not (result := await met()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.2)
    return result


async def test_a_cluster_of_the_operator_computes_for_a_user_with_the_listed_rights(api: Any) -> None:
    async with running(api, manifest(n_workers=2)) as pods:

        async def ready() -> Any:
            return [pod for pod in await pods("scheduler") if await pod.ready()]

        [scheduler] = await eventually("a scheduler", ready)
        async with (
            scheduler.portforward(8786, local_port="auto") as port,
            distributed.Client(f"tcp://127.0.0.1:{port}", asynchronous=True) as client,
        ):
            await client.wait_for_workers(2, timeout=PATIENCE)
            assert await client.submit(sum, range(10)) == 45
            workers = await client.scheduler.identity()
        assert len({worker["host"] for worker in workers["workers"].values()}) == 2
        assert all([await pod.ready() for pod in await pods("worker")])
        assert any("Scheduler at" in line for line in [line async for line in scheduler.logs()])


async def test_an_image_that_there_is_not_is_told_of_by_the_pod(api: Any) -> None:
    def reasons(pod: Any) -> set[str]:
        return {
            status.state.waiting.reason
            for status in pod.status.get("containerStatuses", [])
            if "waiting" in status.state
        }

    async with running(api, manifest(image="registry.invalid/no-such-image:1")) as pods:

        async def told() -> Any:
            return {"ErrImagePull", "ImagePullBackOff"} & {
                reason for pod in await pods("scheduler") for reason in reasons(pod)
            }

        await eventually("the reason", told)


async def test_a_worker_that_outgrows_its_memory_is_ended_by_the_system(api: Any) -> None:
    spec = manifest()
    worker = spec["spec"]["worker"]["spec"]["containers"][0]
    worker["args"] = ["python", "-c", "held = bytearray(10**9); print(sum(held[::4096]))"]

    async with running(api, spec) as pods:

        async def ended() -> Any:
            states = [
                status.get(state, {}).get("terminated", {}).get("reason")
                for pod in await pods("worker")
                for status in pod.status.get("containerStatuses", [])
                for state in ("state", "lastState")
            ]
            return "OOMKilled" in states

        await eventually("OOMKilled", ended)


@pytest.mark.parametrize(
    ("kind", "namespace"),
    [("pods", "default"), ("secrets", "kube-system"), ("daskclusters.kubernetes.dask.org", "default"), ("nodes", None)],
)
async def test_the_user_may_do_nothing_elsewhere(api: Any, kind: str, namespace: str | None) -> None:
    import kr8s

    with pytest.raises(kr8s.ServerError, match="forbidden"):
        _ = [thing async for thing in api.get(kind, namespace=namespace)]


async def test_the_nodes_are_those_of_a_real_kubelet(admin: Path) -> None:
    async with api_of(admin) as opened:
        nodes = [node async for node in opened.get("nodes")]
    assert nodes
    for node in nodes:
        assert node.status.nodeInfo.kubeletVersion.startswith("v1.")
        assert "containerd" in node.status.nodeInfo.containerRuntimeVersion
