"""Why a Deployment has no pod: quotas, limits, a site's own rules, and what a pod names that is not there."""

from __future__ import annotations

import re

from clusterhub_backends.kubernetes.objects import (
    Events,
    Object,
    amount,
    component_of,
    condition,
    last_seen,
    made,
    shown_amount,
    time_of,
)
from clusterhub_backends.kubernetes.refusals import LACKING, POLICY, QUOTA
from clusterhub_backends.kubernetes.trouble import FOR_EVER, PATIENCE, Trouble

_BOUNDS = re.compile(
    r"(?P<end>maximum|minimum) (?P<what>[\w./-]+) usage per (?P<per>Container|Pod) is (?P<bound>\w+)"
    r"(?:, but (?:limit|request) is (?P<said>\w+))?"
)
_KEYS = {"cpu": "worker.cores", "memory": "worker.memory", "pods": "workers"}


def not_made(deployment: Object, events: Events) -> Trouble:
    """Why it has no pod yet."""
    failing = condition(deployment, "ReplicaFailure")
    since = time_of(failing.get("lastTransitionTime")) or made(deployment)
    message = str(failing.get("message") or "") if failing.get("status") == "True" else _told(deployment, events)
    if not message:
        return Trouble("waits for Kubernetes to make its pod", since=since, patience=FOR_EVER)
    words, because, next_step, patience = _refused(message)
    if component_of(deployment) == "scheduler" and because.startswith("worker"):
        because = "kubernetes.scheduler"
    return Trouble(words, message, because, next_step, patience, since)


def _told(deployment: Object, events: Events) -> str:
    """The latest event about a ReplicaSet of it that could make no pod: it comes before the condition."""
    found = [
        each for each in events.refused(deployment) if (seen := last_seen(each)) is None or seen >= made(deployment)
    ]
    return str(found[-1].get("message", "")).partition("Error creating: ")[2] if found else ""


def _refused(message: str) -> tuple[str, str, str, float]:
    """In our words, the key that decides it, what to do, and for how long it may pass by itself."""
    text = re.sub(r'^pods "[^"]*" is forbidden: ', "", message)
    if match := QUOTA.search(text):
        asked = _amounts(match["requested"])
        what = ", ".join(f"{_shown(name, said)}" for name, said in asked.items())
        used = ", ".join(
            f"{_shown(name, said)} of {_shown(name, _amounts(match['limited']).get(name, '0'))}"
            for name, said in _amounts(match["used"]).items()
        )
        key = next((_KEYS[resource] for name in asked if (resource := name.rpartition(".")[2]) in _KEYS), "worker")
        words = f"is over the quota {match['name']} of the namespace: asks for {what}, {used} in use"
        return words, key, "end what is not needed, ask for less, or for a larger quota", PATIENCE
    if match := LACKING.search(text):
        words = f"must say {match['what']}, which the quota {match['name']} of the namespace counts"
        return words, "kubernetes.pod", "say it in its resources", 0
    if match := _BOUNDS.search(text):
        per = "pod" if match["per"] == "Pod" else "container"
        said = f", it asks for {_shown(match['what'], match['said'])}" if match["said"] else ""
        most = "may have at most" if match["end"] == "maximum" else "must ask for at least"
        words = f"is refused: in this namespace a {per} {most} {_shown(match['what'], match['bound'])}{said}"
        return words, _KEYS.get(match["what"], "kubernetes.pod"), "see: kubectl describe limitrange", 0
    if match := re.search(r'serviceaccount "([^"]+)" not found', text):
        return f"service account {match[1]} does not exist", "kubernetes.service_account", "make it, or name another", 0
    if match := re.search(r"no PriorityClass with name (\S+) was found", text):
        step = "see which there are: kubectl get priorityclasses"
        return f"priority class {match[1]} does not exist", "kubernetes.priority_class", step, 0
    if match := re.search(r'violates PodSecurity "([^"]+)": (.*)', text, re.DOTALL):
        words = f"is refused: the namespace lets in only pods that are {match[1].partition(':')[0]}"
        return words, "kubernetes.pod", "give it the securityContext that the system's own words ask for", 0
    if match := POLICY.search(text):
        rule = f"webhook {match['webhook']}" if match["webhook"] else f"policy {match['policy']}"
        return (
            f"is refused by the cluster's own rules ({rule}): {match['why'] or 'no reason given'}",
            "",
            "ask your site",
            0,
        )
    if "failed calling webhook" in text:
        return "cannot be let in: a webhook of the cluster does not answer", "", "ask your site", PATIENCE
    return "cannot be made", "kubernetes.pod", "see the system's own words", PATIENCE


def _amounts(text: str) -> dict[str, str]:
    return dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)


def _shown(name: str, said: str) -> str:
    """``requests.cpu=100m`` as ``0.1 cores``, ``pods=3`` as ``3 pods``."""
    resource = name.rpartition(".")[2] if name.startswith(("requests.", "limits.")) else name
    try:
        number = amount(said)
    except (ValueError, KeyError):
        return f"{said} {resource}"
    if resource in ("cpu", "memory", "ephemeral-storage") or resource.endswith("/gpu"):
        return shown_amount(resource, number)
    return f"{number:g} {resource}"
