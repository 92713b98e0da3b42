"""What is sent to Kubernetes: the DaskCluster, the Secret with its keys, the DaskAutoscaler; as data, and as text for people."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from clusterhub import ClusterSpec, ConfigError, Plan
from clusterhub.profile.secrets import HIDDEN
from clusterhub.quantities import LARGEST_DURATION
from clusterhub_backends.kubernetes.objects import CLUSTER, COMPONENT
from clusterhub_backends.kubernetes.options import KubernetesOptions, is_secret, without_secrets
from clusterhub_backends.kubernetes.overlay import SCHEDULER, WORKER
from clusterhub_backends.kubernetes.syntax import as_label_value, is_service_name
from clusterhub_backends.kubernetes.template import (
    CA,
    CERT,
    COMM,
    COMM_PORT,
    DASHBOARD,
    DASHBOARD_PORT,
    KEY,
    is_encrypted,
    pods,
    withheld,
)

API_VERSION = "kubernetes.dask.org/v1"
CLUSTER_LABEL, USER_LABEL, UID_LABEL = "clusterhub/cluster", "clusterhub/user", "clusterhub/uid"
NAMED_LABEL, KEPT_LABEL = "clusterhub/named", "clusterhub/kept"
PLAN_ANNOTATION, PROFILE_ANNOTATION = "clusterhub/plan", "clusterhub/profile"
STARTER_ANNOTATION = "clusterhub/starter"
ON_PODS = ""
"""What the pods' annotations hold instead of plan and starter. The operator copies annotations of a DaskCluster to all that it
makes, and only lets others take their place."""


def secret_name(name: str) -> str:
    """The name of the Secret with the keys of cluster ``name``."""
    return f"{name}-clusterhub"


def outside_name(name: str) -> str:
    """The name of the Service by which cluster ``name`` is reached from outside."""
    return f"{name}-outside"


def check_name(name: str) -> None:
    """Raise ConfigError for a name that clusters have elsewhere, and none can have here."""
    if not is_service_name(f"{name}-scheduler"):
        raise ConfigError.of(
            "Kubernetes names the scheduler's Service by it, and those names begin with a letter, and have at most 63"
            " letters, digits and - in all",
            origin="call",
            path=f"name = {name!r}",
        )


def labels_of(name: str, uid: str, user: str) -> dict[str, str]:
    """What everything of a cluster is found by. ``user`` may be any text: see :func:`syntax.as_label_value`."""
    return {CLUSTER_LABEL: name, USER_LABEL: as_label_value(user), UID_LABEL: uid}


def cluster_manifest(
    name: str,
    spec: ClusterSpec,
    options: KubernetesOptions,
    *,
    uid: str,
    user: str,
    profile: str,
    named: bool,
    kept: bool,
    secret: str | None,
    plan: str = "",
    starter: str = "",
) -> dict[str, Any]:
    """The DaskCluster, with the fewest workers of its target. It holds no secret.

    ``secret`` is the name of the Secret that it needs, unless :func:`needs_secret` says that it needs none; ``plan`` is what it
    remembers of itself, see :func:`remembered`, ``starter`` who needs it until it has a caretaker. Raises ConfigError for a
    name that it cannot have.
    """
    check_name(name)
    if secret is None and needs_secret(spec, options):
        raise ValueError("a cluster that is encrypted, or has secrets, needs a Secret")
    made, _ = withheld(pods(name, spec, options, secret), secret)
    own = {key: text for key, text in ((PLAN_ANNOTATION, plan), (STARTER_ANNOTATION, starter)) if text}
    on_pods = {"annotations": {**options.annotations, **dict.fromkeys(own, ON_PODS)}}
    workers = {"replicas": spec.workers.minimum, "metadata": on_pods, "spec": made[WORKER]}
    labels = {NAMED_LABEL: str(named).lower(), KEPT_LABEL: str(kept).lower(), **options.labels}
    annotations = {PROFILE_ANNOTATION: profile, **own, **options.annotations}
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskCluster",
        "metadata": {
            **_metadata(name, options.namespace, {**labels_of(name, uid, user), **labels}),
            "annotations": annotations,
        },
        "spec": {
            "idleTimeout": idle_timeout(spec),
            "scheduler": {"metadata": dict(on_pods), "spec": made[SCHEDULER], "service": _service(name)},
            "worker": workers,
        },
    }


def idle_timeout(spec: ClusterSpec) -> int:
    """Whole seconds, at least 1: 0 would have the operator never ask whether the cluster is idle, and so never end it."""
    timeout = spec.lifecycle.idle_timeout
    return LARGEST_DURATION if timeout == "never" else max(1, math.ceil(timeout))


def _service(name: str, kind: str = "ClusterIP", dashboard: bool = True) -> dict[str, Any]:
    ports = [(COMM, COMM_PORT), *([(DASHBOARD, DASHBOARD_PORT)] if dashboard else [])]
    return {
        "type": kind,
        "selector": {CLUSTER: name, COMPONENT: SCHEDULER},
        "ports": [{"name": port, "protocol": "TCP", "port": number, "targetPort": port} for port, number in ports],
    }


def outside_manifest(
    name: str, options: KubernetesOptions, *, uid: str, user: str, owner: str | None = None
) -> dict[str, Any] | None:
    """The Service by which the scheduler is reached from outside, where one is asked for; ``owner`` as of the Secret.

    It has Dask's port alone, which asks for the keys. The dashboard's asks for nothing, and the operator demands it on the
    Service that it makes itself; so that one stays inside.
    """
    if options.service_type == "ClusterIP":
        return None
    labels = {**labels_of(name, uid, user), **options.labels}
    metadata = _metadata(outside_name(name), options.namespace, labels) | _owned(name, owner)
    if options.annotations:  # by which clouds are told what kind of balancer it is to be
        metadata["annotations"] = dict(options.annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": _service(name, options.service_type, dashboard=False),
    }


def _metadata(name: str, namespace: str | None, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    return metadata | ({"labels": dict(labels)} if labels else {})


def _owned(name: str, owner: str | None) -> dict[str, Any]:
    """It goes when the cluster goes. It does not hold up its owner's deletion: to say so takes a right that users may not have
    (finalizers)."""
    if owner is None:
        return {}
    return {"ownerReferences": [{"apiVersion": API_VERSION, "kind": "DaskCluster", "name": name, "uid": owner}]}


# Its secrets


def needs_secret(spec: ClusterSpec, options: KubernetesOptions) -> bool:
    """Whether the cluster has a Secret: for its keys, or for variables that are secrets."""
    return is_encrypted(spec) or bool(secret_variables(spec, options))


def secret_variables(spec: ClusterSpec, options: KubernetesOptions) -> dict[str, str]:
    """The variables of the pods that no manifest may show, by their key in the Secret."""
    return withheld(pods("any", spec, options, None), None)[1]


def secret_manifest(
    name: str,
    *,
    uid: str,
    user: str,
    ca: str,
    cert: str,
    key: str,
    variables: Mapping[str, str],
    namespace: str | None = None,
    owner: str | None = None,
) -> dict[str, Any]:
    """The Secret of cluster ``name``: its keys, as PEM, none of them where they are empty; and :func:`secret_variables`.

    ``owner`` is the uid that Kubernetes has given to the DaskCluster: then the Secret goes when that goes.
    """
    metadata = _metadata(secret_name(name), namespace, labels_of(name, uid, user)) | _owned(name, owner)
    keys = {file: text for file, text in ((CA, ca), (CERT, cert), (KEY, key)) if text}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "stringData": {**keys, **variables},
    }


def hidden_secret_manifest(
    name: str, spec: ClusterSpec, options: KubernetesOptions, *, uid: str, user: str
) -> dict[str, Any]:
    """The Secret as a plan shows it: everything is in its place, and hidden."""
    pem = HIDDEN if is_encrypted(spec) else ""
    variables = dict.fromkeys(secret_variables(spec, options), HIDDEN)
    return secret_manifest(
        name, uid=uid, user=user, ca=pem, cert=pem, key=pem, variables=variables, namespace=options.namespace
    )


def remembered(plan: Plan[KubernetesOptions]) -> str:
    """What a cluster remembers of its plan: JSON that ``Plan`` reads back, without what is a secret or can be made again."""
    data = plan.model_dump(mode="json", by_alias=True, exclude={"documents", "summary", "tls", "dashboard_prefix"})
    variables = data["spec"]["environment"]["variables"]
    data["spec"]["environment"]["variables"] = {
        key: HIDDEN if is_secret(key, value) else value for key, value in variables.items()
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


# Its range


def autoscaler_manifest(
    name: str,
    minimum: int,
    maximum: int,
    *,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    owner: str | None = None,
) -> dict[str, Any]:
    """The DaskAutoscaler of cluster ``name``, which has the operator follow its load; ``owner`` as of the Secret."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskAutoscaler",
        "metadata": _metadata(name, namespace, labels or {}) | _owned(name, owner),
        "spec": {"cluster": name, "minimum": minimum, "maximum": maximum},
    }


# For people

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9./_-]*( [A-Za-z0-9./_-]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What is no text to YAML 1.1, which kubectl reads."""


def manifest_text(*manifests: Mapping[str, Any]) -> str:
    """The manifests as YAML, in the order in which they are written here; secrets are hidden. What it reads back to is what
    Kubernetes would be sent, by YAML 1.1 and by 1.2."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 2**16
    yaml.representer.ignore_aliases = lambda data: True
    texts = []
    for manifest in manifests:
        stream = io.StringIO()
        shown = without_secrets(manifest)
        if manifest["kind"] == "Secret":
            shown["stringData"] = dict.fromkeys(manifest["stringData"], HIDDEN)
        yaml.dump(_quoted(shown), stream)
        texts.append(stream.getvalue())
    return "---\n".join(texts)


def _quoted(value: Any) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {_quoted(key): _quoted(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(item) for item in value]
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in _WORDS):
        return DoubleQuotedScalarString(value)
    return value
