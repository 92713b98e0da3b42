"""What ``check`` looks at for Kubernetes: the server, our rights there, the operator, and what the pods need."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from clusterhub import BackendUnavailable, ClusterhubError, ClusterSpec, Finding, SubmitRejected
from clusterhub.display.words import age
from clusterhub_backends.kubernetes.allowances import Allowance, bounds, quotas
from clusterhub_backends.kubernetes.api import KINDS, Api, Forbidden, Json
from clusterhub_backends.kubernetes.manifest import cluster_manifest, secret_name
from clusterhub_backends.kubernetes.objects import last_seen, made, name_of, time_of
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.template import default_image, pods

RIGHTS: Mapping[str, Sequence[str]] = {
    "daskclusters": ("get", "list", "create", "patch", "delete"),
    "daskworkergroups": ("get", "list", "patch"),
    "daskautoscalers": ("get", "list", "create", "patch", "delete"),
    "secrets": ("get", "create", "patch", "delete"),
    "pods": ("get", "list"),
    "pods/log": ("get",),
    "events": ("list",),
    "services": ("get",),
    "deployments": ("list", "delete"),
}
"""What a cluster takes from its start to its end, by kinds."""
TUNNEL: Mapping[str, Sequence[str]] = {"pods/portforward": ("get", "create")}
"""What the way through the API server takes."""
OUTSIDE: Mapping[str, Sequence[str]] = {"services": ("create", "delete")}
"""What a Service for the outside takes."""
OPERATOR = {"app.kubernetes.io/name": "dask-kubernetes-operator"}
"""The labels of the operator's Deployment, as its chart sets them."""
ACTS_WITHIN = timedelta(seconds=20)
"""In which an operator that runs does something about a new DaskCluster; it takes a second."""
_WORKER = re.compile(r"(.+)-default-worker-[0-9a-f]{10}")
"""A Deployment that nobody else makes."""
NAME = "clusterhub-check"
"""What the cluster is called that the server is asked about, and that is not made."""


def findings(spec: ClusterSpec, options: KubernetesOptions) -> Iterator[Finding]:
    """Everything, in the order in which it is told."""
    with ThreadPoolExecutor(max_workers=1) as own:  # the caller may be on a loop, as a notebook is
        yield from own.submit(asyncio.run, _looked(spec, options)).result()


async def _looked(spec: ClusterSpec, options: KubernetesOptions) -> Sequence[Finding]:
    try:
        api = await Api.of(options.kubeconfig, options.context, options.namespace)
    except BackendUnavailable as error:
        because = "kubernetes.kubeconfig" if options.context is None else "kubernetes.context"
        return [Finding("fail", "server", str(error), because)]
    try:
        return [finding async for finding in _all(api, spec, options)]
    finally:
        await api.close()


async def _all(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> AsyncIterator[Finding]:
    try:
        yield Finding("ok", "server", f"{api.place} ({api.server}), Kubernetes {await api.version()}")
    except BackendUnavailable as error:
        yield Finding("fail", "server", str(error), "kubernetes.context")
        return
    try:
        version = await api.dask_version()
    except BackendUnavailable as error:
        yield Finding("fail", "operator", str(error))
        return
    lacking = await _lacking(api, {**_needed(options), **TUNNEL})
    yield _rights(api, lacking, options)
    if "list" in lacking.get("daskclusters", ()):
        return  # it is a place of others, or none at all
    accepted = await _accepted(api, spec, options)
    yield accepted
    if accepted.title == "namespace":
        return
    yield await _operator(api, version)
    for check in (_allowances, _service_account, _priority_class, _secrets):
        for finding in await check(api, spec, options):
            yield finding
    image = options.image or default_image()
    own = "" if options.image else ", of the versions here"
    yield Finding("ok", "image", f"{image}{own}; whether the nodes can pull it, --start tells")
    yield _route(api, lacking, options)


# Rights


def _needed(options: KubernetesOptions) -> Mapping[str, Sequence[str]]:
    if options.service_type == "ClusterIP":
        return RIGHTS
    return {**RIGHTS, "services": (*RIGHTS["services"], *OUTSIDE["services"])}


async def _lacking(api: Api, rights: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """Those that we do not have, by what they are on."""
    asked = [(on, verb) for on, verbs in rights.items() for verb in verbs]
    have = await asyncio.gather(*(api.may(verb, *on.split("/")) for on, verb in asked))
    lacking: dict[str, list[str]] = {}
    for (on, verb), may in zip(asked, have, strict=True):
        if not may:
            lacking.setdefault(on, []).append(verb)
    return lacking


def _rights(api: Api, lacking: Mapping[str, Sequence[str]], options: KubernetesOptions) -> Finding:
    tunnel = TUNNEL if not api.in_cluster and options.route == "port-forward" else {}
    needed = {on: verbs for on, verbs in lacking.items() if on in RIGHTS or on in tunnel}
    if not needed:
        return Finding("ok", "rights", f"all that a cluster takes in namespace {api.namespace}")
    if all(list(lacking.get(on, ())) == list(verbs) for on, verbs in RIGHTS.items()):
        text = f"you may do nothing in namespace {api.namespace}; is it the right one, and does it exist?"
    else:
        rules = [
            f'- apiGroups: ["{KINDS[on.partition("/")[0]].group}"], resources: ["{on}"], verbs: [{", ".join(verbs)}]'
            for on, verbs in needed.items()
        ]
        text = "\n".join([f"you lack some in namespace {api.namespace}; ask for a Role with", *rules])
    return Finding("fail", "rights", text, "kubernetes.namespace")


# The operator


async def _operator(api: Api, version: str) -> Finding:
    """Whether Dask's operator runs: seen by itself where we may, else by what it does."""
    kinds = f"DaskClusters of version {version}"
    try:
        found = await api.list("deployments", labels=OPERATOR, everywhere=True)
    except Forbidden:
        found = ()
    for deployment in found:
        where = f"{name_of(deployment)} in namespace {deployment['metadata']['namespace']}"
        if not (deployment.get("status") or {}).get("readyReplicas"):
            see = f"{api.kubectl} -n {deployment['metadata']['namespace']} describe deployment {name_of(deployment)}"
            return Finding("fail", "operator", f"{kinds}; {where} is not ready: {see}")
        image = deployment["spec"]["template"]["spec"]["containers"][0].get("image", "")
        return Finding("ok", "operator", f"{kinds}; {where} is ready, {image}")
    try:
        events = await api.list("events", fields={"involvedObject.kind": "Deployment"})
    except Forbidden:
        events = ()
    return _by_its_deeds(kinds, await api.list("daskclusters"), events, api.now)


def _by_its_deeds(kinds: str, clusters: Sequence[Json], events: Sequence[Json], now: datetime) -> Finding:
    """It gives each DaskCluster a phase, at once, and makes Deployments for its workers, of which events tell for an hour."""
    ignored = [each for each in clusters if not (each.get("status") or {}).get("phase")]
    old = [name_of(each) for each in ignored if now - made(each) > ACTS_WITHIN]
    if old:
        text = f"{kinds}; nobody acts on {', '.join(old[:3])}: the operator does not run, or not for this namespace"
        return Finding("fail", "operator", text)
    acted = [(moment, name_of(each)) for each in clusters if (moment := _acted(each)) is not None]
    for event in events:
        match = _WORKER.fullmatch(str(event["involvedObject"].get("name", "")))
        if match is not None and (moment := last_seen(event)) is not None:
            acted.append((moment, match[1]))
    if acted:
        moment, name = max(acted)
        return Finding("ok", "operator", f"{kinds}; it acted on {name} {age(moment, now)} ago")
    text = f"{kinds}; whether the operator runs cannot be seen, since it has had nothing to do here: --start tells"
    return Finding("warn", "operator", text)


def _acted(cluster: Json) -> datetime | None:
    """When the operator last changed a DaskCluster."""
    fields = cluster["metadata"].get("managedFields") or ()
    times = [time_of(each.get("time")) for each in fields if each.get("manager") == "kopf"]
    return max(filter(None, times), default=None)


# What the cluster would be


async def _accepted(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> Finding:
    """Whether the server would take such a DaskCluster; it is asked, and makes none."""
    manifest = cluster_manifest(
        NAME, spec, options, uid=NAME, user=NAME, profile="", named=False, kept=False, secret=secret_name(NAME)
    )
    try:
        await api.create("daskclusters", manifest, dry_run=True)
    except Forbidden as error:
        return Finding("fail", "manifest", str(error), "kubernetes.namespace")
    except SubmitRejected as error:
        return Finding("fail", "manifest", str(error), "kubernetes.pod" if "spec." in str(error) else "")
    except BackendUnavailable as error:
        return Finding("fail", "namespace", str(error), "kubernetes.namespace")
    return Finding("ok", "manifest", f"the server would take it in namespace {api.namespace}")


async def _allowances(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> Sequence[Finding]:
    """What quotas leave, and what limits let a container have."""
    made_of = pods(NAME, spec, options, None)
    allowance = Allowance(made_of["scheduler"], made_of["worker"], spec.workers.maximum)
    found: list[Finding] = []
    for kind, judge in (("resourcequotas", quotas), ("limitranges", bounds)):
        try:
            found += judge(allowance, await api.list(kind))
        except Forbidden:
            title = "quota" if kind == "resourcequotas" else "limits"
            found.append(Finding("ok", title, f"you may not see {kind} here; what they refuse, --start tells"))
    return found


async def _service_account(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> Sequence[Finding]:
    name = options.service_account
    return [] if name is None else [await _there(api, "serviceaccounts", name, "kubernetes.service_account")]


async def _priority_class(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> Sequence[Finding]:
    name = options.priority_class
    return [] if name is None else [await _there(api, "priorityclasses", name, "kubernetes.priority_class")]


async def _secrets(api: Api, spec: ClusterSpec, options: KubernetesOptions) -> Sequence[Finding]:
    """Those that the image is pulled with, and what volumes are made of."""
    found = [await _there(api, "secrets", name, "kubernetes.image_pull_secrets") for name in options.image_pull_secrets]
    for volume in options.volumes:
        for field, kind, key in (
            ("persistentVolumeClaim", "persistentvolumeclaims", "claimName"),
            ("secret", "secrets", "secretName"),
            ("configMap", "configmaps", "name"),
        ):
            source: Any = volume.get(field)
            if isinstance(source, Mapping) and not source.get("optional") and source.get(key):
                found.append(await _there(api, kind, str(source[key]), "kubernetes.volumes"))
    return found


async def _there(api: Api, kind: str, name: str, because: str) -> Finding:
    what = KINDS[kind].name
    title = {"ServiceAccount": "service account", "PriorityClass": "priority class"}.get(what, what)
    try:
        there = await api.get(kind, name)
    except Forbidden:
        return Finding("ok", title, f"{name}; you may not see whether it exists, --start tells")
    except ClusterhubError as error:
        return Finding("fail", title, str(error), because)
    if there is None:
        where = f" in namespace {api.namespace}" if KINDS[kind].namespaced else ""
        return Finding("fail", title, f"there is no {name}{where}; see: {api.kubectl} get {kind}", because)
    return Finding("ok", title, f"{name} exists")


def _route(api: Api, lacking: Mapping[str, Sequence[str]], options: KubernetesOptions) -> Finding:
    """How the scheduler will be reached."""
    tunnel = "pods/portforward" not in lacking
    if api.in_cluster:
        return Finding("ok", "route", "direct: we are a pod of the same cluster")
    if options.route == "direct":
        return Finding("ok", "route", "direct, as kubernetes.route says; whether that works, --start tells")
    if tunnel:
        first = "direct where that works, else " if options.route == "auto" else ""
        return Finding("ok", "route", f"{first}through the API server (port-forward), which you may use")
    text = "the scheduler can only be reached directly: you may not use port-forward; whether that works, --start tells"
    return Finding("fail" if options.route == "port-forward" else "warn", "route", text, "kubernetes.route")
