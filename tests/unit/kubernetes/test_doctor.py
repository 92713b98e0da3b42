"""``check`` tells whether a cluster could come up, before anything is sent, and says of what cannot be seen that it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clusterhub import ClusterSpec, Finding
from clusterhub_backends.kubernetes.allowances import Allowance, bounds, quotas
from clusterhub_backends.kubernetes.doctor import RIGHTS, TUNNEL, findings
from clusterhub_backends.kubernetes.options import KubernetesOptions

from .serving import DASK, Answer, kubeconfig, refuses, says, serving

NAMESPACE = "/api/v1/namespaces/ocean"
REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
CLUSTER = {"metadata": {"name": "tides", "creationTimestamp": "2026-11-25T12:00:00Z"}, "status": {"phase": "Running"}}
BY_OPERATOR = {"manager": "kopf", "time": "2026-11-25T12:00:00Z"}
CLOSED = refuses(
    403, 'things is forbidden: User "ann" cannot list resource "things" in API group "" in the namespace "ocean"'
)


def allowing(*denied: str) -> Answer:
    """Allows all but these: ``create daskclusters``, ``get pods/log``."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["spec"]["resourceAttributes"]
        on = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        allowed = f"{asked['verb']} {on}" not in denied and "all" not in denied
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    return answer


def well() -> dict[str, Answer]:
    """A Kubernetes where all is well, for a user who sees no other namespace."""
    return {
        "GET /version": says({"gitVersion": "v1.34.9"}),
        "GET /apis/kubernetes.dask.org": says({"preferredVersion": {"version": "v1"}}),
        REVIEWS: allowing(),
        "GET /apis/apps/v1/deployments": CLOSED,
        f"GET {DASK}": says({"items": [CLUSTER]}),
        f"POST {DASK}": says({}, 201),
        f"GET {NAMESPACE}/events": says({"items": []}),
        f"GET {NAMESPACE}/resourcequotas": CLOSED,
        f"GET {NAMESPACE}/limitranges": CLOSED,
    }


async def found(answers: Mapping[str, Answer], folder: Path, workers: int = 4, **options: Any) -> dict[str, Finding]:
    """The findings by their titles; asked on a thread of its own, as the server is on this one."""
    import asyncio

    spec = ClusterSpec(backend="kubernetes", workers=workers)
    async with serving(answers) as (address, _):
        told = KubernetesOptions(kubeconfig=str(kubeconfig(folder, address)), **options)
        return {each.title: each for each in await asyncio.to_thread(lambda: list(findings(spec, told)))}


async def test_where_all_is_well_everything_says_so(tmp_path: Path) -> None:
    told = await found(well(), tmp_path)
    assert "fail" not in {each.mark for each in told.values()}
    assert "Kubernetes v1.34.9" in told["server"].text
    assert told["rights"].text == "all that a cluster takes in namespace ocean"
    assert "the server would take it" in told["manifest"].text
    assert "you may not see resourcequotas here" in told["quota"].text
    assert "ghcr.io/dask/dask:" in told["image"].text
    assert "through the API server (port-forward), which you may use" in told["route"].text


async def test_the_server_is_asked_about_the_very_manifest_and_makes_nothing_of_it(tmp_path: Path) -> None:
    answers = well()
    asked: list[tuple[str, Any]] = []

    async def hears(request: web.Request) -> web.StreamResponse:
        asked.append((request.query_string, await request.json()))
        return web.json_response({}, status=201)

    await found({**answers, f"POST {DASK}": hears}, tmp_path)
    [(query, manifest)] = asked
    assert query == "fieldValidation=Strict&dryRun=All"
    assert manifest["kind"] == "DaskCluster"
    assert manifest["spec"]["worker"]["spec"]["containers"]


async def test_a_context_that_there_is_not_is_all_that_is_told(tmp_path: Path) -> None:
    told = await found(well(), tmp_path, context="gke")
    assert list(told) == ["server"]
    assert (told["server"].mark, told["server"].because) == ("fail", "kubernetes.context")


async def test_kinds_that_are_not_there_are_installed_with_a_line(tmp_path: Path) -> None:
    answers = well()
    del answers["GET /apis/kubernetes.dask.org"]
    told = await found(answers, tmp_path)
    assert told["operator"].mark == "fail"
    assert "helm install" in told["operator"].text
    assert list(told) == ["server", "operator"]


async def test_rights_that_are_lacking_are_told_as_rules_to_ask_for(tmp_path: Path) -> None:
    told = await found({**well(), REVIEWS: allowing("delete daskclusters", "get pods/log")}, tmp_path)
    assert told["rights"].mark == "fail"
    assert told["rights"].text.splitlines() == [
        "you lack some in namespace ocean; ask for a Role with",
        '- apiGroups: ["kubernetes.dask.org"], resources: ["daskclusters"], verbs: [delete]',
        '- apiGroups: [""], resources: ["pods/log"], verbs: [get]',
    ]


async def test_a_service_for_the_outside_takes_rights_that_nobody_else_needs(tmp_path: Path) -> None:
    answers = {**well(), REVIEWS: allowing("create services")}
    assert (await found(answers, tmp_path))["rights"].mark == "ok"
    told = (await found(answers, tmp_path, service_type="NodePort"))["rights"]
    assert told.mark == "fail"
    assert told.text.endswith('- apiGroups: [""], resources: ["services"], verbs: [create]')


async def test_who_may_do_nothing_is_asked_for_the_namespace(tmp_path: Path) -> None:
    told = await found({**well(), REVIEWS: allowing("all")}, tmp_path)
    assert told["rights"].text == "you may do nothing in namespace ocean; is it the right one, and does it exist?"
    assert told["rights"].because == "kubernetes.namespace"
    assert list(told) == ["server", "rights"]


async def test_a_namespace_that_there_is_not_is_told_before_the_rest(tmp_path: Path) -> None:
    gone = refuses(404, 'namespaces "ocean" not found', "NotFound", kind="namespaces", name="ocean")
    told = await found({**well(), f"POST {DASK}": gone}, tmp_path)
    assert told["namespace"].because == "kubernetes.namespace"
    assert "create namespace ocean" in told["namespace"].text
    assert list(told) == ["server", "rights", "namespace"]


async def test_a_manifest_that_the_server_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    refused = refuses(422, "is invalid", "Invalid", causes=[{"field": "spec.worker.spec.x", "message": "Unknown"}])
    told = await found({**well(), f"POST {DASK}": refused}, tmp_path)
    assert (told["manifest"].mark, told["manifest"].because) == ("fail", "kubernetes.pod")
    assert "spec.worker.spec.x: Unknown" in told["manifest"].text


# The operator


def deployment(ready: int) -> Answer:
    spec = {"template": {"spec": {"containers": [{"image": "ghcr.io/dask/dask-kubernetes-operator:2026.3.0"}]}}}
    metadata = {"name": "op", "namespace": "dask-operator"}
    return says({"items": [{"metadata": metadata, "spec": spec, "status": {"readyReplicas": ready}}]})


async def test_an_operator_that_can_be_seen_is_told_with_its_image(tmp_path: Path) -> None:
    told = await found({**well(), "GET /apis/apps/v1/deployments": deployment(1)}, tmp_path)
    assert told["operator"].mark == "ok"
    assert (
        "op in namespace dask-operator is ready, ghcr.io/dask/dask-kubernetes-operator:2026.3.0"
        in told["operator"].text
    )


async def test_an_operator_that_is_not_ready_is_a_failure(tmp_path: Path) -> None:
    told = await found({**well(), "GET /apis/apps/v1/deployments": deployment(0)}, tmp_path)
    assert told["operator"].mark == "fail"
    assert "kubectl --context sea -n dask-operator describe deployment op" in told["operator"].text


@pytest.mark.parametrize(
    ("clusters", "events", "mark", "words"),
    [
        ([], [], "warn", "whether the operator runs cannot be seen, since it has had nothing to do here: --start tells"),
        ([{**CLUSTER, "status": {}}], [], "fail", "nobody acts on tides"),
        (
            [{**CLUSTER, "metadata": {**CLUSTER["metadata"], "managedFields": [BY_OPERATOR]}}],
            [],
            "ok",
            "it acted on tides",
        ),
        ([], ["eddies-default-worker-0123456789"], "ok", "it acted on eddies"),
        ([], ["web"], "warn", "cannot be seen"),
    ],
)  # fmt: skip
async def test_an_operator_that_cannot_be_seen_is_told_by_its_deeds(
    clusters: list[Any], events: list[str], mark: str, words: str, tmp_path: Path
) -> None:
    happened = [{"involvedObject": {"name": name}, "lastTimestamp": "2026-11-25T12:00:00Z"} for name in events]
    answers = {f"GET {DASK}": says({"items": clusters}), f"GET {NAMESPACE}/events": says({"items": happened})}
    told = await found({**well(), **answers}, tmp_path)
    assert told["operator"].mark == mark
    assert words in told["operator"].text


# What pods name


async def test_what_the_pods_name_must_exist_where_that_can_be_seen(tmp_path: Path) -> None:
    gone = refuses(404, "not found", "NotFound", kind="x")
    answers = {
        f"GET {NAMESPACE}/serviceaccounts/dask": gone,
        "GET /apis/scheduling.k8s.io/v1/priorityclasses/low": CLOSED,
        f"GET {NAMESPACE}/secrets/login": says({"metadata": {"name": "login"}}),
        f"GET {NAMESPACE}/persistentvolumeclaims/data": gone,
    }
    told = await found(
        {**well(), **answers},
        tmp_path,
        service_account="dask",
        priority_class="low",
        image_pull_secrets=["login"],
        volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    assert told["service account"].mark == "fail"
    assert (
        told["service account"].text
        == "there is no dask in namespace ocean; see: kubectl --context sea get serviceaccounts"
    )
    assert told["service account"].because == "kubernetes.service_account"
    assert (told["priority class"].mark, "you may not see" in told["priority class"].text) == ("ok", True)
    assert told["Secret"].text == "login exists"
    assert told["PersistentVolumeClaim"].because == "kubernetes.volumes"


@pytest.mark.parametrize(
    ("route", "mark", "because"),
    [("auto", "warn", "kubernetes.route"), ("port-forward", "fail", "kubernetes.route"), ("direct", "ok", "")],
)
async def test_without_the_right_to_a_tunnel_the_route_must_be_direct(
    route: str, mark: str, because: str, tmp_path: Path
) -> None:
    answers = {**well(), REVIEWS: allowing("create pods/portforward")}
    told = await found(answers, tmp_path, route=route)
    assert (told["route"].mark, told["route"].because) == (mark, because)
    assert told["rights"].mark == ("fail" if route == "port-forward" else "ok")


# Allowances


LIMITS = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
POD = {"containers": [{"name": "worker", "resources": {"limits": LIMITS, "requests": {"cpu": "2"}}}]}
SMALL = {"containers": [{"name": "scheduler", "resources": {"limits": {"cpu": "1", "memory": "2Gi"}}}]}


def quota(used: Mapping[str, str], **hard: str) -> dict[str, Any]:
    named = {name.replace("_", "."): said for name, said in hard.items()}
    return {"metadata": {"name": "team"}, "spec": {"hard": named}, "status": {"hard": named, "used": dict(used)}}


@pytest.mark.parametrize(
    ("there", "mark", "text", "because"),
    [
        (quota({"requests.cpu": "1"}, requests_cpu="20"), "ok", "19 cores of 20 cores left: room for 9 workers", ""),
        (quota({"requests.cpu": "10"}, requests_cpu="20"), "warn", "room for 4 workers, and you ask for up to 8", "worker.cores"),
        (quota({"limits.memory": "16Gi"}, limits_memory="32Gi"), "fail", "room for 0 workers", "worker.memory"),
        (quota({"pods": "3"}, pods="10"), "warn", "7 pods of 10 pods left: room for 6 workers", "workers"),
        (quota({}, **{"requests_nvidia_com/gpu": "2"}), "warn", "2 GPUs of 2 GPUs left: room for 2 workers", "worker"),
        (quota({}, services="5"), "ok", "counts nothing that the pods ask for", ""),
        ({**quota({}, pods="1"), "spec": {"scopes": ["BestEffort"]}}, "ok", "counts only some pods", ""),
    ],
)  # fmt: skip
def test_a_quota_is_told_in_workers(there: dict[str, Any], mark: str, text: str, because: str) -> None:
    [finding] = quotas(Allowance(SMALL, POD, 8), [there])
    assert (finding.mark, finding.because, finding.title) == (mark, because, "quota team")
    assert text in finding.text


def test_limits_of_containers_and_pods_refuse_what_is_larger_or_smaller() -> None:
    rules = [
        {"type": "Container", "max": {"memory": "8Gi"}, "min": {"cpu": "2"}},
        {"type": "Pod", "max": {"cpu": "3"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]
    told = bounds(Allowance(SMALL, POD, 1), [{"metadata": {"name": "bounds"}, "spec": {"limits": rules}}])
    assert [(each.text, each.because) for each in told] == [
        ("bounds: a container must ask for at least 2 cores, the scheduler's asks for 1 core", "kubernetes.scheduler"),
        (
            "bounds: a container may have at most 8 GiB of memory, the worker's asks for 16 GiB of memory",
            "worker.memory",
        ),
        ("bounds: a pod may have at most 3 cores, the worker's asks for 4 cores", "worker.cores"),
    ]
    assert bounds(Allowance(SMALL, SMALL, 1), [{"metadata": {"name": "b"}, "spec": {"limits": rules[1:]}}]) == []


def test_the_rights_that_are_checked_are_those_that_the_lab_gives_its_user() -> None:
    from ruamel.yaml import YAML

    file = Path(__file__).parents[2] / "labs" / "kubernetes" / "rights.yaml"
    [role] = [each for each in YAML(typ="safe").load_all(file) if each["kind"] == "Role"]
    given = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {(on, verb) for on, verbs in {**RIGHTS, **TUNNEL}.items() for verb in verbs} <= given
