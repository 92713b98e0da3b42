"""Overlays: parts of a pod that a person writes, laid over the pod that we make.

The rules are those of ``kubectl patch``, as far as people meet them: tables merge, what is listed by name (or by the like) merges
item by item, null takes something out, ``$patch: delete`` takes an item out, and everything else replaces what was there. One is
kinder than Kubernetes': tolerations are added to those that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SCHEDULER, WORKER = "scheduler", "worker"
"""How the containers are called that Dask runs in."""
KEYS: Mapping[str, str] = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "imagePullSecrets": "name",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort",
}  # fmt: skip
"""The lists whose items are told apart, each with the key that does it."""
DELETE = "$patch"
"""The key of an item that, with the value ``delete``, has it taken out."""
_ONE_OF = frozenset({"env", "volumes", "valueFrom"})
"""What holds one kind of content, and perhaps a name: another kind takes the place of the one that was there."""


def laid_over(pod: Mapping[str, Any], overlay: Mapping[str, Any], ours: str) -> dict[str, Any]:
    """The pod with the overlay; neither is changed. ``ours`` is the name of Dask's container in it.

    A container of the overlay without a name is that one; one with the name of Dask's container in the other kind of pod is
    left out. Laying nothing over a pod, or the same a second time, changes nothing.
    """
    if overlay.get("containers"):
        overlay = {**overlay, "containers": list(_of_this_pod(overlay["containers"], ours))}
    return _merged(pod, overlay)


def _of_this_pod(containers: Sequence[Mapping[str, Any]], ours: str) -> Iterator[Mapping[str, Any]]:
    other = SCHEDULER if ours == WORKER else WORKER
    for container in containers:
        named = {"name": ours, **container}
        if named["name"] != other:
            yield named


def _merged(below: Mapping[str, Any], above: Mapping[str, Any], *, one_of: bool = False) -> dict[str, Any]:
    if one_of and not above.keys() - {"name"} <= below.keys():
        below = {key: value for key, value in below.items() if key in above}
    result = dict(below)
    for key, value in above.items():
        there = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = _merged(there if isinstance(there, Mapping) else {}, value, one_of=key in _ONE_OF)
        elif key in KEYS:
            result[key] = _merged_list(key, there or (), value)
        elif key == "tolerations":
            result[key] = _added(there or (), value)
        else:
            result[key] = value
    return result


def _merged_list(field: str, below: Sequence[Any], above: Sequence[Any]) -> list[Any]:
    result = {identity(field, item): item for item in below}
    for item in above:
        if item.get(DELETE) == "delete":
            result.pop(identity(field, item), None)
        else:
            there = result.get(identity(field, item), {})
            result[identity(field, item)] = _merged(there, item, one_of=field in _ONE_OF)
    return list(result.values())


def identity(field: str, item: Mapping[str, Any]) -> object:
    """What tells the item of that list from the others."""
    if field == "ports":  # one may be open for two protocols, which kubectl patch mixes up
        return item.get(KEYS[field]), item.get("protocol", "TCP")
    return item.get(KEYS[field])


def _added(below: Sequence[Any], above: Sequence[Any]) -> list[Any]:
    result = list(below)
    for item in above:
        if item not in result:
            result.append(item)
    return result
