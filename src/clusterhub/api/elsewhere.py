"""Clusters that live elsewhere, in systems that know of them: which systems there are to ask, and who lives there by which name.

They have no record in this home, since their system is the record: what it tells is true, whoever made a cluster and from
where.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clusterhub.backend import (
    Backend,
    Holdable,
    NoOptions,
    Plan,
    Standalone,
    SupportsAttach,
    SupportsEnd,
    refuse_unsupported,
)
from clusterhub.display import age
from clusterhub.display.words import counted, flat
from clusterhub.errors import BackendUnavailable, ClusterGone, ClusterhubError, ConfigError, Unsupported
from clusterhub.keeper.discovery import Found, Seen, System, look
from clusterhub.keeper.ending import NotEnded, what_goes
from clusterhub.keeper.finding import unknown
from clusterhub.keeper.records import Store
from clusterhub.profile.kinds import OfKind, of_backends
from clusterhub.registry import candidates
from clusterhub.spec import ClusterSpec

OWN_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""What systems themselves call clusters: hexadecimal digits, ``namespace.name``."""
START_PATIENCE = 300.0
"""Seconds that one waits for a cluster which somebody else is starting or ending."""
ANSWER_PATIENCE = 30.0
"""Seconds in which the one system answers that a cluster is to be started in, or has to be found again in."""
POLL = 0.5
"""Seconds between two questions to a system, about a cluster that starts or ends."""


@dataclass(frozen=True)
class Systems:
    """The systems that can be asked from here, each once, and a sentence for each that is configured and cannot be."""

    known: tuple[System, ...] = ()
    remarks: tuple[str, ...] = ()

    def look(self) -> Seen:
        """What lives there. Blocks for two seconds at most."""
        seen = look(self.known)
        return Seen(seen.found, (*self.remarks, *seen.remarks), seen.unheard)


def systems() -> Systems:
    """Those that a profile names, and those that are configured outside of clusterhub: asked by the backend's bare name.

    Loads the native libraries of their backends, and no other. What is configured for other hosts is passed over; so is a
    backend that nobody has configured.
    """
    known: list[System] = []
    remarks = []
    able = _able()
    for kind in of_backends(able) if able else ():
        try:
            system = system_of(kind)
        except ClusterhubError as error:
            if not kind.bare:
                remarks.append(f"{kind.name} was not asked for its clusters: {_why(kind, error)}")
            continue
        if not any(system.is_asked_as(other) for other in known):
            known.append(system)
    return Systems(tuple(known), tuple(remarks))


def _able() -> list[str]:
    """The installed backends whose clusters live elsewhere. One that cannot be loaded is none: `clusterhub backends` tells."""
    found = []
    for name, candidate in candidates().items():
        try:
            backend = candidate.load()
        except BackendUnavailable:
            continue
        if isinstance(backend, SupportsAttach):
            found.append(name)
    return found


def system_of(kind: OfKind) -> System:
    """The system that a profile names, its backend loaded. Raises ClusterhubError where it cannot be asked from here."""
    if isinstance(kind.resolved, ClusterhubError):
        raise kind.resolved
    backend = kind.resolved.backend
    try:
        if reason := backend.unusable() or backend.unconfigured(kind.resolved.options):
            raise BackendUnavailable(reason)
        # It may lack its address, and a library that takes a second to import is not worth waiting for then.
        refuse_unsupported(backend, kind.resolved.spec, kind.resolved.options)
        backend.load()
    except ClusterhubError:
        raise
    except Exception as error:  # a plugin may fail in any way; the other systems are asked
        raise BackendUnavailable(f"backend {backend.name} fails: {type(error).__name__}: {error}") from error
    return System(kind.name, backend.name, _attachable(backend), kind.resolved.options, kind.bare)


def _attachable(backend: Backend[Any]) -> SupportsAttach:
    if not isinstance(backend, SupportsAttach):
        raise TypeError(f"clusters of {backend.name} do not live elsewhere")
    return backend


def _why(kind: OfKind, error: ClusterhubError) -> str:
    if isinstance(error, ConfigError):
        return f"{counted(len(error.problems), 'problem')}, see clusterhub show {kind.name}"
    if isinstance(error, Unsupported):
        return "; ".join(f"{path}: {flat(reason)}" for path, reason in error.refusals.items())
    return flat(str(error))


# Finding one by its name


@dataclass(frozen=True)
class Sought:
    """A name of which there is no record in this home, and where else it is looked for."""

    name: str
    systems: Systems
    otherwise: ClusterhubError
    """What is raised where nobody knows it, but for what the systems have to add."""

    def found(self) -> Found:
        """The one cluster of that name. Blocks for two seconds at most.

        Raises ConfigError for a name that nobody knows, or that several have, ClusterGone for one that has ended, and
        ClusterhubError where nobody knows it of those who could be asked.
        """
        seen = self.systems.look()
        fitting = seen.called(self.name)
        if not fitting:
            raise self._unknown(seen)
        return only(self.name, fitting)

    async def attach(self, hold: bool = False) -> Standalone:
        """The living cluster. Waits for one that is only starting. Raises as :meth:`found`."""
        return await attached(await asyncio.to_thread(self.found), hold)

    def _unknown(self, seen: Seen) -> ClusterhubError:
        if isinstance(self.otherwise, ClusterGone):  # of this home it is known what became of it
            return ClusterGone("; ".join([str(self.otherwise), *seen.remarks]), final=self.otherwise.final)
        unheard = (*seen.unheard, *filter(None, (one.may_be(self.name) for one in seen.found)))
        return unknown(Store.here(), self.name, [one.name for one in seen.found], seen.remarks, unheard)


def sought(name: str, otherwise: ClusterhubError) -> Sought | None:
    """Where a cluster can be looked for of which there is no record; None where nowhere, or for what none can be called."""
    if not isinstance(name, str) or not OWN_NAME.fullmatch(name):
        return None
    asked = systems()
    return Sought(name, asked, otherwise) if asked.known or asked.remarks else None


async def attached(found: Found, hold: bool = False) -> Standalone:
    """The cluster once it has started, with ``hold`` held by this process. Raises ClusterGone for one that ends."""
    found = await settled(found)
    deployment = await found.system.backend.attach(found.sighting.ref, found.system.options)
    if hold and isinstance(deployment, Holdable):
        try:
            await deployment.hold()
        except BaseException:
            await deployment.close(shutdown=False)
            raise
    return deployment


def stand_in(name: str, backend: str = "") -> Plan[NoOptions]:
    """What stands for the plan of a cluster until it is attached to."""
    return Plan(name=name, backend=backend, spec=ClusterSpec(), options=NoOptions())


async def end(found: Found) -> str:
    """End the cluster, in whatever state it is, and return one sentence on what was done, once all of it has ended.

    Raises ClusterhubError where its system cannot be made to.
    """
    name, system, ref = found.name, found.system, found.sighting.ref
    state, trouble = found.sighting.state, ""
    if state == "running":
        try:
            deployment = await system.backend.attach(ref, system.options)
        except ClusterGone as gone:
            if gone.final:
                return f"{name} had ended already"
            trouble = str(gone)
        else:
            went = await what_goes(deployment)
            await deployment.close()
            return f"{name} has ended{went}"
    if not isinstance(system.backend, SupportsEnd):
        why = trouble or f"it is {state} on {found.where}, and can be ended once it runs"
        raise NotEnded(f"{name} was not ended: {why}")
    await system.backend.end(ref, system.options)
    return f"{name} has ended; " + (f"it did not answer ({trouble})" if trouble else f"it was {state}")


def only(name: str, fitting: Sequence[Found]) -> Found:
    """The one of ``fitting``. Raises ConfigError where there are several, with what tells them apart."""
    if len(fitting) == 1:
        return fitting[0]
    now = datetime.now(UTC)
    told = []
    for one in fitting:
        sighting = one.sighting
        since = f", for {age(sighting.created, now)}" if sighting.created is not None else ""
        own = f": {sighting.own_name}" if sighting.own_name else ""
        told.append(f"on {one.where}{since}{own}")
    raise ConfigError.of(
        f"{len(fitting)} clusters are called so ({'; '.join(told)}); say which by the name that its system gave it",
        origin="call",
        path=f"name = {name!r}",
    )


async def settled(found: Found) -> Found:
    """The cluster once it has started. Raises ClusterGone for one that ends, or does not come to life."""
    name, deadline = found.name, time.monotonic() + START_PATIENCE
    while found.sighting.state == "starting" and not found.sighting.orphaned:  # an orphan is taken over
        if time.monotonic() > deadline:
            reason = f": {found.sighting.reason}" if found.sighting.reason else ""
            raise ClusterGone(
                f"cluster {name} on {found.where} is starting, and not ready after {START_PATIENCE:.0f} s{reason}",
                final=False,
            )
        await asyncio.sleep(POLL)
        again = [one for one in await living_in(found.system, name) if one.sighting.ref == found.sighting.ref]
        if not again:
            raise ClusterGone(f"cluster {name} on {found.where} has ended before it had started")
        found = again[0]
    if found.sighting.state == "ending":
        raise ClusterGone(f"cluster {name} on {found.where} is ending")
    return found


async def living_in(system: System, name: str) -> list[Found]:
    """Those of that name that live in one system, the ending ones included. Raises ClusterhubError where it does not tell."""
    return [one for one in await all_in(system, name) if one.is_called(name)]


async def all_in(system: System, name: str) -> list[Found]:
    """All that live in one system, asked because of a cluster of that name. Raises ClusterhubError where it does not tell."""
    try:
        async with asyncio.timeout(ANSWER_PATIENCE):
            sightings = await system.backend.discover(system.options)
    except TimeoutError:
        raise ClusterhubError(
            f"{system.label} did not tell within {ANSWER_PATIENCE:.0f} s whether a cluster {name} lives there; try again"
        ) from None
    return [Found(system, sighting) for sighting in sightings]
