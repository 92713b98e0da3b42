"""What a namespace lets pods have, set against what a cluster's pods ask for: quotas, and limits of single containers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clusterhub import Finding
from clusterhub.display.words import counted
from clusterhub_backends.kubernetes.objects import Object, amount, name_of, shown_amount

KEYS = {"cpu": "worker.cores", "memory": "worker.memory", "pods": "workers"}
"""The key of a profile that decides how much of it a worker takes."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a cluster asks for."""

    scheduler: Object
    """The spec of the scheduler's pod, as of a worker's."""
    worker: Object
    workers: int

    def each(self, resource: str) -> float:
        """How much of what a quota counts one worker takes."""
        return _taken(self.worker, resource)

    def once(self, resource: str) -> float:
        """How much of it the scheduler takes."""
        return _taken(self.scheduler, resource)


def quotas(asked: Allowance, there: Sequence[Object]) -> Sequence[Finding]:
    """For each quota how many of the workers it has room for at present, and what decides that."""
    return [_quota(asked, quota) for quota in there]


def bounds(asked: Allowance, there: Sequence[Object]) -> Sequence[Finding]:
    """What limits of containers and pods refuse of them; nothing where they let them be."""
    return [
        Finding("fail", "limits", f"{name_of(limits)}: {text}", because)
        for limits in there
        for text, because in _bound(asked, limits)
    ]


def _quota(asked: Allowance, quota: Object) -> Finding:
    title = f"quota {name_of(quota)}"
    status, spec = quota.get("status") or {}, quota.get("spec") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return Finding("ok", title, "counts only some pods; whether these, --start tells")
    hard, used = status.get("hard") or spec.get("hard") or {}, status.get("used") or {}
    room: dict[str, int] = {}
    shown: list[str] = []
    for resource, most in hard.items():
        left = amount(most) - amount(used.get(resource, 0))
        if asked.each(resource):
            room[resource] = max(0, math.floor((left - asked.once(resource)) / asked.each(resource) + 1e-9))
            shown.append(f"{_shown(resource, left)} of {_shown(resource, amount(most))} left")
    if not room:
        return Finding("ok", title, "counts nothing that the pods ask for")
    decides = min(room, key=lambda each: room[each])
    text = f"{', '.join(shown)}: room for {counted(room[decides], 'worker')}"
    if room[decides] >= asked.workers:
        return Finding("ok", title, text)
    because = KEYS.get(decides.rpartition(".")[2], "worker")
    return Finding(
        "warn" if room[decides] else "fail", title, f"{text}, and you ask for up to {asked.workers}", because
    )


def _bound(asked: Allowance, limits: Object) -> Iterator[tuple[str, str]]:
    for rule in (limits.get("spec") or {}).get("limits") or ():
        for component, pod in (("scheduler", asked.scheduler), ("worker", asked.worker)):
            for resource, said, who in _of_rule(rule, pod):
                key = "kubernetes.scheduler" if component == "scheduler" else KEYS.get(resource, "kubernetes.pod")
                own = f"the {component}'s asks for {_shown(resource, said)}"
                most, least = (rule.get("max") or {}).get(resource), (rule.get("min") or {}).get(resource)
                if most is not None and said > amount(most):
                    yield f"{who} may have at most {_shown(resource, amount(most))}, {own}", key
                if least is not None and said < amount(least):
                    yield f"{who} must ask for at least {_shown(resource, amount(least))}, {own}", key


def _of_rule(rule: Mapping[str, object], pod: Object) -> Iterator[tuple[str, float, str]]:
    """What the pod, or each of its containers, has of all that a rule tells of."""
    told = {*_names(rule.get("max")), *_names(rule.get("min"))}
    containers = pod.get("containers") or ()
    for resource in sorted(told):
        amounts = [_most(container, resource) for container in containers]
        if rule.get("type") == "Container":
            yield from ((resource, said, "a container") for said in amounts if said)
        elif rule.get("type") == "Pod" and any(amounts):
            yield resource, sum(amounts), "a pod"


def _names(table: object) -> Sequence[str]:
    return list(table) if isinstance(table, Mapping) else ()


def _most(container: Object, resource: str) -> float:
    resources = container.get("resources") or {}
    said = (resources.get("limits") or {}).get(resource, (resources.get("requests") or {}).get(resource, 0))
    return amount(said)


def _taken(pod: Object, resource: str) -> float:
    """What a pod takes of what a quota counts: ``pods``, ``requests.cpu``, ``limits.memory``, ``cpu``."""
    if resource in ("pods", "count/pods"):
        return 1
    kind, _, name = (
        resource.partition(".") if resource.startswith(("requests.", "limits.")) else ("requests", "", resource)
    )
    total = 0.0
    for container in pod.get("containers") or ():
        resources = container.get("resources") or {}
        other = resources.get("limits") or {} if kind == "requests" else {}  # a limit alone is the request, too
        total += amount((resources.get(kind) or {}).get(name, other.get(name, 0)))
    return total


def _shown(resource: str, number: float) -> str:
    name = resource.partition(".")[2] if resource.startswith(("requests.", "limits.")) else resource
    return f"{number:g} pods" if name in ("pods", "count/pods") else shown_amount(name, number)
