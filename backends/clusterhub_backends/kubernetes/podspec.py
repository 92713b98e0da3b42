"""What Kubernetes would not take of an overlay, told before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from clusterhub_backends.kubernetes.overlay import DELETE, KEYS, SCHEDULER, WORKER
from clusterhub_backends.kubernetes.syntax import dns_label, quantity

FORBIDDEN: Mapping[str, str] = {
    "spec": "write what belongs below spec, without spec itself",
    "metadata": "labels and annotations are options of their own: kubernetes.labels, kubernetes.annotations",
    "ephemeralContainers": "they can only be added to a pod that runs",
    "activeDeadlineSeconds": "the pods belong to Deployments, which know no such thing; see lifecycle.max_age",
}
FIELDS = frozenset(
    {
        "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases",
        "hostIPC", "hostNetwork", "hostPID", "hostUsers", "hostname", "hostnameOverride", "imagePullSecrets", "initContainers",
        "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority", "priorityClassName", "readinessGates",
        "resourceClaims", "resources", "restartPolicy", "runtimeClassName", "schedulerName", "schedulingGates", "securityContext",
        "serviceAccount", "serviceAccountName", "setHostnameAsFQDN", "shareProcessNamespace", "subdomain",
        "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
    }
)  # fmt: skip
"""Of a PodSpec of Kubernetes 1.34. Whether the operator's own resources carry a newer one, only the API server knows."""


def problems(overlay: Mapping[str, Any], ours: str | None = None) -> Iterator[str]:
    """What is wrong with it, all at once; ``ours`` is Dask's container in its pods, None where it is for both kinds."""
    for key, value in overlay.items():
        if key in FORBIDDEN:
            yield f"{key}: {FORBIDDEN[key]}"
        elif key not in FIELDS:
            yield f"{key}: no field of a pod{_hint(key)}"
        elif key == "restartPolicy" and value not in (None, "Always"):
            yield "restartPolicy: the pods belong to Deployments, which take nothing but Always"
    for path, key, value in _entries(overlay):
        if (check := _CHECKS.get(key)) is not None and value is not None:
            yield from check(path, key, value)
        elif key.startswith("$") and not (key == DELETE and value == "delete"):
            yield f"{path}: of kubectl's directives there is only $patch: delete, in the items of a list"
    yield from _strangers(overlay.get("containers"), ours)


def _hint(key: str) -> str:
    head, *rest = key.split("_")
    close = get_close_matches(head + "".join(word.capitalize() for word in rest), FIELDS, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _entries(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every key at any depth, with the path to it and what it holds."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            inner = f"{path}.{key}" if path else key
            yield inner, key, below
            yield from _entries(below, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _entries(item, f"{path}[{index}]")


def _list(path: str, field: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        yield f"{path}: must be a list of tables"
        return
    for index, item in enumerate(value):
        told = item.get(KEYS[field])
        if told is None and field == "containers":
            continue  # ours
        if not isinstance(told, str | int) or isinstance(told, bool):
            yield f"{path}[{index}]: must have a {KEYS[field]}, by which it is told from others"
        elif field in ("containers", "initContainers", "volumes"):
            yield from _refused(f"{path}[{index}].name", dns_label, str(told))
        elif field == "env" and not isinstance(item.get("value"), str | None):
            yield f"{path}[{index}].value: must be a text; put it in quotes"


def _resources(path: str, field: str, value: Any) -> Iterator[str]:
    for what in ("limits", "requests"):
        amounts = value.get(what) if isinstance(value, Mapping) else None
        for name, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            if amount is not None:
                yield from _refused(f"{path}.{what}.{name}", quantity, amount)


def _amount(path: str, field: str, value: Any) -> Iterator[str]:
    yield from _refused(path, quantity, value)


def _refused(path: str, rule: Callable[[Any], object], value: Any) -> Iterator[str]:
    try:
        rule(value)
    except ValueError as error:
        yield f"{path}: {error}"


_CHECKS: Mapping[str, Callable[[str, str, Any], Iterator[str]]] = {
    **dict.fromkeys(KEYS, _list),
    "tolerations": lambda path, field, value: iter(() if isinstance(value, list) else (f"{path}: must be a list",)),
    "resources": _resources,
    "sizeLimit": _amount,
}


def _strangers(containers: Any, ours: str | None) -> Iterator[str]:
    """Containers that cannot be meant: of the other kind of pod, or without an image."""
    for index, container in enumerate(containers if isinstance(containers, list) else ()):
        if not isinstance(container, Mapping):
            continue
        name = container.get("name")
        known = (None, ours) if ours is not None else (None, SCHEDULER, WORKER)
        if name in (SCHEDULER, WORKER) and name not in known:
            yield f"containers[{index}]: {name} is not in these pods; leave the name out, or write it below {name}_pod"
        elif name not in known and DELETE not in container and not container.get("image"):
            yield (
                f"containers[{index}]: {name} would be a further container, and needs an image; to change the one of Dask leave"
                " its name out"
            )
