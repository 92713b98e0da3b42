"""What we send, on a real API server and Dask's operator: it is valid to the last field, comes up encrypted, and shows nobody a
secret."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import distributed
import kr8s
import pytest
import yaml

from clusterhub import ClusterSpec
from clusterhub.keeper.keys import make_keys
from clusterhub.tls import TlsFiles
from clusterhub_backends.kubernetes.manifest import (
    API_VERSION,
    cluster_manifest,
    secret_manifest,
    secret_name,
    secret_variables,
)
from clusterhub_backends.kubernetes.options import KubernetesOptions

PATIENCE = 120.0
GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("kubernetes*.yaml"))
SECRET = "hunter2xyz"
SMALL: Mapping[str, Any] = {"cores": 0.5, "memory": "400 MiB"}


@asynccontextmanager
async def api_of(kubeconfig: Path) -> AsyncIterator[Any]:
    opened = await kr8s.asyncio.api(kubeconfig=str(kubeconfig))
    try:
        yield opened
    finally:
        await opened._session.aclose()  # kr8s has no public way, and its sockets would be found open


async def post(api: Any, made: Mapping[str, Any], **params: str) -> dict[str, Any]:
    """Create it, refusing what the server does not know, in the namespace of the context."""
    async with api.call_api(
        "POST",
        version=made["apiVersion"],
        url=f"{made['kind'].lower()}s",
        namespace=made["metadata"].get("namespace", api.namespace),
        content=json.dumps(made),
        params={"fieldValidation": "Strict", **params},
    ) as answer:
        created: dict[str, Any] = answer.json()
        return created


def made_by_the_operator(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the operator makes of a DaskCluster: by its own functions."""
    from dask_kubernetes.operator.controller import controller

    name, meta, spec = cluster["metadata"]["name"], cluster["metadata"], cluster["spec"]
    annotations, labels = meta["annotations"], meta["labels"]
    scheduler, worker = spec["scheduler"], spec["worker"]
    return [
        controller.build_scheduler_deployment_spec(name, scheduler["spec"], annotations, labels),
        controller.build_scheduler_service_spec(name, scheduler["service"], annotations, labels),
        controller.build_worker_deployment_spec(
            f"{name}-default", "ocean", name, "0123456789", worker["spec"], annotations, labels
        ),
    ]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
async def test_what_a_plan_shows_is_valid_and_so_is_what_the_operator_makes_of_it(
    user: Path, admin: Path, file: Path
) -> None:
    shown = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    async with api_of(user) as api:
        for each in shown:
            assert (await post(api, each, dryRun="All"))["metadata"]["name"] == each["metadata"]["name"]
        namespace = api.namespace
    async with api_of(admin) as api:
        for each in made_by_the_operator(shown[0]):
            each["metadata"]["namespace"] = namespace
            taken = await post(api, each, dryRun="All")
            assert taken["kind"] == each["kind"]


async def test_what_the_operators_resources_do_not_carry_is_refused_and_not_dropped(user: Path) -> None:
    options = KubernetesOptions(pod={"schedulingGates": [{"name": "example.org/later"}]})
    made = manifest_of("gates", spec(), options)
    async with api_of(user) as api:
        with pytest.raises(kr8s.ServerError, match=r"unknown field \"spec.worker.spec.schedulingGates\""):
            await post(api, made, dryRun="All")
        assert await post(
            api, made, dryRun="All", fieldValidation="Ignore"
        )  # so without being told to, it would drop it


def spec(**said: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"backend": "kubernetes", "workers": 2, "worker": SMALL, **said})


def manifest_of(name: str, spec: ClusterSpec, options: KubernetesOptions) -> dict[str, Any]:
    return cluster_manifest(
        name, spec, options, uid=uuid.uuid4().hex, user="ann@example.org", profile="cloud", named=True, kept=False,
        secret=secret_name(name), plan=json.dumps({"who": "ann"}),
    )  # fmt: skip


@asynccontextmanager
async def running(
    api: Any, spec: ClusterSpec, options: KubernetesOptions, keys: TlsFiles
) -> AsyncIterator[dict[str, Any]]:
    """Its DaskCluster, with the Secret that it owns; in the end nothing of both is left."""
    from kr8s.asyncio.objects import new_class

    name = f"made-{uuid.uuid4().hex[:8]}"
    created = await post(api, manifest_of(name, spec, options))
    cluster = await new_class("DaskCluster", API_VERSION)(created, api=api)
    try:
        pem = {what: Path(getattr(keys, what)).read_text() for what in ("ca", "cert", "key")}
        owned = secret_manifest(
            name,
            uid="0",
            user="ann",
            **pem,
            variables=secret_variables(spec, options),
            owner=created["metadata"]["uid"],
        )
        await post(api, owned)
        yield created
    finally:
        await cluster.delete(propagation_policy="Foreground")
        mine = {"clusterhub/cluster": name}
        for kind in ("daskclusters.kubernetes.dask.org", "pods", "secrets", "services"):
            await eventually(f"the end of the {kind}", lambda kind=kind: none_of(api.get(kind, label_selector=mine)))


async def none_of(things: AsyncIterator[Any]) -> bool:
    return not [thing async for thing in things]


async def eventually(what: str, met: Callable[[], Awaitable[Any]]) -> Any:
    import asyncio

    deadline = time.monotonic() + PATIENCE
    while not (result := await met()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.2)
    return result


async def pods_of(api: Any, created: Mapping[str, Any], component: str) -> list[Any]:
    selector = {"dask.org/cluster-name": created["metadata"]["name"], "dask.org/component": component}
    return [pod async for pod in api.get("pods", label_selector=selector)]


@asynccontextmanager
async def port_of_scheduler(api: Any, created: Mapping[str, Any]) -> AsyncIterator[int]:
    async def ready() -> list[Any]:
        return [pod for pod in await pods_of(api, created, "scheduler") if await pod.ready()]

    [scheduler] = await eventually("a scheduler", ready)
    async with scheduler.portforward(8786, local_port="auto") as port:
        yield port


async def test_a_cluster_comes_up_encrypted_and_lets_in_who_has_its_keys(user: Path, tmp_path: Path) -> None:
    keys = make_keys(tmp_path, "made")
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_of(user))
        created = await stack.enter_async_context(running(api, spec(), KubernetesOptions(), keys))
        port = await stack.enter_async_context(port_of_scheduler(api, created))
        address = f"tls://127.0.0.1:{port}"

        async with distributed.Client(address, security=keys.security(), asynchronous=True) as client:
            await client.wait_for_workers(2, timeout=PATIENCE)
            assert await client.submit(sum, range(10)) == 45
            workers = (await client.scheduler.identity())["workers"]
        assert all(worker.startswith("tls://") for worker in workers)
        assert all(worker["memory_limit"] == 400 * 2**20 for worker in workers.values())

        strangers: dict[str, Any] = {address: distributed.Security.temporary(), f"tcp://127.0.0.1:{port}": None}
        for way, security in strangers.items():
            with pytest.raises(OSError, match=r"TLS|closed|Timed out"):
                await distributed.Client(way, security=security, asynchronous=True, timeout=5)


async def test_what_a_profile_says_is_seen_in_the_pods_and_no_secret_is(user: Path, tmp_path: Path) -> None:
    def seen(*names: str) -> dict[str, Any]:
        import os

        return {**{name: os.environ.get(name) for name in names}, "user": os.getuid(), "directory": str(Path.cwd())}

    keys = make_keys(tmp_path, "made")
    said = spec(
        workers=1,
        worker={**SMALL, "gpus": 1, "threads": 3},
        environment={"variables": {"API_TOKEN": SECRET, "GREETING": "no $(HOME)"}, "directory": "/work"},
        storage={"scratch": "/scratch"},
    )
    overlay = {"securityContext": {"runAsUser": 1000}, "containers": [{"env": [{"name": "TZ", "value": "UTC"}]}]}
    options = KubernetesOptions(pod=overlay, labels={"team": "ocean"})
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_of(user))
        created = await stack.enter_async_context(running(api, said, options, keys))
        port = await stack.enter_async_context(port_of_scheduler(api, created))
        security = keys.security()
        async with distributed.Client(f"tls://127.0.0.1:{port}", security=security, asynchronous=True) as client:
            await client.wait_for_workers(1, timeout=PATIENCE)
            [found] = (await client.run(seen, "API_TOKEN", "GREETING", "TZ")).values()
            [worker] = (await client.scheduler.identity())["workers"].values()
        assert found == {"API_TOKEN": SECRET, "GREETING": "no $(HOME)", "TZ": "UTC", "user": 1000, "directory": "/work"}
        assert worker["nthreads"] == 3
        assert worker["local_directory"].startswith("/scratch/")

        [pod] = await pods_of(api, created, "worker")
        assert pod.spec.containers[0].resources.limits["nvidia.com/gpu"] == "1"
        assert pod.metadata.labels["team"] == "ocean"
        for each in [pod, *await pods_of(api, created, "scheduler")]:
            assert SECRET not in json.dumps(each.raw)
            assert each.metadata.annotations["clusterhub/plan"] == ""
