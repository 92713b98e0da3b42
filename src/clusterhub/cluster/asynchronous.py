"""`AsyncCluster`: one cluster from its profile to its end, for code that runs on an event loop."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from clusterhub._dask.client import client_of
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub._dask.status import Status
from clusterhub.backend import Deployment, Plan, Remarks, Standalone, Unit
from clusterhub.cluster.targets import Targets
from clusterhub.cluster.waiting import Wait, seconds
from clusterhub.display import Display, Report, choose
from clusterhub.display.news import News
from clusterhub.errors import ClusterGone, ConfigError, Failure, Unsupported, WorkersFailed
from clusterhub.spec import Workers

if TYPE_CHECKING:
    from distributed import Client, Security

    from clusterhub.cluster.live import Live

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """How a facade comes by its cluster, and what it owes it in the end."""

    open: Callable[[], Awaitable[Deployment]]
    """Starts it, or finds it."""
    owner: bool = True
    """Whether closing the facade ends the cluster, unless it is kept."""
    inline: bool = True
    """Whether it lives in this process."""
    news: News = field(default_factory=News)
    """What is said while it is opened, where that may take long."""


@dataclass(frozen=True)
class Adapting:
    """An order to adapt, which may be awaited; with the range, as Dask's own ``Adaptive`` has it (dask-labextension reads it)."""

    order: Awaitable[None]
    minimum: int
    maximum: int

    def __await__(self) -> Generator[Any, None, None]:
        return self.order.__await__()


_by_name: weakref.WeakValueDictionary[str, AsyncCluster] = weakref.WeakValueDictionary()


class AsyncCluster:
    """A cluster that keeps the workers it was asked for; awaitable, and an async context manager that closes it.

    Everything that works with Dask's own clusters works with it: ``Client(cluster, asynchronous=True)``, ``status``,
    ``scheduler_info``, ``wait_for_workers``, ``get_logs``, ``dashboard_link``.
    """

    def __init__(self, plan: Plan[Any], opening: Opening) -> None:
        self._plan = plan
        self._opening = opening
        self._targets = Targets(plan)
        self._deployment: Deployment | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._lives_on = False
        self._awaiting = 0
        self._orders = asyncio.Lock()
        self._status = Status.created
        self._began = datetime.now(UTC)
        self._link: SchedulerLink | None = None
        self._identity: dict[str, Any] = {"workers": {}}
        self._background: set[asyncio.Task[Any]] = set()
        self._last_report: Report | None = None
        self._on_closed: list[Callable[[], None]] = []
        self._live: Live | None = None

    # Life

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _start(self) -> Self:
        """Return once a client can connect. Raises what the start raised; nothing is left of it then."""
        if self._status in (Status.closing, Status.closed, Status.failed):
            raise ClusterGone(f"cluster {self.name} has been closed; connect again for a new one")
        if self._starting is None:
            self._status = Status.starting
            self._starting = asyncio.create_task(self._begin(), name=f"clusterhub-start-{self.name}")
        self._awaiting += 1
        try:
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            if self._awaiting == 1 and not self._starting.done():  # of several who wait for it nobody is left
                self._starting.cancel()
                await asyncio.wait([self._starting])
                self._status = Status.closed
            raise
        finally:
            self._awaiting -= 1
        return self

    async def _begin(self) -> None:
        if self._opening.inline:
            self._claim_name()
        try:
            self._adopt(await self._opening.open())
        except WorkersFailed as failed:
            self._status = Status.failed
            cause, support = self._with_origin(failed.failure), failed.support or self._plan.spec.support
            raise WorkersFailed(cause, cluster=self._place, support=support) from failed.__cause__
        except BaseException:
            self._status = Status.failed
            raise
        self._status = Status.running

    def _claim_name(self) -> None:
        """Names of clusters that live in this process are known to nobody else, and are told apart here."""
        other = _by_name.get(self.name)
        if other is not None and other.status is Status.running:
            self._status = Status.failed
            raise ConfigError.of(
                "a cluster of that name lives in this process; close it first, or leave the name out",
                origin="call",
                path=f"name = {self.name!r}",
            )
        _by_name[self.name] = self

    def _adopt(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._began = datetime.now(UTC)
        if isinstance(deployment, Standalone):  # it may be older than we are, and have been told other things since
            self._plan, self._began = deployment.plan, deployment.started
            self._targets = Targets(self._plan)
            self._targets.now = deployment.target

    async def close(self) -> None:
        """Need it no more. Idempotent, and safe from several places at once.

        What was made by ``connect`` ends, with all that it started; a cluster that is kept, that was attached to, or that
        other processes hold as well is left running.
        """
        await self._end(self._closed)

    async def shutdown(self) -> None:
        """End the cluster, and return when all that it started has ended, whoever made or keeps it. Idempotent."""
        self._raise_if_let_go()
        await self._end(self._shut_down)

    def _raise_if_let_go(self) -> None:
        if self._lives_on:
            raise ClusterGone(
                f"this object let go of {self.name} already; clusterhub.attach({self.name!r}).shutdown() ends it"
            )

    async def detach(self) -> None:
        """Leave the cluster running: from now on it is kept, and this object is done with it.

        ``clusterhub.attach(name)`` finds it again. Raises Unsupported for one that lives in this process.
        """
        deployment = self._alive()
        if not isinstance(deployment, Standalone):
            raise Unsupported(
                self._plan.backend,
                {"detach": "it lives in this process, and ends with it; connect with name= or keep=True instead"},
            )
        await self._guarded(deployment.keep())
        await self.close()

    async def _leave(self) -> None:
        """This process ends, or nobody holds this object any more: what can live on without us does so for its while."""
        await self._end(self._left)

    async def _end(self, how: Callable[[Deployment], Awaitable[None]]) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(how), name=f"clusterhub-close-{self.name}")
        # Shielded: one of several who wait for the end must not stop it for the others.
        await asyncio.shield(self._closing)

    async def _closed(self, deployment: Deployment) -> None:
        if not self._opening.owner:
            self._lives_on = True
            await deployment.close(shutdown=False)
        elif isinstance(deployment, Standalone):
            self._lives_on = not await deployment.release()
        else:
            await deployment.close()

    async def _shut_down(self, deployment: Deployment) -> None:
        await deployment.close()

    async def _left(self, deployment: Deployment) -> None:
        if self.outlives_us:
            self._lives_on = True
            await deployment.close(shutdown=False)
        else:
            await self._closed(deployment)

    async def _close(self, how: Callable[[Deployment], Awaitable[None]]) -> None:
        if self._status is not Status.closed:  # found gone already: what is left of it here has to end all the same
            self._status = Status.closing
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        try:
            if self._link is not None:
                await self._link.close()
            if self._deployment is not None:
                await how(self._deployment)
        finally:
            self._status = Status.closed
            for closed in self._on_closed:
                closed()

    @property
    def outlives_us(self) -> bool:
        """Whether it stays for a while when this process ends without closing it."""
        deployment = self._deployment
        if not self._opening.owner:
            return True
        return isinstance(deployment, Standalone) and (deployment.named or deployment.kept)

    @property
    def status(self) -> Status:
        """Dask's status: created, starting, running, closing, closed or failed."""
        return self._status

    # What it is told

    def scale(self, n: int, **foreign: Any) -> Awaitable[None]:
        """Make ``n`` workers the target from now on: lost ones are replaced until it is told otherwise.

        It counts Dask workers on every backend, ends adapting, and loses no result on the way down. It takes effect whether
        or not it is awaited. Raises ConfigError for a number that cannot be meant or is over the profile's limit.
        """
        target = self._targets.fixed(n, foreign)
        return self._order(target, lambda deployment: deployment.scale(target.minimum))

    def adapt(self, minimum: int | None = None, maximum: int | None = None, **foreign: Any) -> Adapting:
        """Let the number of workers follow the load between ``minimum`` and ``maximum``.

        By default it is the profile's own range. It takes effect whether or not it is awaited. Raises ConfigError.
        """
        target = self._targets.range(minimum, maximum, foreign)
        order = self._order(target, lambda deployment: deployment.adapt(target.minimum, target.maximum))
        return Adapting(order, target.minimum, target.maximum)

    def _order(self, target: Workers, give: Callable[[Deployment], Awaitable[None]]) -> Awaitable[None]:
        self._alive()
        before, self._targets.now = self._targets.now, target
        task = asyncio.ensure_future(self._given_in_turn(give, target, before))
        self._background.add(task)
        task.add_done_callback(self._given)
        return task

    async def _given_in_turn(
        self, give: Callable[[Deployment], Awaitable[None]], target: Workers, before: Workers
    ) -> None:
        """Orders reach the deployment in the order in which they were given: the last word wins."""
        async with self._orders:
            try:
                await self._guarded(give(self._alive()))
            except BaseException:
                if self._targets.now is target:
                    self._targets.now = before
                raise

    def _given(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever did not await the order has no other way to learn of it.
            logger.warning("clusterhub: %s did not take the order: %s", self.name, error)

    # What it tells

    @property
    def kept(self) -> bool:
        """Whether it outlives the process that made it, until it is told to end."""
        return isinstance(self._deployment, Standalone) and self._deployment.kept

    @property
    def minimum(self) -> int:
        """The fewest workers of the present target."""
        return self._targets.now.minimum

    @property
    def maximum(self) -> int:
        """The most workers of the present target."""
        return self._targets.now.maximum

    async def units(self) -> Sequence[Unit]:
        """The units (jobs, pods, processes) as observed now, each with its state and the reason for it."""
        return tuple(await self._guarded(self._alive().units()))

    async def report(self) -> Report:
        """What was asked and what is there: queued, running, connected and failed, with reasons."""
        deployment = self._alive()
        units, failure = await self._observed()
        report = self._last_report = Report(
            name=self.name,
            profile=self._place,
            backend=self._plan.backend,
            unit_noun=self._plan.unit_noun,
            target=self._targets.now,
            connected=sum(len(unit.workers) for unit in units),
            units=tuple(units),
            failure=self._with_origin(failure) if failure is not None else None,
            scheduler_address=self.scheduler_address,
            dashboard_link=self.dashboard_link,
            started=self._began,
            support=self._plan.spec.support,
            remarks=tuple(await self._guarded(deployment.remarks())) if isinstance(deployment, Remarks) else (),
        )
        return report

    @property
    def _place(self) -> str:
        """What people call the place where it lives: one that was made without clusterhub has no profile."""
        return self._plan.profile or self._plan.backend

    async def _observed(self) -> tuple[Sequence[Unit], Failure | None]:
        deployment = self._alive()
        if not isinstance(deployment, Standalone):
            return await self._guarded(deployment.units()), await self._guarded(deployment.failure())
        units, failure = await self._guarded(deployment.observe())
        if not self._orders.locked():  # an order of ours that is under way is newer than what was heard
            self._targets.now = deployment.target
        return units, failure

    def _with_origin(self, failure: Failure) -> Failure:
        """A backend names the key that decides it (``environment.python``); where that was written, only we know."""
        if failure.because == "workers" and self._targets.now != self._plan.spec.workers:
            return failure  # they were told another number since, which is written nowhere
        leaf = next((leaf for leaf in self._plan.values if leaf.path == failure.because), None)
        return failure if leaf is None else replace(failure, because=f"{leaf.origin}  {leaf.path} = {leaf.text}")

    async def wait(
        self, n: int | None = None, timeout: str | float | None = None, *, display: Display | None = None
    ) -> None:
        """Return when ``n`` workers are connected, by default all that are asked for (of a range, its minimum).

        Shows what it waits for. ``timeout`` is in seconds, or as ``"30m"``. Raises WorkersFailed with the cause once they
        cannot come, and WaitTimeout with the state that they were in.
        """
        wait = self._wait(n, timeout, display)
        began = time.monotonic()
        with wait.display:
            while True:
                try:
                    if wait.over(await self.report(), elapsed := time.monotonic() - began):
                        return
                except ClusterGone as gone:
                    wait.silent(gone, elapsed := time.monotonic() - began)
                await asyncio.sleep(wait.pause(elapsed))

    def _wait(self, n: int | None, timeout: str | float | None, display: Display | None) -> Wait:
        wanted = self._targets.awaited(n)
        return Wait(wanted, seconds(timeout), display or choose())

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The logs by name: of the scheduler and each unit, or of one unit. Raises KeyError for an unknown one."""
        try:
            return await self._guarded(self._alive().logs(unit))
        except KeyError:
            names = [found.name for found in await self.units()]
            raise KeyError(f"{self.name} has no unit {unit!r}; it has {', '.join(names) or 'none'}") from None

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self._plan.name

    @property
    def started_from(self) -> Plan[Any]:
        """The plan that it was started from, as far as that is known: one that was made without clusterhub has no uid."""
        return self._plan

    @property
    def scheduler_address(self) -> str:
        """The address for clients; empty before the start, and a text always, as ``Client`` wants it."""
        return self._deployment.scheduler_address if self._deployment is not None else ""

    @property
    def security(self) -> Security | None:
        """What a client needs to be let in, or None."""
        return self._deployment.security if self._deployment is not None else None

    @property
    def dashboard_link(self) -> str:
        """A link to Dask's dashboard that works from here, or an empty text."""
        return self._deployment.dashboard_link if self._deployment is not None else ""

    @property
    def native(self) -> Any:
        """The native manager's own object where there is one: the way out, and no part of any guarantee."""
        return self._deployment.native if self._deployment is not None else None

    # What Dask's own clusters have

    def get_client(self, **options: Any) -> Client:
        """A Dask client of this cluster, to be awaited; ``options`` go to ``distributed.Client``."""
        return client_of(self, asynchronous=True, **options)

    async def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> None:
        """Dask's own: return when ``n_workers`` are connected; raises TimeoutError (a WaitTimeout)."""
        from clusterhub.display.waiting import silent

        await self.wait(n_workers, timeout, display=silent())

    async def get_logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> dict[str, str]:
        """Dask's own: logs by name. ``cluster`` means its keeper's, where it has one."""
        texts = await self.logs()
        wanted = {"keeper": cluster, "scheduler": scheduler}
        return {name: text for name, text in texts.items() if wanted.get(name, workers)}

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's account of itself and its workers, as last heard; reading it asks for a newer one."""
        if self._status is Status.running:
            task = asyncio.ensure_future(self.identity())
            self._background.add(task)
            task.add_done_callback(self._quietly_done)
        return self._identity

    def _quietly_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who reads the property wants what is known, not why there is no more

    async def identity(self) -> dict[str, Any]:
        """The scheduler's account of itself and its workers (by address, under ``workers``), asked for now."""
        self._identity = await self._guarded(self._line().identity())
        return self._identity

    def _line(self) -> SchedulerLink:
        deployment = self._alive()
        if self._link is None:
            self._link = SchedulerLink(deployment.scheduler_address, deployment.security)
        return self._link

    # Guards

    def _alive(self) -> Deployment:
        if self._deployment is None or self._status is not Status.running:
            self._raise_gone()
        return self._deployment

    def _raise_gone(self) -> NoReturn:
        if self._status is Status.created:
            raise ClusterGone(f"cluster {self.name} has not been started; await it, or use `async with`")
        raise ClusterGone(f"cluster {self.name} is {self._status.name}; connect again for a new one")

    async def _guarded(self, call: Awaitable[T]) -> T:
        """What ``call`` returns; a cluster that is found gone is closed from now on, for Dask's clients too."""
        try:
            return await call
        except ClusterGone as gone:
            if gone.final and self._status is Status.running:
                self._status = Status.closed
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} on {self._place}: {self._status.name}, {self._targets.now} workers>"

    def _repr_html_(self) -> str:
        if self._last_report is None or self._status is not Status.running:
            from html import escape

            return f"<code>{escape(repr(self))}</code>"
        return self._last_report._repr_html_()

    def _repr_mimebundle_(self, **wanted: Any) -> dict[str, Any]:
        from clusterhub.cluster.live import bundle

        return bundle(self)
