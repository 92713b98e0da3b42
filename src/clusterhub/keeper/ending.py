"""Ends a cluster by its name, in whatever state it is, and says what was done."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.display import counted
from clusterhub.errors import ClusterGone, ClusterhubError
from clusterhub.keeper.asking import end_job, job_fate
from clusterhub.keeper.collecting import clear
from clusterhub.keeper.finding import unknown
from clusterhub.keeper.identity import Life, OutOfReach, Process
from clusterhub.keeper.identity import end as send
from clusterhub.keeper.record import NotThere, Record
from clusterhub.keeper.records import Store
from clusterhub.keeper.standing import Condition, standing
from clusterhub.quantities import Bytes

if TYPE_CHECKING:
    from clusterhub.backend import Deployment

LOCK_PATIENCE = 10.0
"""Seconds that the name of a dead cluster may be held by others, who most likely do what we are about to do."""
KEEPER_PATIENCE = 15.0
"""Seconds in which the keeper of a cluster that is being started comes to life."""
END_PATIENCE = 150.0
"""Seconds that a keeper may take to end everything: a batch system holds deleted jobs for a while."""


class NotEnded(ClusterhubError):
    """The cluster still stands, or nobody here can tell whether it does."""


def end(name: str) -> str:
    """End the cluster of that name and return one sentence on what was done, once it is.

    One that is proven dead is cleared away. Raises ConfigError for a name that nobody knows, ClusterGone where it had ended
    before, NotEnded where its keeper cannot be made to end it from here, and Unreadable as the store does.
    """
    store = Store.here()
    try:
        record = store.read(name)
    except NotThere:
        raise unknown(store, name) from None
    stands = standing(record, store, ask=True)
    if stands.condition is Condition.DEAD:
        return _cleared(store, record, stands.reason)
    if record.as_job and (stands.condition is Condition.UNKNOWN or record.keeper is None):
        return _cancelled(store, record, stands.reason)
    if stands.condition in (Condition.STOPPED, Condition.UNKNOWN):
        raise NotEnded(f"{name} was not ended: {stands.reason}")
    if record.state != "running":
        return _signalled(store, record, f"it was {record.state}")
    try:
        return asyncio.run(_shut_down(store, record))
    except _NoAnswer as error:
        return _signalled(store, record, f"its keeper took no call ({error})")


class _NoAnswer(ClusterhubError):
    """Its keeper does not answer, or not us: a clusterhub of another contract."""


def _cleared(store: Store, record: Record, reason: str, *, proven: bool = False) -> str:
    with store.locked(record.name, LOCK_PATIENCE):
        try:
            again = store.read(record.name)
        except NotThere:
            return f"{record.name} was dead, and somebody else has just removed what was left of it"
        dead = proven or standing(again, store, ask=True).condition is Condition.DEAD
        if again.uid != record.uid or not dead:
            raise NotEnded(f"{record.name} was dead, and another cluster has its name by now, which was left alone")
        ended = clear(store, again, reason)
    left = f"what it left was ended: {', '.join(ended)}" if ended else "it had left nothing but its record"
    return f"{record.name} was dead ({reason}); {left}"


async def _shut_down(store: Store, record: Record) -> str:
    from clusterhub.keeper.remote import RemoteDeployment

    try:
        deployment = await RemoteDeployment.of(record, store)
    except ClusterhubError as error:
        raise _NoAnswer(str(error)) from error
    went = await what_goes(deployment)
    await deployment.close()
    return f"{record.name} has ended{went}"


async def what_goes(deployment: Deployment) -> str:
    """``, with 2 workers and the 1.2 GiB of results that they held``; nothing where that cannot be known."""
    link = SchedulerLink(deployment.scheduler_address, deployment.security)
    try:
        workers = (await link.identity())["workers"].values()
    except ClusterGone:
        return ""
    finally:
        await link.close()
    stored = sum(int(worker.get("metrics", {}).get("managed_bytes", 0)) for worker in workers)
    results = f" and the {Bytes(stored).about()} of results that they held" if stored else ""
    return f", with {counted(len(workers), 'worker')}{results}" if workers else ""


def _signalled(store: Store, record: Record, why: str) -> str:
    """End a cluster whose keeper takes no calls (not yet, no more, or not from us) by a signal, at which it ends all it has."""
    if record.as_job and record.keeper is not None and record.keeper.life() is Life.UNKNOWN:
        return _cancelled(store, record, why)
    name, keeper = record.name, _keeper_of(store, record)
    if keeper is not None:
        with suppress(ProcessLookupError):
            try:
                send(keeper, signal.SIGTERM)
            except OutOfReach:
                raise NotEnded(f"{name} was not ended: {why}; its keeper runs on {keeper.host}, end it there") from None
        _await_end(store, name, keeper, why)
    with suppress(NotThere):
        left = store.read(name)
        if left.uid == record.uid:
            return _cleared(store, left, standing(left, store).reason)
    return f"{name} has ended; {why}"


def _cancelled(store: Store, record: Record, why: str) -> str:
    """End a cluster whose keeper is a job that nobody reaches from here: the system ends that, and so it ends all it has."""
    name = record.name
    try:
        end_job(record, store)
    except ClusterhubError as error:
        raise NotEnded(f"{name} was not ended: {why}; and its keeper's job could not be cancelled: {error}") from error
    deadline = time.monotonic() + END_PATIENCE
    while time.monotonic() < deadline:
        try:
            left = store.read(name)
        except NotThere:
            left = None
        if left is None or left.uid != record.uid:
            return f"{name} has ended: its keeper's job was cancelled; {why}"
        if fate := job_fate(left, store):
            return _cleared(store, left, fate, proven=True)
        time.sleep(0.5)
    raise NotEnded(
        f"{name} was not ended: its keeper's job was cancelled {END_PATIENCE:.0f} s ago, and has not ended; {why}"
    )


def _keeper_of(store: Store, record: Record) -> Process | None:
    """The keeper, awaited where it is only being started; None where that came to nothing."""
    deadline = time.monotonic() + KEEPER_PATIENCE
    while record.keeper is None:
        if standing(record, store).condition is Condition.DEAD:
            return None
        if time.monotonic() > deadline:
            raise NotEnded(
                f"{record.name} was not ended: {record.creator} is starting it, and its keeper does not come"
            )
        time.sleep(0.05)
        try:
            newer = store.read(record.name)
        except NotThere:
            return None
        if newer.uid != record.uid:
            return None
        record = newer
    return record.keeper


def _await_end(store: Store, name: str, keeper: Process, why: str) -> None:
    deadline = time.monotonic() + END_PATIENCE
    while (life := keeper.life()) is not Life.DEAD:
        if life is Life.STOPPED:
            raise NotEnded(f"{name} was not ended: {keeper} was stopped; it goes on after: kill -CONT {keeper.pid}")
        if time.monotonic() > deadline:
            log = store.folder(name) / "keeper.log"
            raise NotEnded(f"{name} was told to end {END_PATIENCE:.0f} s ago and has not; {why}; see {log}")
        time.sleep(0.05)
