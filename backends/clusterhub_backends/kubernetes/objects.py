"""How the JSON of Kubernetes' objects is read: names, times, amounts, and which events belong to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from clusterhub import Bytes

Object = Mapping[str, Any]
CLUSTER, COMPONENT = "dask.org/cluster-name", "dask.org/component"
"""The operator's labels: of which cluster something is; what tells schedulers from workers."""
_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def name_of(thing: Object) -> str:
    """Its name."""
    return str(thing["metadata"]["name"])


def component_of(thing: Object) -> str:
    """``scheduler`` or ``worker``; empty for what is none of the operator's."""
    return str((thing["metadata"].get("labels") or {}).get(COMPONENT, ""))


def deployment_of(pod: Object) -> str:
    """The Deployment that a pod is of, which is what Dask's worker is called.

    By its ReplicaSet, whose name is the Deployment's with a hash: those of pods are cut at 63 letters.
    """
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("kind") == "ReplicaSet":
            return str(owner["name"]).rpartition("-")[0]
    return name_of(pod).rpartition("-")[0].rpartition("-")[0]


def is_going(thing: Object) -> bool:
    """Whether it was told to end."""
    return bool(thing["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    """Whether it is ready by its own probe."""
    return condition(pod, "Ready").get("status") == "True"


def time_of(text: Any) -> datetime | None:
    """A moment as Kubernetes writes it."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def made(thing: Object) -> datetime:
    """When it came to be."""
    return time_of(thing["metadata"].get("creationTimestamp")) or datetime.now(UTC)


def condition(thing: Object, kind: str) -> Object:
    """Its condition of that type; empty where it has none."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def containers_of(pod: Object) -> Sequence[Object]:
    """The statuses of its containers, those that prepare it first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


class Events:
    """The events of a namespace, sorted once by what they are about: thousands of pods may wait, each with events of its own."""

    def __init__(self, told: Sequence[Object] = ()) -> None:
        self._about: dict[str, list[Object]] = {}
        self._refused: dict[str, list[Object]] = {}
        for event in told:
            subject = event.get("involvedObject") or {}
            self._about.setdefault(str(subject.get("uid")), []).append(event)
            if event.get("reason") == "FailedCreate":
                self._refused.setdefault(str(subject.get("name", "")).rpartition("-")[0], []).append(event)

    def of(self, thing: Object) -> Sequence[Object]:
        """Those that are about it, the latest last."""
        mine = self._about.get(str(thing["metadata"].get("uid")), [])
        return sorted(mine, key=lambda each: last_seen(each) or datetime.min.replace(tzinfo=UTC))

    def refused(self, deployment: Object) -> Sequence[Object]:
        """Those that tell of a pod which could not be made for it, in the order in which they came."""
        return self._refused.get(name_of(deployment), [])


def last_seen(event: Object) -> datetime | None:
    """When an event happened, for the last time: kinds of reporters write it into different fields."""
    series = event.get("series") or {}
    told = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return next((moment for each in told if each and (moment := time_of(each))), None)


def first_seen(event: Object) -> datetime | None:
    """When an event happened for the first time."""
    told = (event.get("firstTimestamp"), event.get("eventTime"), event.get("lastTimestamp"))
    return next((moment for each in told if each and (moment := time_of(each))), None)


def amount(quantity: Any) -> float:
    """A quantity of Kubernetes' as a number: ``100m`` is 0.1, ``2Ki`` is 2048."""
    text = str(quantity).strip()
    number = text.rstrip("numkKMGTPEi") if not _is_scientific(text) else text
    return float(number) * _SUFFIXES[text[len(number) :]]


def _is_scientific(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def requested(pod: Object, resource: str) -> float:
    """How much of ``resource`` all its containers together ask for."""
    total = 0.0
    for container in (pod.get("spec") or {}).get("containers") or ():
        resources = container.get("resources") or {}
        said = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource, 0))
        total += amount(said)
    return total


def shown_amount(resource: str, number: float) -> str:
    """``4 cores``, ``16 GiB of memory``, ``2 GPUs``, ``3 of example.org/chip``."""
    if resource == "cpu":
        return "1 core" if number == 1 else f"{number:g} cores"
    if resource in ("memory", "ephemeral-storage"):
        return f"{Bytes(int(number))} of {'memory' if resource == 'memory' else 'local storage'}"
    if resource.endswith("/gpu"):
        return "1 GPU" if number == 1 else f"{number:g} GPUs"
    return f"{number:g} of {resource}"
