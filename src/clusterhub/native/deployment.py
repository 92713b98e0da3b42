"""`NativeDeployment`: the contract kept on top of a cluster object that knows little more than ``scale(n)``.

Dask's cluster objects launch what they are told once. They replace nothing under a fixed ``scale(n)``, lose the results of
workers they end (distributed#5577), and go on adapting after a manual ``scale``. So this one owns a small control loop:
*desired* (from :meth:`scale` and :meth:`adapt`), *observed* (the scheduler's workers and the native object's), *act*.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from clusterhub._dask.draining import Drain
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub.backend import Plan, Ref, Unit
from clusterhub.errors import ClusterGone, Failure, WorkersFailed
from clusterhub.native.adaptation import Adaptation
from clusterhub.native.roster import YOUNG, Roster
from clusterhub.native.surface import ENDED, Surface
from clusterhub.native.verdict import LIKE_FAILURES, Idleness, Trouble, Verdict
from clusterhub.quantities import Bytes
from clusterhub.spec import LARGEST_COUNT, Workers

if TYPE_CHECKING:
    from distributed import Scheduler, Security

logger = logging.getLogger(__name__)

LEAVE_PATIENCE = 5.0
"""Seconds that the process of a retired worker may take to end by itself."""


class NativeDeployment:
    """A living cluster behind any object of Dask's cluster interface; made by :meth:`of`."""

    wave = 8
    """Workers that are launched at a time: closing has to wait for those that are half started."""
    interval = 0.5
    """Seconds between two looks at the cluster; a change of target is acted on at once."""
    target_duration = 5.0
    """Seconds in which the work at hand should be done, from which the number of workers to adapt to follows."""
    drain_patience = 60.0
    """Seconds that tasks may still run on a worker that is to leave; after that they start again elsewhere."""
    startup_timeout = 120.0
    """Seconds after which a worker that was launched and never connected is missing, and is launched anew."""

    def __init__(self, native: Any, plan: Plan[Any], startup_timeout: float | None = None) -> None:
        self._surface = Surface(native)
        self._plan = plan
        self._adaptation = Adaptation(plan.spec.workers)
        self._wanted = plan.spec.workers.minimum
        self._roster = Roster(self.startup_timeout if startup_timeout is None else startup_timeout)
        self._drains: dict[asyncio.Task[None], Drain] = {}
        self._launch: asyncio.Task[None] | None = None
        self._launched_for = -1
        self._going: set[str] = set()
        self._named: set[str] = set()
        self._verdict = Verdict()
        self._idleness = Idleness()
        self._gone: str | None = None
        self._kick = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._link: SchedulerLink | None = None
        self._started = time.monotonic()

    @classmethod
    async def of(cls, native: Awaitable[Any] | Any, plan: Plan[Any], *, startup_timeout: float | None = None) -> Self:
        """The deployment of ``native``, a cluster object made with ``asynchronous=True`` (started already or not).

        A worker that has not connected ``startup_timeout`` seconds after its launch (by default 120) counts as missing and
        is launched anew: give ``math.inf`` for a system in whose queue workers wait, since they would lose their place.
        Raises WorkersFailed where its start fails; nothing of it is left then, nor when the call is cancelled.
        """
        deployment = cls(native, plan, startup_timeout)
        try:
            await _uninterrupted(deployment._surface.started())
            link = deployment._link = SchedulerLink(
                deployment.scheduler_address, deployment.security, own=getattr(deployment, "scheduler", None)
            )
            deployment._observe(await link.identity())
        except BaseException as error:
            await deployment.close()
            if isinstance(error, Exception):
                raise WorkersFailed(failure_from(error), cluster=plan.name, support=plan.spec.support) from error
            raise
        deployment._loop_task = asyncio.create_task(deployment._run(), name=f"clusterhub-loop-{plan.name}")
        return deployment

    @property
    def native(self) -> Any:
        """The cluster object itself."""
        return self._surface.native

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, where the cluster object runs it in this process. Raises AttributeError where it does not."""
        from clusterhub._dask.hosting import own_scheduler

        return own_scheduler(self.native)

    @property
    def ref(self) -> Ref:
        """Names the cluster; one that lives in this process cannot be attached to from another."""
        return Ref(backend=self._plan.backend, name=self._plan.name, data={"address": self.scheduler_address})

    @property
    def scheduler_address(self) -> str:
        """The address that clients connect to."""
        return str(self.native.scheduler_address)

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in."""
        return getattr(self.native, "security", None)

    @property
    def dashboard_link(self) -> str:
        """A link to the dashboard, or an empty text."""
        return self._surface.dashboard_link

    # What it is told

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target, and stop adapting."""
        await self._aim(Workers.exactly(n), n)

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load between ``minimum`` and ``maximum``."""
        limits = Workers(minimum=minimum, maximum=maximum)
        await self._aim(limits, max(minimum, min(self._wanted, maximum)))

    async def _aim(self, limits: Workers, wanted: int) -> None:
        self._raise_if_gone()
        self._adaptation = Adaptation(limits)
        self._wanted = wanted
        self._verdict.forgive_all()
        self._idleness = Idleness()
        self._roster.forget_notes()
        self._kick.set()

    # What it tells

    async def units(self) -> Sequence[Unit]:
        """One unit for each worker process that is wanted, is here, or was lost and is not yet made good."""
        self._observe(await self._ask().identity())
        return self._roster.units(self._wanted, frozenset(self._leaving()))

    async def failure(self) -> Failure | None:
        """Why nothing more is launched, or None."""
        self._raise_if_gone()
        return self._verdict.failure

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The latest log lines of the scheduler and of each connected worker, or of the one called ``unit``."""
        by_address = await self._ask().logs()
        names = {address: name for name, address in self._roster.connected.items()}
        texts = {names.get(address, address): text for address, text in by_address.items()}
        texts |= dict.fromkeys(self._roster.absent, "no log: it is not connected")
        return texts if unit is None else {unit: texts[unit]}

    async def close(self, *, shutdown: bool = True) -> None:
        """End the control loop and, with ``shutdown``, the cluster. Idempotent."""
        self._gone = self._gone or "it has been closed"
        for task in (self._loop_task, self._launch, *self._drains):
            await _ended(task)
        if self._link is not None:
            await self._link.close()
        if shutdown:
            await self._surface.close()

    def _ask(self) -> SchedulerLink:
        self._raise_if_gone()
        assert self._link is not None  # `of` sets it before anybody can ask
        return self._link

    def _raise_if_gone(self) -> None:
        if self._gone is None and self._surface.status in ENDED:
            self._gone = "its scheduler has ended"
        if self._gone is not None:
            raise ClusterGone(f"cluster {self._plan.name} is gone: {self._gone}")

    # The control loop

    async def _run(self) -> None:
        while self._gone is None:
            try:
                await self._look_and_act()
                self._verdict.forgive(Trouble.LOOP)
            except ClusterGone as gone:
                # One that is only slow answers at the next look; one that has ended is seen by its status.
                logger.warning("clusterhub: %s", gone)
            except Exception as error:
                # Nothing may end the loop unseen; what lasts is told to whoever waits.
                logger.exception("clusterhub: the control loop of %s failed", self._plan.name)
                self._verdict.blame(Trouble.LOOP, failure_from(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.interval):  # wait_for swallows a cancellation before Python 3.12
                    await self._kick.wait()
            self._kick.clear()

    async def _look_and_act(self) -> None:
        link = self._ask()
        self._observe(await link.identity())
        if reason := await self._reason_to_end(link):
            self._end_soon(reason, await link.stored())
            return
        if self._adaptation.limits.adapts:
            recommended = await link.adaptive_target(self.target_duration)
            self._wanted = self._adaptation.decide(recommended, self._wanted)
        await self._reconcile(link)

    def _observe(self, identity: Mapping[str, Any]) -> None:
        workers: Mapping[str, Mapping[str, Any]] = identity["workers"]
        planned, ended = self._surface.planned, dict(self._surface.ended)
        if planned is not None:
            self._named |= planned
            workers = self._ours(workers)
            planned -= self._going
            if self._launch is None:
                ended |= self._surface.given_up
        self._roster.observe(workers, planned, ended)
        self._judge()

    def _ours(self, workers: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        """The workers that were ever planned: somebody may have connected others by hand, and those are theirs."""
        ours = {address: info for address, info in workers.items() if str(info["name"]) in self._named}
        if ours:
            self._verdict.forgive(Trouble.NAMES)
        elif workers and self._roster.overdue and not self._roster.anybody_came:
            name = next(iter(workers.values()))["name"]
            failure = Failure(
                summary=f"none of the planned workers came, but some that call themselves by names like {name!r}",
                next_step="have the cluster object give each worker its key in worker_spec as its name",
            )
            self._verdict.blame(Trouble.NAMES, failure, limit=1)
        return ours

    def _judge(self) -> None:
        """Count the workers that died soon after they came; one that lasted forgives them all."""
        young = [address for address in self._roster.died_young() if address not in self._drained()]
        if self._roster.somebody_lasted:
            self._verdict.forgive(Trouble.YOUNG)
        elif young:
            failure = Failure(
                summary=f"they die within {YOUNG:.0f} s of connecting",
                unit=young[-1],
                next_step="see cluster.logs(), and whether worker.memory is enough for one task",
            )
            # All of them may be killed at once, from outside: that is not yet a habit.
            self._verdict.blame(Trouble.YOUNG, failure, len(young), limit=LIKE_FAILURES * max(1, self._wanted))
        if len(self._roster.connected) >= self._wanted:
            self._verdict.forgive(Trouble.MISSING, Trouble.START)
            self._roster.made_good()

    async def _reconcile(self, link: SchedulerLink) -> None:
        """One step from what is there towards what is wanted; the next look takes the next."""
        surplus = self._staying() - self._wanted
        if surplus < 0:
            await self._call_off_drains()
        if surplus > 0:
            await self._shrink(link, surplus)
        elif self._launch is None and self._verdict.failure is None and self._must_launch():
            self._launch = asyncio.create_task(self._grow())

    def _leaving(self) -> set[str]:
        """Addresses of our connected workers that are being drained."""
        return self._drained() & set(self._roster.connected.values())

    def _drained(self) -> set[str]:
        """Addresses of the workers that are being drained, those included that have left a moment ago."""
        return {address for drain in self._drains.values() for address in drain.workers}

    def _staying(self) -> int:
        """Workers that are planned or here, and not on their way out."""
        return len(self._roster.staying(self._drained()))

    def _must_launch(self) -> bool:
        if self._roster.dead or self._staying() < self._wanted:
            return True
        # Of a manager that names no plan only this is known: it was told another number, or workers are not there.
        return not self._surface.keeps_names and self._launched_for != self._wanted

    async def _grow(self) -> None:
        """Launch what is missing, in place of those that are dead."""
        try:
            await self._bury_the_dead()
            # Counted only now: the target, and who is leaving, may have changed meanwhile. It never goes down here, since
            # a manager that is told a smaller number ends workers of its own choice, with their results.
            if self._surface.keeps_names:
                await self._surface.add(min(self._wanted - self._staying(), self.wave))
            else:
                self._launched_for = self._wanted
                await self._surface.scale(max(self._wanted, self._staying()) + len(self._leaving()))
        except Exception as error:  # noqa: BLE001 - it is not lost: it is counted, told, and after three raised by `wait`
            await self._count_failure(failure_from(error))
        finally:
            self._launch = None
            self._kick.set()

    async def _bury_the_dead(self) -> None:
        dead = self._roster.dead
        never_came = [name for name in dead if name in self._roster.missing]
        if never_came:
            failure = Failure(
                summary=f"they were launched, and had not connected {self._roster.startup_timeout:.0f} s later",
                unit=never_came[-1],
                next_step="see cluster.logs(), and whether workers can reach the scheduler's address",
            )
            self._verdict.blame(Trouble.MISSING, failure, len(never_came))
        if dead and self._surface.keeps_names:
            await self._surface.forget(dead)
        self._roster.strike(dead)

    async def _count_failure(self, failure: Failure) -> None:
        ended = self._surface.ended
        logger.warning("clusterhub: workers of %s could not start: %s", self._plan.name, failure.summary)
        self._roster.failed(ended, failure)
        self._verdict.blame(Trouble.START, failure, max(1, len(ended)))
        if self._surface.keeps_names:
            await self._surface.forget(ended)

    async def _shrink(self, link: SchedulerLink, surplus: int) -> None:
        """Let go of ``surplus`` workers: those that are not here first, then those that are missed least."""
        if self._surface.keeps_names:
            absent = self._roster.absent[:surplus]
            await self._surface.forget(absent)
            surplus -= len(absent)
        # All of the scheduler's workers in their order, since some of them may be others' and are not ours to end.
        order = await link.workers_to_close(LARGEST_COUNT) if surplus else []
        ours = set(self._roster.connected.values()) - self._leaving()
        if chosen := [address for address in order if address in ours][:surplus]:
            drain = Drain(link, chosen, self.drain_patience)
            self._drains[asyncio.create_task(self._drain(drain))] = drain

    async def _drain(self, drain: Drain) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            gone = await drain.run()
            await self._let_go(self._roster.retired(gone))
            stayed, why = frozenset(drain.workers) - gone, "holds results that no other worker can take"
        except Exception as error:
            logger.exception("clusterhub: draining workers of %s failed", self._plan.name)
            stayed, why = frozenset(drain.workers), f"could not be drained: {error}"
        try:
            drain.finish()
            self._roster.stays(stayed, why)
            if stayed:
                await asyncio.sleep(self.interval * 4)  # asked again later: the results may have been released
        finally:
            self._drains.pop(task, None)

    async def _let_go(self, names: Collection[str]) -> None:
        """Have the manager take note that the workers of these names have left."""
        if not names:
            return
        if not self._surface.keeps_names:
            # Not below those that are here: it would end workers of its own choice.
            await self._surface.scale(max(self._wanted, len(self._roster.living)))
            return
        self._going.update(names)
        try:
            await self._surface.have_ended(names, LEAVE_PATIENCE)
            await self._surface.forget(names)
        finally:
            self._going.difference_update(names)

    async def _call_off_drains(self) -> None:
        for task, drain in list(self._drains.items()):
            if drain.can_be_called_off:
                await _ended(task)
                self._drains.pop(task, None)  # one that was cancelled before it began has not done so itself

    # Ends by itself

    async def _reason_to_end(self, link: SchedulerLink) -> str | None:
        lifecycle = self._plan.spec.lifecycle
        if lifecycle.max_age != "never" and time.monotonic() - self._started > lifecycle.max_age:
            return f"it reached its age of {lifecycle.max_age} (lifecycle.max_age)"
        if lifecycle.idle_timeout != "never":
            awaited = len(self._roster.connected) < self._wanted
            if self._idleness.seconds(await link.idle_since(), awaited=awaited) > lifecycle.idle_timeout:
                return f"nothing was processing for {lifecycle.idle_timeout} (lifecycle.idle_timeout)"
        return None

    def _end_soon(self, reason: str, stored: int) -> None:
        """``stored`` is how many bytes of results end with it."""
        lost = f"; {Bytes(stored).about()} of results went with it" if stored else ""
        logger.warning("clusterhub: %s ends: %s%s", self._plan.name, reason, lost)
        self._gone = f"{reason}{lost}"
        self._loop_task = None  # closing waits for the loop, and this is the loop
        _background(self.close())


_running: set[asyncio.Task[None]] = set()


def _background(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to the end: the event loop itself keeps only weak references to tasks."""
    task = asyncio.create_task(coroutine)
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _uninterrupted(start: Coroutine[Any, Any, None]) -> None:
    """Let a start come to its end even when it is cancelled: Dask's own managers cannot close what is half started."""
    task = asyncio.ensure_future(start)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: nobody wants the start any more, however it ended
        raise


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Cancel ``task`` and wait until it has cleaned up."""
    if task is None or task is asyncio.current_task():
        return
    task.cancel()
    await asyncio.wait([task])


def failure_from(error: BaseException) -> Failure:
    """The failure that a native manager's exception tells of: its innermost cause, which is what went wrong."""
    if isinstance(error, WorkersFailed):
        return error.failure
    innermost = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    text = f"{type(innermost).__name__}: {innermost}" if str(innermost) else type(innermost).__name__
    outer = str(error) if error is not innermost else ""
    return Failure(summary=text, source=outer)
