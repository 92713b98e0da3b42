"""From a plan to a living cluster in a system elsewhere: attached to where one of its name lives there, else started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from clusterhub.api.elsewhere import POLL, START_PATIENCE, all_in, living_in, only
from clusterhub.backend import Plan, Standalone
from clusterhub.errors import ClusterGone, ClusterhubError
from clusterhub.keeper.discovery import Found, System
from clusterhub.keeper.joining import joined
from clusterhub.keeper.records import Store
from clusterhub.keeper.shape import Unrecorded, refuse_another_shape
from clusterhub.keeper.standing import Condition, standing
from clusterhub.keeper.turns import turn
from clusterhub.spec import Workers

if TYPE_CHECKING:
    from clusterhub.cluster import Opening

KNOWN_PATIENCE = 10.0
"""Seconds until a system lists what was just started in it."""


def opening(plan: Plan[Any], backend: Any, target: Workers | None) -> Opening:
    """How a facade starts what was planned, or finds what has its name already in the same system."""
    from clusterhub.cluster import Opening
    from clusterhub.display.news import News

    if not plan.named:
        return Opening(partial(backend.start, plan), inline=False)
    news = News()
    system = System(plan.profile or plan.backend, plan.backend, backend, plan.options)
    return Opening(partial(connect, plan, backend, system, target, news.tell), inline=False, news=news)


async def connect(
    plan: Plan[Any], backend: Any, system: System, target: Workers | None, tell: Callable[[str], None]
) -> Standalone:
    """The living cluster of that name, or a new one as planned; of several on one home who ask at one moment, one starts it.

    One that lives is held by this process, kept if the plan says so, and told ``target``, if given. Raises ConfigError where
    it is of another shape or profile, or where a cluster of that name lives in this home; ClusterGone where one does not answer
    that may be it; and whatever a start raises.
    """
    store = Store.here()
    async with turn(store, plan.name, START_PATIENCE, tell):
        await asyncio.to_thread(_refuse_recorded, store, plan)
        while (found := await _living(plan.name, system)) is not None:
            with suppress(_Ended):
                return await _taken(plan, found, target)
            await asyncio.sleep(POLL)
        deployment: Standalone = await backend.start(plan)
        try:
            await _until_it_is_known(plan.name, system)
        except BaseException:  # we were told to stop, and nobody will hear of what was started
            await deployment.close()
            raise
        return deployment


class _Ended(Exception):
    """It ended while it was being attached to."""


def _refuse_recorded(store: Store, plan: Plan[Any]) -> None:
    """One name, one cluster: by a name that a record has, the one elsewhere would not be found again."""
    with suppress(LookupError):
        record = store.read(plan.name)
        if standing(record, store).condition is not Condition.DEAD:
            refuse_another_shape(plan, record)


async def _living(name: str, system: System) -> Found | None:
    """The cluster of that name once it has started; None where there is none, or no more.

    Raises ClusterGone where that cannot be told, because there is one that does not say what it is called.
    """
    deadline = time.monotonic() + START_PATIENCE
    while there := await all_in(system, name):
        fitting = [one for one in there if one.is_called(name)]
        if not fitting:
            _refuse_second(name, there)
            return None
        found = only(name, fitting)
        state, orphaned = found.sighting.state, found.sighting.orphaned
        if state == "running" or (orphaned and state == "starting"):
            return found
        if orphaned:
            raise ClusterGone(
                f"cluster {name} on {found.where}: {orphaned}; clusterhub gc removes what is left", final=False
            )
        if time.monotonic() > deadline:
            raise ClusterGone(
                f"cluster {name} on {found.where} is {state}, and still so after {START_PATIENCE:.0f} s;"
                f" clusterhub down {name} ends it",
                final=False,
            )
        await asyncio.sleep(POLL)
    return None


def _refuse_second(name: str, there: Sequence[Found]) -> None:
    """A busy scheduler answers nobody for a while: its cluster must not get a second one beside it for that."""
    for one in there:
        if maybe := one.may_be(name):
            own = one.sighting.own_name or one.name
            raise ClusterGone(f"{maybe}; try again, or clusterhub down {own}", final=False)


async def _taken(plan: Plan[Any], found: Found, target: Workers | None) -> Standalone:
    try:
        deployment = await found.system.backend.attach(found.sighting.ref, found.system.options)
        try:
            refuse_another_shape(plan, Unrecorded.of(deployment.plan))
        except ClusterhubError:
            await deployment.close(shutdown=False)
            raise
        return await joined(deployment, plan.kept, target)
    except ClusterGone as gone:
        if gone.final:
            raise _Ended from gone
        raise


async def _until_it_is_known(name: str, system: System) -> None:
    """Return when whoever has the next turn will see it. A system that does not list it in time, or at all, is as it is."""
    deadline = time.monotonic() + KNOWN_PATIENCE
    with suppress(ClusterhubError):
        while not await living_in(system, name) and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
