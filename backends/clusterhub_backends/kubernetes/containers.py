"""Why a pod that has its node does not run there, or does not stay: its image, its volumes, its containers' ends, its node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from clusterhub_backends.kubernetes.objects import (
    Events,
    Object,
    amount,
    condition,
    containers_of,
    first_seen,
    is_going,
    last_seen,
    made,
    shown_amount,
    time_of,
)
from clusterhub_backends.kubernetes.trouble import FOR_EVER, PATIENCE, Trouble

PROVEN_AFTER = 120.0
"""Seconds of running after which a container's end is no failed start: it was of use, and is started again."""
OURS = ("scheduler", "worker")
"""What Dask's own containers are called; any other is the user's, or was added by the cluster."""
KEYS_VOLUME = "clusterhub-keys"
"""The volume of the keys, as manifests call it."""

_PULLING = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)  # fmt: skip
_UNREACHED = re.compile(
    r"no such host|server misbehaving|dial tcp|i/o timeout|connection re(?:fused|set)|deadline exceeded|network is unreachable"
    r"|x509|tls:|EOF|50[0234] |failed to do request",
    re.IGNORECASE,
)
_PULL_CAUSES: Sequence[tuple[re.Pattern[str], str, str, float]] = (
    (re.compile(r"too ?many ?requests|rate limit|\b429\b", re.IGNORECASE),
     "its registry has served too many, and serves no more for now", "log in to it with kubernetes.image_pull_secrets, or wait",
     PATIENCE),
    (re.compile(r"no space left on device", re.IGNORECASE), "the disk of its node is full", "ask your site", PATIENCE),
    (re.compile(r"no match for platform|no matching manifest", re.IGNORECASE),
     "there is none for the processors of its node", "take an image for them, or other nodes with kubernetes.node_selector", 0),
    (re.compile(r"insufficient_scope|pull access denied", re.IGNORECASE), "there is none of that name, or it is private",
     "correct it, or say the Secret to pull it with: kubernetes.image_pull_secrets", 0),
    (re.compile(r"unauthori[sz]ed|\b40[13]\b|denied|authentication required|no basic auth", re.IGNORECASE),
     "its registry wants to know who asks", "say the Secret to pull it with: kubernetes.image_pull_secrets", 0),
    (_UNREACHED, "its registry cannot be reached from the node", "is the registry's name right? else ask your site", PATIENCE),
    (re.compile(r"not found|NotFound|manifest unknown|does not exist|\b404\b"), "there is none of that name",
     "correct it; has it that tag?", 0),
)  # fmt: skip
"""By the words of the node: what is the matter, what to do, and for how long it may pass by itself; the first counts."""
_NO_COMMAND = re.compile(
    r'exec: "(?P<command>[^"]+)":? (?P<why>[^:]*not found[^:]*|[^:]*no such file[^:]*)|stat (?P<path>\S+): no such'
)
_MISSING = re.compile(
    r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found|find key (?P<key>\S+) in (?P<what>\w+) \S*?/?(?P<of>[\w.-]+)$'
)
_LOST_NODE = frozenset({"NodeLost", "NodeNotReady"})
_DISRUPTED = {
    "PreemptionByScheduler": "was ended for pods of higher priority",
    "EvictionByEvictionAPI": "was sent away from its node, which is being emptied",
    "DeletionByTaintManager": "was sent away from its node, which is not well or is being emptied",
    "DeletionByPodGC": "is gone with its node",
    "TerminationByKubelet": "was ended by its node, which ran short of something or shut down",
}
"""Why Kubernetes itself ends a pod: reasons of its condition DisruptionTarget."""
_ENDS = {
    "NodeShutdown": "ended with its node, which shut down",
    "Shutdown": "ended with its node, which shut down",
    "Terminated": "ended with its node, which shut down",
    "NodeAffinity": "cannot be on its node any more, whose labels have changed",
    "UnexpectedAdmissionError": "was refused by its node",
}
"""Why a pod as a whole has ended, apart from its containers."""


def ended(pod: Object) -> Trouble | None:
    """Why it has ended, or is being ended, not by us; None where neither."""
    status = pod.get("status") or {}
    target = condition(pod, "DisruptionTarget")
    since = time_of(target.get("lastTransitionTime"))
    if status.get("phase") == "Failed":
        return _failed(pod, str(status.get("reason") or ""), str(status.get("message") or "").strip())
    if target.get("status") == "True" and is_going(pod):
        reason = str(target.get("reason", ""))
        words = _DISRUPTED.get(reason, f"is being ended by Kubernetes ({reason})")
        return Trouble(words, str(target.get("message", "")), since=since, patience=FOR_EVER, ended=True)
    return None


def node_lost(pod: Object, events: Events) -> Trouble | None:
    """Whether its node does not answer any more; it may come back, else the pod is replaced after some minutes."""
    status = pod.get("status") or {}
    mine = [each for each in events.of(pod) if each.get("reason") in _LOST_NODE]
    ready = condition(pod, "Ready")
    unheard = status.get("phase") == "Unknown" or status.get("reason") == "NodeLost"
    if not unheard and not (mine and ready.get("status") != "True" and not ready.get("reason")):
        return None
    source = str(mine[-1].get("message", "")) if mine else str(status.get("message", ""))
    node = (pod.get("spec") or {}).get("nodeName", "")
    return Trouble(
        f"is on node {node}, which does not answer any more", source, "", "it is replaced; kubectl get nodes shows how they are",
        FOR_EVER, time_of(ready.get("lastTransitionTime")), ended=True,
    )  # fmt: skip


def of_containers(pod: Object, events: Events, now: datetime) -> Trouble | None:
    """The first of its containers that does not run, and why; None where all run, or have only just begun."""
    for container in containers_of(pod):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        reason = str(waiting.get("reason", ""))
        if reason in _PULLING:
            return _not_pulled(pod, container, reason, str(waiting.get("message") or ""), events)
        if reason == "CreateContainerConfigError":
            return _unconfigured(pod, container, str(waiting.get("message") or ""))
        last = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
        if last is not None and not state.get("running") and not _has_prepared(pod, container):
            return _died(pod, container, last, now, backs_off=reason == "CrashLoopBackOff")
        if reason not in ("", "ContainerCreating", "PodInitializing"):
            message = str(waiting.get("message") or reason)
            return _no_command(pod, container, message) or Trouble(
                f"container {container.get('name', '')} cannot be started ({reason})", message, since=_begun(pod)
            )
    return None


def _has_prepared(pod: Object, container: Object) -> bool:
    """Whether it is one that prepares the pod, and has done so."""
    first = [each.get("name") for each in (pod.get("status") or {}).get("initContainerStatuses") or ()]
    last = (container.get("state") or {}).get("terminated") or {}
    return container.get("name") in first and last.get("exitCode") == 0


def being_made(pod: Object, events: Events) -> Trouble:
    """What its node is doing for it, which has not started it yet."""
    trouble = None
    for event in events.of(pod):
        message, reason = str(event.get("message", "")), str(event.get("reason", ""))
        if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            trouble = _unmounted(pod, event, message)
        elif reason in ("FailedCreatePodSandBox", "NetworkNotReady"):
            trouble = Trouble(
                "is given no network by its node", message, "", "ask your site", PATIENCE, first_seen(event)
            )
        elif reason == "Pulling":
            trouble = Trouble(
                "waits while its image is being pulled", message, patience=FOR_EVER, since=last_seen(event)
            )
        elif reason in ("Pulled", "Created", "Started"):
            trouble = None
    return trouble or Trouble("is being started by its node", patience=FOR_EVER, since=_begun(pod))


def _begun(pod: Object) -> datetime:
    """When it was given its node."""
    return time_of(condition(pod, "PodScheduled").get("lastTransitionTime")) or made(pod)


def _failed(pod: Object, reason: str, message: str) -> Trouble:
    if reason == "Evicted":
        storage = "storage" in message
        what = "local storage" if storage else "memory" if "memory" in message else "something"
        whose = "it used more than it may" if "exceeds" in message else "its node ran short of it"
        because = "kubernetes.pod" if storage else "worker.memory" if what == "memory" else ""
        step = (
            "ask for more with resources of ephemeral-storage, or spill elsewhere"
            if storage
            else "ask for what it uses"
        )
        return Trouble(f"was evicted for {what}: {whose}", message, because, step, ended=True, exit_code=_code(pod))
    if reason.startswith("OutOf"):
        lacking = f"was refused by its node, which had too little {reason.removeprefix('OutOf')} left"
        return Trouble(lacking, message, "", "it is replaced", ended=True)
    if reason in _ENDS:
        return Trouble(_ENDS[reason], message, "", "it is replaced", ended=True)
    if (dead := of_containers(pod, Events(), datetime.max.replace(tzinfo=made(pod).tzinfo))) is not None:
        return dead
    return Trouble(f"ended badly{f' ({reason})' if reason else ''}", message, ended=True, exit_code=_code(pod))


def _code(pod: Object) -> int | None:
    for container in containers_of(pod):
        last = (container.get("state") or {}).get("terminated")
        if last is not None and container.get("name") in OURS:
            return int(last.get("exitCode", 0))
    return None


def _key(container: Object, ours: str) -> str:
    """The key that decides a thing of a container: ``kubernetes.pod`` where it is none of Dask's."""
    return ours if container.get("name") in OURS else "kubernetes.pod"


def _not_pulled(pod: Object, container: Object, reason: str, message: str, events: Events) -> Trouble:
    image = _image(pod, container)
    failures = [each for each in events.of(pod) if each.get("reason") in ("Failed", "InspectFailed")]
    told = [str(each["message"]) for each in failures if "image" in str(each.get("message", ""))]
    if len(message) < 60 or ": " not in message:  # a mere "Back-off pulling image", as of old
        message = told[-1] if told else message
    since = min(filter(None, map(first_seen, failures)), default=_begun(pod))
    because = _key(container, "kubernetes.image")
    if reason == "InvalidImageName":
        why = message.rpartition("invalid reference format: ")[2] if "invalid reference format: " in message else ""
        words = f"image {image} cannot be meant{f': {why}' if why else ', by its name'}"
        return Trouble(words, message, because, "correct it: registry/name:tag, in small letters", 0, since)
    if reason == "ErrImageNeverPull":
        step = "let it be pulled: kubernetes.image_pull_policy"
        return Trouble(f"image {image} is not on its node, and may not be pulled", message, because, step, 0, since)
    for pattern, why, step, patience in _PULL_CAUSES:
        if pattern.search(message.replace(image, "")):
            return Trouble(f"image {image} cannot be pulled: {why}", message, because, step, patience, since)
    return Trouble(f"image {image} cannot be pulled", message, because, "see the system's own words", PATIENCE, since)


def _image(pod: Object, container: Object) -> str:
    """As it was asked for: a status may tell another of its names."""
    spec = pod.get("spec") or {}
    for each in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if each.get("name") == container.get("name"):
            return str(each.get("image", ""))
    return str(container.get("image", ""))


def _unconfigured(pod: Object, container: Object, message: str) -> Trouble:
    if match := _MISSING.search(message):
        what = (
            f"{match['kind']} {match['name']}"
            if match["kind"]
            else f"key {match['key']} of {match['what']} {match['of']}"
        )
        return Trouble(
            f"is given variables from {what.replace('configmap', 'ConfigMap').replace('secret', 'Secret')}, which does not exist",
            message, "kubernetes.pod", "make it, or name another", PATIENCE, _begun(pod),
        )  # fmt: skip
    if "runAsNonRoot" in message or "non-root" in message:
        return Trouble(
            f"image {_image(pod, container)} runs as root, which is not allowed here", message, "kubernetes.image",
            "take another, or say as whom: kubernetes.pod with securityContext.runAsUser", 0, _begun(pod),
        )  # fmt: skip
    return Trouble(
        f"container {container.get('name', '')} cannot be made as it is asked for", message, "kubernetes.pod",
        "see the system's own words", PATIENCE, _begun(pod),
    )  # fmt: skip


def _unmounted(pod: Object, event: Object, message: str) -> Trouble:
    since = first_seen(event) or _begun(pod)
    if f'volume "{KEYS_VOLUME}"' in message:
        return Trouble(
            "is not given its keys: their Secret is gone", message, "", "make the cluster anew", PATIENCE, since
        )
    match = re.search(r'volume "(?P<volume>[^"]+)"', message)
    volume = f"volume {match['volume']}" if match else "its volumes"
    if missing := _MISSING.search(message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}.get(missing["kind"] or "", "what")
        why = f": {kind} {missing['name'] or missing['of']} does not exist"
    else:
        why = ""
    step = "make it, or name another" if why else "see the system's own words"
    return Trouble(f"cannot be given {volume}{why}", message, "kubernetes.volumes", step, PATIENCE, since)


def _no_command(pod: Object, container: Object, message: str) -> Trouble | None:
    image = _image(pod, container)
    if "exec format error" in message:
        return Trouble(
            f"image {image} is for other processors than its node's", message, _key(container, "kubernetes.image"),
            "take one for them, or other nodes with kubernetes.node_selector", 0, exit_code=128, ended=True,
        )  # fmt: skip
    if (match := _NO_COMMAND.search(message)) is None:
        return None
    command = match["command"] or match["path"]
    return Trouble(
        f"image {image} has no command {command}", message, _key(container, "kubernetes.image"),
        "take an image with Dask 2026.6 or newer, or name its python with environment.python", 0, exit_code=128, ended=True,
    )  # fmt: skip


def _died(pod: Object, container: Object, last: Any, now: datetime, *, backs_off: bool) -> Trouble:
    """How a container ended that does not run now: for good where it ends each time it is started."""
    reason, code = str(last.get("reason", "")), int(last.get("exitCode", 0))
    message, since = str(last.get("message") or ""), time_of(last.get("finishedAt"))
    if (missing := _no_command(pod, container, message)) is not None:
        return missing
    began = time_of(last.get("startedAt"))
    short = began is None or since is None or (since - began).total_seconds() < PROVEN_AFTER
    again = int(container.get("restartCount", 0)) >= 1 or backs_off
    patience = 0.0 if again and short else FOR_EVER
    source = " ".join(filter(None, (reason, f"exit code {code}", message, "CrashLoopBackOff" if backs_off else "")))
    what = "" if container.get("name") in OURS else f"container {container.get('name', '')}: "
    if reason == "OOMKilled":
        limit = _limit(pod, container)
        words = (
            f"{what}out of memory: it outgrew its {limit}" if limit else f"{what}out of memory: its node had none left"
        )
        own = "kubernetes.scheduler" if container.get("name") == "scheduler" else "worker.memory"
        return Trouble(
            words,
            source,
            _key(container, own),
            f"give it more, with {_key(container, own)}",
            patience,
            since,
            code,
            True,
        )
    often = ", each time it is started" if patience == 0 else ""
    if code == 0:
        words = f"{what}ended by itself{often}"
    elif code in (126, 127):
        image = _image(pod, container)
        words = f"{what}ended with exit code {code}: image {image} has no such command, most likely{often}"
        return Trouble(words, source, _key(container, "kubernetes.image"), "see its log", patience, since, code, True)
    else:
        words = f"{what}ended with exit code {code}{often}"
    return Trouble(words, source, "" if not what else "kubernetes.pod", "see its log", patience, since, code, True)


def _limit(pod: Object, container: Object) -> str:
    for each in (pod.get("spec") or {}).get("containers") or ():
        limit = ((each.get("resources") or {}).get("limits") or {}).get("memory")
        if each.get("name") == container.get("name") and limit is not None:
            return shown_amount("memory", amount(limit)).replace(" of memory", "")
    return ""
