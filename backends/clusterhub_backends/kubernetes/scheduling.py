"""Why no node takes a pod, from the scheduler's own sentence: ``0/3 nodes are available: 2 Insufficient cpu, …``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from clusterhub_backends.kubernetes.objects import (
    Events,
    Object,
    condition,
    last_seen,
    made,
    requested,
    shown_amount,
    time_of,
)
from clusterhub_backends.kubernetes.trouble import FOR_EVER, PATIENCE, Trouble

SCALE_UP_PATIENCE = 600.0
"""Seconds in which a node comes that the cluster's autoscaler has ordered; minutes are usual."""
SCALES_UP = frozenset({"TriggeredScaleUp", "Nominated"})
"""Events of an autoscaler that has ordered a node: of cluster-autoscaler, and of Karpenter."""

_REASON = re.compile(
    r"(?P<nodes>\d+) (?P<what>Insufficient [\w./-]+|Too many pods|node\(s\) (?:[^,.{]|\.(?=\w))+(?:\{[^}]*\})?)"
)
_UNFIT = re.compile(
    r"Too many pods|untolerated taint(?:\(s\)| \{node\.kubernetes\.io/)|were unschedulable|no nodes available"
)
"""What comes over nodes that have taken such pods before: they are full, are drained, or were not heard of for a while, as after
an outage of the API server. Which taint that is Kubernetes 1.34 does not tell."""
_PREEMPTION = re.compile(r"preemption: (?P<text>.*)", re.DOTALL)
_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" (?P<what>not found|is being deleted)')
_KEYS = {"cpu": "worker.cores", "memory": "worker.memory"}


def unschedulable(pod: Object, events: Events, now: datetime) -> Trouble | None:
    """Why it waits for a node; None where it has one, or nobody has looked at it yet."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    source = " ".join(str(scheduled.get("message", "")).split())
    since = time_of(scheduled.get("lastTransitionTime")) or made(pod)
    if scheduled.get("reason") == "SchedulingGated":
        return Trouble(
            "is held back until another system lets it go (scheduling gate)", source, patience=FOR_EVER, since=since
        )
    if scheduled.get("reason") != "Unschedulable":
        return Trouble("cannot be given a node", source, since=since)
    found = _of_claims(source) or _of_nodes(pod, source)
    words, because, next_step = found
    if node := (pod.get("status") or {}).get("nominatedNodeName"):
        words = f"waits while pods of lower priority are ended for it on {node}"
        return Trouble(words, source, because, next_step, FOR_EVER, since)
    ordered = _scale_up(pod, events, now)
    if ordered:
        return Trouble(
            f"{words}; the cluster is adding a node", f"{source} {ordered}".strip(), because, next_step, FOR_EVER, since
        )
    temporary = not _never(source) if "Insufficient" in source else _UNFIT.search(source) is not None
    return Trouble(words, source, because, next_step, PATIENCE, since, temporary=temporary)


def _scale_up(pod: Object, events: Events, now: datetime) -> str:
    """An autoscaler's own words, where it has ordered a node, and has not said since that it cannot."""
    told = ""
    for event in events.of(pod):
        seen = last_seen(event)
        if event.get("reason") in SCALES_UP and seen is not None:
            told = str(event.get("message", "")) if now - seen < timedelta(seconds=SCALE_UP_PATIENCE) else ""
        elif event.get("reason") == "NotTriggerScaleUp":
            told = ""
    return told


def _of_claims(source: str) -> tuple[str, str, str] | None:
    if match := _CLAIM.search(source):
        gone = "does not exist" if match["what"] == "not found" else "is being deleted"
        return (
            f"volume claim {match['name']} {gone}",
            "kubernetes.volumes",
            "name one that exists in its namespace: kubectl get pvc",
        )
    if "unbound immediate PersistentVolumeClaims" in source:
        return "its volume claims have no volume yet", "kubernetes.volumes", "see: kubectl get pvc"
    return None


def _of_nodes(pod: Object, source: str) -> tuple[str, str, str]:
    """Of several reasons the one that came last counts: a node that lacks cores is one that the pod could be on otherwise."""
    nodes = _PREEMPTION.sub("", source)
    reasons = [(int(match["nodes"]), match["what"].strip()) for match in _REASON.finditer(nodes)]
    lacking = [what.partition(" ")[2].rstrip(".") for _, what in reasons if what.startswith("Insufficient")]
    if lacking:
        return _lacking(pod, lacking, source)
    if any(what == "Too many pods" for _, what in reasons):
        return "finds every node full: they have as many pods as they may", "", "ask your site, or try again later"
    for _, what in reasons:
        for pattern, found in _ON_NODES:
            if match := re.search(pattern, what):
                words, because, next_step = found
                return words.format(*match.groups()), because, next_step
    if "no nodes available" in source:
        return "finds no node at all: the cluster has none", "", "ask your site"
    return "finds no node that takes it", "kubernetes.pod", "see the system's own words"


def _lacking(pod: Object, resources: Sequence[str], source: str) -> tuple[str, str, str]:
    needed = [shown_amount(each, requested(pod, each)) for each in dict.fromkeys(resources)]
    never = _never(source)
    much = all(each in ("memory", "ephemeral-storage") for each in resources)
    has = f"has so {'much' if much else 'many'}" if never else f"has {'it' if much else 'them'} free"
    one = f"needs {' and '.join(needed)}, no node {has}"
    key = _KEYS.get(resources[0], "worker.gpus" if resources[0].endswith("/gpu") else "kubernetes.pod")
    if (pod["metadata"].get("labels") or {}).get("dask.org/component") == "scheduler":
        key = "kubernetes.scheduler"
    return one, key, "ask for less" if never else "ask for less, or try again when others have ended"


def _never(source: str) -> bool:
    """Whether no node would have enough, were it empty: since Kubernetes 1.31 the scheduler tells that apart."""
    return "Preemption is not helpful" in source and "No preemption victims" not in source


_ON_NODES: Sequence[tuple[str, tuple[str, str, str]]] = (
    (
        r"untolerated taint \{node\.kubernetes\.io/(?:not-ready|unreachable)",
        ("finds its nodes not ready", "", "ask your site; kubectl get nodes shows them"),
    ),
    (
        r"didn't match Pod's node affinity|didn't match (?:PersistentVolume|pod) .*affinity",
        (
            "finds no node with the labels that it asks for",
            "kubernetes.node_selector",
            "see which there are: kubectl get nodes --show-labels",
        ),
    ),
    (
        r"untolerated taint \{([^}]*?)(?:: )?\}",
        (
            "finds no node that takes it: they are kept for others, by the taint {0}",
            "kubernetes.tolerations",
            "tolerate it, if you may",
        ),
    ),
    (
        r"untolerated taint",  # which one, Kubernetes 1.34 does not tell any more
        (
            "finds no node that takes it: they have taints that it does not tolerate",
            "kubernetes.tolerations",
            "see them, and tolerate those that you may: kubectl describe nodes",
        ),
    ),
    (r"were unschedulable", ("finds its nodes closed to new pods", "", "ask your site; kubectl get nodes shows them")),
    (
        r"volume node affinity conflict|exceed max volume count",
        ("finds no node that its volumes can be on", "kubernetes.volumes", "see: kubectl get pv"),
    ),
    (r"free ports", ("finds no node with its port free", "kubernetes.pod", "leave out hostPort and hostNetwork")),
    (r"topology spread", ("finds no node that keeps its spread", "kubernetes.pod", "see topologySpreadConstraints")),
)
"""What else stands in the way, by the scheduler's own words; the first that fits counts."""
