"""What there is in a namespace, for whoever lists clusters: read off its objects, and asked of the clusters' caretakers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from clusterhub import Ref, Sighting, Workers
from clusterhub.elsewhere import moments
from clusterhub.keeper.identity import Life
from clusterhub_backends.kubernetes.api import Api
from clusterhub_backends.kubernetes.ending import stuck
from clusterhub_backends.kubernetes.manifest import KEPT_LABEL, PROFILE_ANNOTATION, USER_LABEL
from clusterhub_backends.kubernetes.objects import CLUSTER, COMPONENT, Object, is_going, is_ready, made, name_of
from clusterhub_backends.kubernetes.starter import gone, starter_of
from clusterhub_backends.kubernetes.syntax import as_label_value
from clusterhub_backends.kubernetes.template import DASHBOARD_PORT
from clusterhub_backends.kubernetes.tunnel import Tunnel
from clusterhub_backends.kubernetes.user import user

if TYPE_CHECKING:
    import httpx

LIFE = "/clusterhub/life"
"""Where a caretaker tells how its cluster fares."""
PATIENCE = 1.2
"""Seconds in which it does, to whoever lists clusters: all together have two."""


@dataclass(frozen=True)
class Surroundings:
    """What belongs to the DaskClusters of a namespace, by their names."""

    schedulers: Mapping[str, Object]
    groups: Mapping[str, Object]
    scalers: Mapping[str, Object]


async def sightings(api: Api) -> Sequence[Sighting]:
    """The DaskClusters of this user in the namespace, and those that nobody has labelled."""
    clusters, schedulers, groups, scalers = await asyncio.gather(
        api.list("daskclusters"),
        api.list("pods", labels={COMPONENT: "scheduler"}),
        api.list("daskworkergroups"),
        api.list("daskautoscalers"),
    )
    around = Surroundings(
        {_labels(pod).get(CLUSTER, ""): pod for pod in schedulers if not is_going(pod)},
        {name_of(group): group for group in groups},
        {str(scaler["spec"]["cluster"]): scaler for scaler in scalers},
    )
    mine = [cluster for cluster in clusters if _is_ours(cluster)]
    if not mine:
        return ()
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        return await asyncio.gather(*(_sighting(api, client, cluster, around) for cluster in mine))


def _is_ours(cluster: Object) -> bool:
    return _labels(cluster).get(USER_LABEL, as_label_value(user())) == as_label_value(user())


def _labels(thing: Object) -> Mapping[str, str]:
    return thing["metadata"].get("labels") or {}


async def _sighting(api: Api, client: httpx.AsyncClient, cluster: Object, around: Surroundings) -> Sighting:
    name, labels = name_of(cluster), _labels(cluster)
    scheduler = around.schedulers.get(name)
    ready = scheduler is not None and is_ready(scheduler)
    life = await told(api, client, scheduler) if scheduler is not None and ready and not is_going(cluster) else {}
    idle_since, ends = moments(life or {})
    data: dict[str, Any] = {"server": api.server, "namespace": api.namespace, "cluster": name}
    return Sighting(
        ref=Ref(backend="kubernetes", name=name, data=data),
        own_name=name,
        state=_state(cluster, ready),
        reason=_reason(cluster, ready, life),
        profile=(cluster["metadata"].get("annotations") or {}).get(PROFILE_ANNOTATION, ""),
        kept=labels.get(KEPT_LABEL, "true") == "true",
        target=_target(cluster, around),
        connected=life.get("connected") if life else None,
        created=made(cluster).astimezone(UTC),
        idle_since=idle_since,
        ends=ends,
        where=f"{api.namespace} of {api.place}",
        orphaned=_orphaned(cluster, scheduler, around, api.now),
    )


def _state(cluster: Object, ready: bool) -> Literal["starting", "running", "ending"]:
    if is_going(cluster):
        return "ending"
    # Who is to use it waits for whoever starts it, who is done soon after its scheduler is ready; but not for one who is gone.
    begun = (cluster.get("status") or {}).get("phase") in ("Running", "Pending")
    at_work = starter_of(cluster) is not None and (not ready or bool(gone(cluster)))
    return "running" if begun and not at_work else "starting"


def _reason(cluster: Object, ready: bool, life: Mapping[str, Any] | None) -> str:
    """What its owner should know, but for the proof that it is an orphan."""
    if USER_LABEL not in _labels(cluster):
        return "made without clusterhub"
    if is_going(cluster):
        return ""
    if not ready:
        return _unready(cluster)
    return "its scheduler does not answer" if life is None else ""


def _unready(cluster: Object) -> str:
    starter = starter_of(cluster)
    if starter is None:
        return "its scheduler's pod is not ready"
    if (life := starter.life()) is Life.STOPPED:
        return f"{starter}, which starts it, is stopped; it goes on after: kill -CONT {starter.pid}"
    if life is Life.UNKNOWN:
        return f"{starter} starts it, or did: see there; clusterhub down {name_of(cluster)} ends it"
    return f"{starter} starts it" if life is Life.ALIVE else ""


def _orphaned(cluster: Object, scheduler: Object | None, around: Surroundings, now: datetime) -> str:
    if not is_going(cluster):
        return gone(cluster)
    scaler = around.scalers.get(name_of(cluster))
    return stuck(cluster, [scaler] if scaler is not None else [], now) if scheduler is None else ""


def _target(cluster: Object, around: Surroundings) -> Workers | None:
    """What Kubernetes has been told, by whomever: a range, or a number."""
    scaler, group = around.scalers.get(name_of(cluster)), around.groups.get(f"{name_of(cluster)}-default")
    if scaler is not None:
        return Workers(minimum=int(scaler["spec"]["minimum"]), maximum=int(scaler["spec"]["maximum"]))
    worker = (cluster if group is None else group)["spec"].get("worker") or {}
    return Workers.exactly(int(worker["replicas"])) if worker.get("replicas") is not None else None


async def told(api: Api, client: httpx.AsyncClient, pod: Object) -> Mapping[str, Any] | None:
    """What the caretaker in a scheduler's pod tells; nothing where there is none, and None where nobody answers."""
    import httpx

    tunnel = Tunnel(api, name_of(pod), DASHBOARD_PORT)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await client.get(f"http://127.0.0.1:{await tunnel.open()}{LIFE}")
        if answer.status_code == 404:
            return {}
        life = answer.raise_for_status().json()
    except (TimeoutError, httpx.HTTPError, ValueError):
        return None
    finally:
        await tunnel.close()
    return life if isinstance(life, Mapping) else None
