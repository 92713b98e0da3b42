"""How far Kubernetes has come with the end of a cluster: what is still there, and who has to let go of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clusterhub import ClusterhubError
from clusterhub.display.words import age, counted
from clusterhub_backends.kubernetes.api import Api
from clusterhub_backends.kubernetes.manifest import secret_name
from clusterhub_backends.kubernetes.objects import CLUSTER, Object, is_going, name_of, time_of
from clusterhub_backends.kubernetes.refusals import Conflict
from clusterhub_backends.kubernetes.starter import gone

HELD = "kopf.zalando.org/KopfFinalizerMarker"
"""By which the operator holds what it keeps timers for. There is nothing else that it has to do then, and it lets go within a
second, if it runs; but a minute later where a timer was at work when it saw the end (``cancellation_polling`` of kopf 1.45)."""
WAITS = "foregroundDeletion"
"""By which Kubernetes itself holds what waits for the end of all that it owns."""
STUCK_AFTER = timedelta(seconds=75)
"""Longer than an operator that runs would take."""
LOOK = 0.25
"""Seconds between two looks."""
END_PATIENCE = 90.0
"""Seconds that the pods of an orphan may take to end, and the operator to let go of it."""
TRIES = 10
SHOWN = 3
"""Pods that are named."""


async def ended(api: Api, name: str, uid: str, patience: float) -> str:
    """Return when all of that very cluster has ended; or after ``patience`` seconds, with what is still there, in a clause."""
    deadline = time.monotonic() + patience
    while True:
        cluster = await api.get("daskclusters", name)
        if cluster is not None and cluster["metadata"]["uid"] != uid:
            return ""  # another has its name already
        if cluster is None and not await api.list("pods", labels={CLUSTER: name}):
            return ""
        if time.monotonic() > deadline:
            return await _left(api, name)
        await asyncio.sleep(LOOK)


async def _left(api: Api, name: str) -> str:
    pods = [name_of(pod) for pod in await api.list("pods", labels={CLUSTER: name})]
    if pods:
        named = ", ".join([*pods[:SHOWN], *(["…"] if len(pods) > SHOWN else [])])
        see = f"{api.kubectl} get pods -n {api.namespace} -l {CLUSTER}={name}"
        return f"Kubernetes still ends {counted(len(pods), 'pod')} of it ({named}); see: {see}"
    return (
        "nothing of it runs any more, but its name is taken until Dask's operator lets go of it, which does not run, or is slow;"
        " if it stays so: clusterhub gc"
    )


async def delete_secret(api: Api, name: str, owner: str) -> None:
    """The Secret of that very cluster. Another of its name has one of the same name."""
    secret = await api.get("secrets", secret_name(name))
    if secret is not None and owner in [each["uid"] for each in secret["metadata"].get("ownerReferences") or ()]:
        await api.delete("secrets", secret_name(name), uid=str(secret["metadata"]["uid"]))


# Orphans


def stuck(cluster: Object, scalers: Sequence[Object], now: datetime) -> str:
    """The proof, in a clause, that nothing but an operator that does not run holds what was deleted; empty where there is none.

    ``scalers`` are the DaskAutoscalers that belong to it. That none of its pods is left is for the caller to see.
    """
    since = time_of(cluster["metadata"].get("deletionTimestamp"))
    held = [cluster, *scalers]
    if since is None or now - since < STUCK_AFTER or not all(is_going(each) for each in held):
        return ""
    holders = {holder for each in held for holder in each["metadata"].get("finalizers") or ()}
    if HELD not in holders or not holders <= {HELD, WAITS}:
        return ""
    ago = age(since.astimezone(UTC), now)
    return f"it was ended {ago} ago, and only Dask's operator, which does not run, has not let go of it"


async def end_orphan(api: Api, name: str) -> bool:
    """End the cluster if it is proven to be one, and return whether it was, once all of it has ended.

    Whoever takes it over at the same moment has it: the API server takes a deletion only of what has not changed since.
    """
    for _turn in range(TRIES):
        cluster = await api.get("daskclusters", name)
        if cluster is None:
            return False
        try:
            if is_going(cluster):
                return await _let_go(api, cluster)
            if not gone(cluster):
                return False
            metadata = cluster["metadata"]
            await api.delete("daskclusters", name, uid=metadata["uid"], version=metadata["resourceVersion"], wait=True)
        except Conflict:
            await asyncio.sleep(LOOK)
            continue
        if left := await ended(api, name, str(metadata["uid"]), END_PATIENCE):
            raise ClusterhubError(f"{name} was told to end: {left}")
        await delete_secret(api, name, str(metadata["uid"]))
        return True
    raise ClusterhubError(f"{name} is being changed by others all the time, and was left alone; try again")


async def _let_go(api: Api, cluster: Object) -> bool:
    """In the place of an operator that does not run. Raises Conflict where somebody else does just now."""
    name = name_of(cluster)
    scalers = await scalers_of(api, name)
    if not stuck(cluster, scalers, api.now) or await api.list("pods", labels={CLUSTER: name}):
        return False
    for kind, thing in (*(("daskautoscalers", each) for each in scalers), ("daskclusters", cluster)):
        metadata = thing["metadata"]
        others = [holder for holder in metadata.get("finalizers") or () if holder != HELD]
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": others or None}}
        await api.patch(kind, name_of(thing), change)
    if left := await ended(api, name, str(cluster["metadata"]["uid"]), END_PATIENCE):
        raise ClusterhubError(f"{name} was let go of: {left}")
    return True


async def scalers_of(api: Api, name: str) -> Sequence[Object]:
    """Its DaskAutoscaler, if it has one."""
    found = await api.get("daskautoscalers", name)
    return [] if found is None else [found]
