"""From a plan, or a name, to a living cluster in a keeper: attaches to one that lives, else starts it; never two of a name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from clusterhub import registry
from clusterhub.backend import CONTRACT, Plan, Ref, SubmitsKeeper
from clusterhub.errors import ClusterGone, ClusterhubError, Unsupported
from clusterhub.keeper.asking import waited_for
from clusterhub.keeper.collecting import clear
from clusterhub.keeper.finding import living_record, unknown
from clusterhub.keeper.identity import Life, Process, end
from clusterhub.keeper.joining import joined
from clusterhub.keeper.launch import Launch
from clusterhub.keeper.reaching import first_to_answer, is_loopback
from clusterhub.keeper.record import End, Record
from clusterhub.keeper.records import Store
from clusterhub.keeper.remote import RemoteDeployment
from clusterhub.keeper.shape import refuse_another_shape
from clusterhub.keeper.standing import Condition, standing
from clusterhub.keeper.submission import JobLaunch, dask_variables
from clusterhub.keeper.wire import Order, Ready, with_secrets, without_secrets
from clusterhub.spec import Workers

START_PATIENCE = 300.0
"""Seconds that one waits for a cluster which somebody else is starting."""
POLL = 0.05
"""Seconds between two looks at the record of a cluster that somebody else starts or ends."""
LOCK_PATIENCE = 30.0
"""Seconds that a name may be locked by others: all that is done meanwhile is to read and write small files."""
REACH_PATIENCE = 10.0
"""Seconds in which the keeper on another host has to be reached at one of its addresses."""

Tell = Callable[[str], None]


def _silent(text: str) -> None:
    """Whoever gives no way to be told is not."""


async def start(
    plan: Plan[Any],
    *,
    named: bool,
    kept: bool,
    target: Workers | None = None,
    launch: Launch | None = None,
    tell: Tell = _silent,
) -> RemoteDeployment:
    """The living cluster of that name, or a new one as planned; of several who ask at one moment, one starts it.

    One that lives gets ``target``, if given, is kept if ``kept``, and is held by this process. Raises ConfigError where it
    is of another shape or profile, and whatever a start raises. ``launch`` is a keeper that was started in advance. What
    is waited for where that may take long is said to ``tell``.
    """
    store = Store.here()
    while True:
        found = await asyncio.to_thread(_claimed, store, plan, named, kept)
        if found is None and _as_job(plan):
            return await _submitted(store, plan, named, kept, tell)
        if found is None:
            return await _started(store, plan, named, kept, launch)
        if launch is not None:
            launch.let_go()
            launch = None
        living = await _when_ready(store, found, tell)
        if living is None:
            continue  # its start failed, or it ended meanwhile: the name is free
        refuse_another_shape(plan, living)
        try:
            return await joined(await RemoteDeployment.of(living, store), kept, target)
        except ClusterGone as gone:
            if not gone.final:
                raise
            await asyncio.sleep(POLL)  # it ends just now, and its name is free in a moment


async def attach(name: str, *, hold: bool = False) -> RemoteDeployment:
    """The living cluster of that name; with ``hold`` it does not end for want of others as long as this process has it.

    Raises ConfigError for a name that nobody knows, and ClusterGone for one that has ended, with why.
    """
    store = Store.here()
    record = await asyncio.to_thread(living_record, store, name)
    ready = await _when_ready(store, record)
    if ready is None:
        raise await asyncio.to_thread(unknown, store, name)
    deployment = await RemoteDeployment.of(ready, store)
    if hold:
        try:
            await deployment.hold()
        except BaseException:
            await deployment.close(shutdown=False)
            raise
    return deployment


def in_advance(name: str) -> Launch:
    """A keeper for a cluster of that name, which starts up while its order is still being made."""
    return Launch(name, Store.here().own_folder())


def _claimed(store: Store, plan: Plan[Any], named: bool, kept: bool) -> Record | None:
    """The record that has the name already; or None, and the name is ours to start a cluster under."""
    with store.locked(plan.name, LOCK_PATIENCE):
        with contextlib.suppress(LookupError):
            record = store.read(plan.name)
            stands = standing(record, store, ask=True)
            if stands.condition is not Condition.DEAD:
                return record
            clear(store, record, stands.reason)
        store.claim(_first_record(plan, named, kept))
        return None


def _first_record(plan: Plan[Any], named: bool, kept: bool) -> Record:
    """The record that claims the name, before there is a keeper."""
    return Record(
        contract=CONTRACT,
        uid=plan.uid,
        name=plan.name,
        profile=plan.profile,
        backend=plan.backend,
        state="starting",
        named=named,
        kept=kept,
        creator=Process.this(),
        keeper=None,
        created=datetime.now(UTC),
        plan=without_secrets(plan),
        # What is found by the uid alone, should this process not live to see the keeper's job start.
        ref=Ref(backend=plan.backend, name=plan.name).model_dump(mode="json") if _as_job(plan) else {},
        version=version("clusterhub"),
        python=os.path.realpath(sys.executable),
    )


async def _started(store: Store, plan: Plan[Any], named: bool, kept: bool, launch: Launch | None) -> RemoteDeployment:
    order = Order(plan=with_secrets(plan), creator=Process.this(), named=named, kept=kept)
    try:
        if launch is None:
            launch = await asyncio.to_thread(in_advance, plan.name)
        await asyncio.to_thread(launch.adopt, store.folder(plan.name) / "keeper.log")
        await asyncio.to_thread(launch.order, order)
        await launch.ready()
        return await RemoteDeployment.of(store.read(plan.name), store, launch)
    except BaseException as error:
        if launch is not None:
            launch.let_go()
        with contextlib.suppress(ClusterhubError, LookupError):  # ProcessLookupError among them
            # What the keeper could not put away itself: one that never came to life, or was killed.
            record = store.read(plan.name)
            if record.uid == plan.uid and kept and record.state == "running" and record.keeper is not None:
                # It became ready just as we were told to stop, and nobody will hear of it.
                end(record.keeper, signal.SIGTERM)
            elif record.uid == plan.uid and (
                record.keeper is None or standing(record, store).condition is Condition.DEAD
            ):
                store.retire(record, End(when=datetime.now(UTC), reason=f"its start failed: {error}"))
        raise


def _as_job(plan: Plan[Any]) -> bool:
    return plan.spec.lifecycle.host == "job"


async def _submitted(store: Store, plan: Plan[Any], named: bool, kept: bool, tell: Tell) -> RemoteDeployment:
    """The same where the keeper is a job itself."""
    backend = registry.backend(plan.backend)
    if not isinstance(backend, SubmitsKeeper):
        raise Unsupported(plan.backend, {"lifecycle.host": "it has no jobs that a cluster could live in"})
    order = Order(plan=with_secrets(plan), creator=Process.this(), named=named, kept=kept, environment=dask_variables())
    launch = JobLaunch(backend, plan, store, tell)
    try:
        await launch.order(order, kept=kept)
        ready = await launch.ready()
        return await _reached(store, store.read(plan.name), launch, ready)
    except BaseException as error:
        why, left = f"its start failed: {error or type(error).__name__}".splitlines()[0], ""
        try:
            await launch.call_off()
        except ClusterhubError as trouble:
            left = f"; its keeper's job could not be cancelled: {trouble}"
            tell(f"{plan.name}: its keeper's job could not be cancelled, and ends by itself when it starts: {trouble}")
        await asyncio.to_thread(_put_away, store, plan, why, left)
        raise


def _put_away(store: Store, plan: Plan[Any], why: str, left: str) -> None:
    """Free the name, if the keeper has not. What may be left of its job is found by the record, which stays then."""
    with contextlib.suppress(ClusterhubError, LookupError):
        record = store.read(plan.name)
        if record.uid != plan.uid:
            return
        end = End(when=datetime.now(UTC), reason=f"{why}{left}")
        if left:
            store.write(record.model_copy(update={"end": end}))
        else:
            store.retire(record, end)


async def _reached(store: Store, record: Record, launch: JobLaunch, ready: Ready) -> RemoteDeployment:
    """The deployment at the first of its keeper's addresses that can be reached from here; others learn which it is."""
    address = record.address
    if ready.keeper.life() is Life.UNKNOWN:  # else it is on this very host
        # Its loopback is not ours, whatever may listen there.
        address = await first_to_answer([each for each in ready.addresses if not is_loopback(each)], REACH_PATIENCE)
    if not address:
        raise ClusterhubError(
            f"the keeper of {record.name} runs as a job on {ready.keeper.host}, and cannot be reached from"
            f" {os.uname().nodename} at {', '.join(ready.addresses)}; name the interface by which this host reaches the nodes,"
            " with network.interface"
        )
    deployment = await RemoteDeployment.of(record.model_copy(update={"address": address}), store, launch)
    if address != record.address:
        await deployment.tell_address(address)
    return deployment


async def _when_ready(store: Store, record: Record, tell: Tell = _silent) -> Record | None:
    """The record once its cluster answers; None where it came to nothing. Raises ClusterGone for one nobody hears of."""
    deadline, told = time.monotonic() + START_PATIENCE, ""
    while True:
        stands = await asyncio.to_thread(standing, record, store)
        if record.as_job and record.keeper is None:  # a queue may be long: as long as somebody waits, so can we
            deadline = time.monotonic() + START_PATIENCE
            wait = await asyncio.to_thread(waited_for, record, store)
            if wait is not None and wait.unit and wait.text != told:
                told = wait.text
                tell(f"{record.name}: its keeper, job {wait.unit}, {told}")
        if stands.condition is Condition.DEAD:
            return None
        if stands.condition in (Condition.UNKNOWN, Condition.STOPPED):
            raise ClusterGone(f"cluster {record.name} does not answer: {stands.reason}", final=False)
        if record.state == "running":
            return record
        if time.monotonic() > deadline:
            raise ClusterGone(
                f"cluster {record.name} is {record.state} since {record.created.astimezone():%H:%M}, on"
                f" {record.creator.host}, and not ready after {START_PATIENCE:.0f} s; clusterhub down {record.name} ends it",
                final=False,
            )
        await asyncio.sleep(POLL)
        try:
            newer = await asyncio.to_thread(store.read, record.name)
        except LookupError:
            return None
        if newer.uid != record.uid:
            return None
        record = newer
