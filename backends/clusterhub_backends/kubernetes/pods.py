"""Units and causes from what Kubernetes tells of pods, Deployments and events; pure, of its plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from clusterhub import Failure, Unit, UnitState
from clusterhub.display.words import age
from clusterhub_backends.kubernetes.containers import being_made, ended, node_lost, of_containers
from clusterhub_backends.kubernetes.creation import not_made
from clusterhub_backends.kubernetes.objects import (
    Events,
    Object,
    component_of,
    containers_of,
    deployment_of,
    is_going,
    made,
    name_of,
    time_of,
)
from clusterhub_backends.kubernetes.scheduling import unschedulable
from clusterhub_backends.kubernetes.trouble import FOR_EVER, Trouble

MISSING_AFTER = 60.0
"""Seconds after which a worker whose pod runs should be connected: Python and Dask are imported from a disk that is cold."""
LIKE_ENDS = 3
"""How often pods must have ended alike, one after the other, before that is why there are no workers."""


def units_of(
    pods: Sequence[Object],
    deployments: Sequence[Object],
    events: Sequence[Object],
    workers: Mapping[str, str],
    wanted: int,
    now: datetime,
    *,
    stays: Mapping[str, str] | None = None,
    came: Collection[str] = (),
) -> Sequence[Unit]:
    """One unit for each worker's pod, for each Deployment that has none, and for each worker that is wanted and has neither.

    ``workers`` are the addresses of the connected ones by their names; ``stays`` says of which why they are still here although
    they are to leave; ``came`` are the names of those that have been connected before.
    """
    about = Events(events)
    units = [
        _unit(pod, about, workers, now, stays or {}, came)
        for pod in _of("worker", pods)
        if not _made_good(pod, pods, workers)
    ]
    bare = list(_without_pod(_of("worker", deployments), pods))
    for deployment in bare:
        trouble = not_made(deployment, about)
        units.append(
            Unit(
                name_of(deployment), UnitState.PENDING, trouble.words, trouble.source, trouble.since or made(deployment)
            )
        )
    living = {deployment_of(pod) for pod in _of("worker", pods) if not _is_over(pod)}
    for index in range(wanted - len(living) - len(bare)):
        units.append(Unit(f"+{index + 1}", UnitState.PENDING, "Dask's operator has not made it yet", since=now))
    return units


def cause_of(
    pods: Sequence[Object],
    deployments: Sequence[Object],
    events: Sequence[Object],
    workers: Mapping[str, str],
    wanted: int,
    now: datetime,
    *,
    came: Collection[str] = (),
) -> Failure | None:
    """Why no more workers are to be expected, while fewer than ``wanted`` are connected; None while there may be more.

    That is what does not pass by itself, or had half a minute for it. Where others have what is lacking, or nodes take nothing,
    and workers of ours run, there is no failure: that is so for a while.
    """
    if len(workers) >= wanted:
        return None
    final = [
        (unit, trouble)
        for unit, trouble in _troubles("worker", pods, deployments, Events(events), workers, now, came)
        if trouble.is_final(now) and not (trouble.temporary and workers)
    ]
    final += _repeated_ends(_of("worker", pods), workers)
    return _commonest(final)


def scheduler_trouble(
    pods: Sequence[Object], deployments: Sequence[Object], events: Sequence[Object], now: datetime
) -> Failure | None:
    """Why the scheduler's pod will not run, by the same rules; None while it may."""
    troubles = _troubles("scheduler", pods, deployments, Events(events), None, now, ())
    final = [(unit, trouble) for unit, trouble in troubles if trouble.is_final(now)]
    final += _repeated_ends(_of("scheduler", pods), {})
    return _commonest(final, subject="the scheduler's pod")


def scheduler_standing(
    pods: Sequence[Object], deployments: Sequence[Object], events: Sequence[Object], now: datetime
) -> str:
    """What the scheduler's pod waits for, in a clause; empty where it runs."""
    for _unit_name, trouble in _troubles("scheduler", pods, deployments, Events(events), None, now, ()):
        since = f", for {age(trouble.since, now)}" if trouble.since is not None else ""
        return f"{trouble.of('its pod')}{since}"
    return "" if any(True for _ in _of("scheduler", pods)) else "its pod has not been made yet"


# One pod


def _unit(
    pod: Object,
    events: Events,
    workers: Mapping[str, str],
    now: datetime,
    stays: Mapping[str, str],
    came: Collection[str],
) -> Unit:
    name, worker = name_of(pod), deployment_of(pod)
    where = str((pod.get("spec") or {}).get("nodeName") or "")
    address = workers.get(worker)
    if address is not None and _is_at(pod, address):
        reason = stays.get(worker, "") or ("is ending" if is_going(pod) else "")
        return Unit(name, UnitState.CONNECTED, reason, since=_started(pod), where=where, workers=(address,))
    trouble = _trouble(pod, events, now, worker in came)
    if trouble is None and is_going(pod):
        return Unit(name, UnitState.DONE, "is ending", since=now, where=where)
    if trouble is None:
        return Unit(name, UnitState.RUNNING, "its worker has not connected yet", since=_started(pod), where=where)
    since = trouble.since or made(pod)
    state = _state(pod, trouble, worker in came)
    failure = trouble.failure(name) if state in _BAD else None
    return Unit(name, state, trouble.words, trouble.source, since, where, failure=failure)


_BAD = (UnitState.FAILED, UnitState.MISSING, UnitState.LOST)


def _state(pod: Object, trouble: Trouble, came: bool) -> UnitState:
    if trouble.ended:
        return UnitState.LOST if came else UnitState.FAILED
    if (pod.get("status") or {}).get("phase") == "Running":
        return UnitState.LOST if came else UnitState.MISSING
    return UnitState.PENDING


def _trouble(pod: Object, events: Events, now: datetime, came: bool = False) -> Trouble | None:
    """Why it does not run, or its worker does not connect; None where all is as it should be by now."""
    if (found := ended(pod) or node_lost(pod, events)) is not None:
        return found
    if is_going(pod):
        return None
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Pending" and not (pod.get("spec") or {}).get("nodeName"):
        waits = Trouble("waits to be given a node", since=made(pod), patience=FOR_EVER)
        return unschedulable(pod, events, now) or waits
    if (found := of_containers(pod, events, now)) is not None:
        return found
    if phase == "Pending":
        return being_made(pod, events)
    return _silent(pod, now, came)


def _silent(pod: Object, now: datetime, came: bool) -> Trouble | None:
    """A worker whose container runs, and that is not to be seen."""
    started = _started(pod)
    if component_of(pod) != "worker" or (now - started).total_seconds() < MISSING_AFTER:
        return None
    words = "runs, but its worker is gone" if came else "runs, but its worker never came"
    step = "see its log: can it reach the scheduler, and is its Dask the scheduler's?"
    return Trouble(words, f"running for {age(started, now)}", "", step, FOR_EVER if came else 0, started)


def _started(pod: Object) -> datetime:
    """When its container was started."""
    for container in containers_of(pod):
        running = (container.get("state") or {}).get("running") or {}
        if container.get("name") == component_of(pod) and (moment := time_of(running.get("startedAt"))) is not None:
            return moment
    return time_of((pod.get("status") or {}).get("startTime")) or made(pod)


def _is_at(pod: Object, address: str) -> bool:
    """Whether a worker at ``address`` can be in this pod: of two with the same name, one has ended."""
    addresses = {str(each.get("ip")) for each in (pod.get("status") or {}).get("podIPs") or ()}
    host = urlsplit(address).hostname or ""
    return host in addresses or not (_is_over(pod) or is_going(pod))


def _is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded") or is_going(pod)


def _made_good(pod: Object, pods: Sequence[Object], workers: Mapping[str, str]) -> bool:
    """Whether it has ended, which need not be told any more: another one of its Deployment is connected."""
    if (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded"):
        return False
    worker = deployment_of(pod)
    return worker in workers and any(deployment_of(each) == worker and not _is_over(each) for each in pods)


# All of them


def _of(component: str, things: Sequence[Object]) -> Iterator[Object]:
    return (each for each in things if component_of(each) == component)


def _without_pod(deployments: Iterator[Object], pods: Sequence[Object]) -> Iterator[Object]:
    having = {deployment_of(pod) for pod in pods if not _is_over(pod)}
    return (each for each in deployments if name_of(each) not in having and not is_going(each))


def _troubles(
    component: str,
    pods: Sequence[Object],
    deployments: Sequence[Object],
    events: Events,
    workers: Mapping[str, str] | None,
    now: datetime,
    came: Collection[str],
) -> Iterator[tuple[str, Trouble]]:
    """Those of pods that live and of Deployments without one, by the names of the units that they are of."""
    for pod in _of(component, pods):
        if _is_over(pod) or (workers is not None and deployment_of(pod) in workers):
            continue
        if (trouble := _trouble(pod, events, now, deployment_of(pod) in came)) is not None:
            yield name_of(pod), trouble
    for deployment in _without_pod(_of(component, deployments), pods):
        yield name_of(deployment), not_made(deployment, events)


def _repeated_ends(pods: Iterator[Object], workers: Mapping[str, str]) -> list[tuple[str, Trouble]]:
    """Ends of pods as a whole, of those that have ended alike so often that the next will, too."""
    over = [
        (name_of(pod), trouble)
        for pod in pods
        if deployment_of(pod) not in workers and not is_going(pod) and (trouble := ended(pod)) is not None
    ]
    often = Counter(trouble.words for _, trouble in over)
    return [(unit, trouble) for unit, trouble in over if often[trouble.words] >= LIKE_ENDS]


def _commonest(found: Sequence[tuple[str, Trouble]], subject: str = "") -> Failure | None:
    """What most have in common, as the failure of the first of them."""
    if not found:
        return None
    counts = Counter(trouble.words for _, trouble in found)
    words, count = counts.most_common(1)[0]
    unit, trouble = next((unit, trouble) for unit, trouble in found if trouble.words == words)
    return trouble.failure(unit, count=count, subject=subject)
