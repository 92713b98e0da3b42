"""`GatewayDeployment`: one cluster of a gateway, as the contract has it.

The server starts and replaces workers, its scheduler's caretaker lets them go and remembers what the cluster is; here both are
asked, and watched: a line to the scheduler stays up, and what its end means is found out from the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from clusterhub import ClusterGone, ClusterhubError, Failure, Plan, Ref, Unit, Workers, WorkersFailed
from clusterhub.spec import Span
from clusterhub_backends.gateway.line import Line, ended, logged
from clusterhub_backends.gateway.options import GatewayOptions
from clusterhub_backends.gateway.request import Wishes
from clusterhub_backends.gateway.server import NoSuchCluster, Server, Told, Unreachable
from clusterhub_backends.gateway.sight import Sight, units_of

if TYPE_CHECKING:
    from dask_gateway import Gateway
    from dask_gateway.client import ClusterReport
    from distributed import Security

logger = logging.getLogger(__name__)
T = TypeVar("T")

DEAD_AFTER = 10.0
"""Seconds in which a scheduler does not answer that its gateway, which answers, calls running: then it is taken for dead. The
gateway itself waits twice as long as its schedulers' heartbeats take, 30 s by default."""
RETRY = 0.5
"""Seconds between two looks at what became of a line that broke."""


class GatewayDeployment:
    """A living cluster behind a gateway; made by :meth:`start` or :meth:`attached`."""

    def __init__(self, server: Server, plan: Plan[GatewayOptions], name: str) -> None:
        self._server = server
        self._plan = plan
        self._name = name
        self._address = ""
        self._security: Security | None = None
        self._dashboard = ""
        self._line: Line | None = None
        self._token = uuid.uuid4().hex
        self._holds = True
        self._started = datetime.now(UTC)
        self._target = plan.spec.workers
        self._kept = plan.kept
        self._accepted = 0
        self._told = Told(None, "")
        self._gone: ClusterGone | None = None
        self._cause: Failure | None = None
        self._trouble = ""
        self._ends = ""
        self._breaks: list[str] = []
        self._broke: datetime | None = None
        self._came = False
        self._up = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    # Coming to be

    @classmethod
    async def start(cls, plan: Plan[GatewayOptions]) -> Self:
        """A new cluster as planned; returns once its scheduler runs. If it raises, or is cancelled, nothing of it is left."""
        server = Server(plan.options)
        try:
            request = Wishes(plan.spec, plan.options).request(await server.offers())
            name = await _uninterrupted(server.submit(request))
        except BaseException as error:
            await server.close()
            if isinstance(error, _Late):  # it was made just as we were told to stop
                await _stopped(plan.options, error.result)
                raise asyncio.CancelledError from error
            raise
        deployment = cls(server, plan, name)
        try:
            await deployment._begin()
        except BaseException:
            await asyncio.shield(deployment.close())
            raise
        return deployment

    @classmethod
    async def attached(cls, ref: Ref, options: GatewayOptions, plain: Plan[GatewayOptions]) -> Self:
        """The living cluster behind ``ref``; ``plain`` is the plan where nobody remembers one. Raises ClusterGone."""
        server = Server(options)
        try:
            name = str(ref.data["cluster"])
            report = await server.report(name)
            deployment = cls(server, plain, name)
            deployment._holds = False
            deployment._raise_unless_running(report)
            deployment._meet(report)
            await deployment._introduce(kept=True)
            deployment._recall()
        except BaseException:
            await server.close()
            raise
        deployment._begin_to_watch()
        return deployment

    async def _begin(self) -> None:
        report = await self._running()
        self._meet(report)
        workers = self._plan.spec.workers
        if workers.adapts:
            self._heard(workers.maximum, await self._server.adapt(self._name, workers.minimum, workers.maximum))
        elif workers.minimum:
            self._heard(workers.minimum, await self._server.scale(self._name, workers.minimum))
        try:
            await self._introduce(kept=self._plan.kept)
        except ClusterGone as gone:  # a worker's command that does not exist fails it before we have met its scheduler
            await self._hear_of_its_end()
            if self._cause is not None:
                raise WorkersFailed(self._cause, cluster=self._plan.name, support=self._plan.spec.support) from gone
            raise (self._gone or gone) from gone
        self._begin_to_watch()

    def _begin_to_watch(self) -> None:
        self._watch = asyncio.create_task(self._watching(), name=f"clusterhub-watch-{self._name}")
        self._watch.add_done_callback(logged)

    async def _running(self) -> ClusterReport:
        """The server's report once the scheduler runs. Raises WorkersFailed where it does not come to that."""
        while True:
            with contextlib.suppress(Unreachable):  # it may be away for a moment, and go on with what it was told
                report = await self._server.report(self._name, wait=True)
                status = report.status.name
                if status == "RUNNING":
                    return report
                if status != "PENDING":
                    raise WorkersFailed(
                        self._never_ran(status), cluster=self._plan.name, support=self._plan.spec.support
                    )
            await asyncio.sleep(RETRY)

    def _never_ran(self, status: str) -> Failure:
        return Failure(
            summary=f"the gateway could not start its scheduler, and calls it {status.lower()}",
            unit=self._name,
            next_step="if its image or options are your own, see whether they hold a current dask and dask-gateway; why it"
            " failed, only the gateway's log says, which those who run it can read",
        )

    def _meet(self, report: ClusterReport) -> None:
        self._address, self._security = str(report.scheduler_address), report.security
        self._dashboard = report.dashboard_link or ""
        self._started = report.start_time.astimezone(UTC)
        assert self._security is not None  # a running cluster has keys
        self._line = Line(self._address, self._security)

    async def _introduce(self, *, kept: bool) -> None:
        plan, lifecycle = self._plan, self._plan.spec.lifecycle
        asked = plan.spec.workers
        made_here = self._holds
        await self._scheduler.meet(
            {
                "plan": plan.model_dump(mode="json", by_alias=True) if made_here else None,
                "named": plan.named,
                "kept": kept,
                "created": self._started.timestamp(),
                "asked": [asked.minimum, asked.maximum] if made_here else None,
                "limit": self._told.limit,
                "linger": float(lifecycle.linger),
                "idle_timeout": _seconds(lifecycle.idle_timeout) if made_here else None,
                "max_age": _seconds(lifecycle.max_age) if made_here else None,
            }
        )

    def _recall(self) -> None:
        """Take over what its caretaker remembers."""
        memory = self._scheduler.memory
        self._kept = bool(memory.get("kept", True))
        self._told = Told(memory.get("limit"), "")
        if memory.get("plan") is not None:
            plan = plan_from(memory["plan"])
            self._plan = plan.model_copy(update={"options": self._plan.options})
        if memory.get("asked") is not None:
            self._target = _target(memory["asked"])

    # What it is

    @property
    def native(self) -> Gateway:
        """The asynchronous ``dask_gateway.Gateway`` that it is asked through."""
        return self._server.gateway

    @property
    def ref(self) -> Ref:
        """The gateway, and the cluster's name there."""
        data: dict[str, Any] = {"address": self._server.address, "cluster": self._name}
        return Ref(backend=self._plan.backend, name=self._plan.name, data=data)

    @property
    def plan(self) -> Plan[Any]:
        """What it was started from."""
        return self._plan

    @property
    def target(self) -> Workers:
        """How many workers were asked for last, by whomever, as last heard."""
        return self._target

    @property
    def started(self) -> datetime:
        """When the gateway made it."""
        return self._started

    @property
    def named(self) -> bool:
        """Whether somebody chose its name."""
        return self._plan.named

    @property
    def kept(self) -> bool:
        """Whether it outlives its creators, as last heard."""
        return self._kept

    @property
    def scheduler_address(self) -> str:
        """Where the gateway's proxy passes clients on to the scheduler."""
        return self._address

    @property
    def security(self) -> Security | None:
        """The keys of this cluster, which the gateway gave us."""
        return self._security

    @property
    def dashboard_link(self) -> str:
        """The dashboard through the gateway, which asks nobody for a password there."""
        return self._dashboard

    # What it is told

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target, and stop adapting."""
        await self._aim(Workers.exactly(n))

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the gateway's own adaptation choose between ``minimum`` and ``maximum``."""
        await self._aim(Workers(minimum=minimum, maximum=maximum))

    async def _aim(self, workers: Workers) -> None:
        """Tell the caretaker, and beyond what the server was seen to allow the server as well: only that knows its limit."""
        self._raise_if_gone()
        beyond = workers.maximum > self._accepted
        if self._scheduler.attended:
            told = self._scheduler.tell("aim", minimum=workers.minimum, maximum=workers.maximum, tell=not beyond)
            await self._answered(told)
        if beyond or not self._scheduler.attended:
            if workers.adapts:
                answer = await self._answered(self._server.adapt(self._name, workers.minimum, workers.maximum))
            else:
                answer = await self._answered(self._server.scale(self._name, workers.minimum))
            self._heard(workers.maximum, answer)
            if self._scheduler.attended and answer.limit is not None:
                await self._answered(self._scheduler.tell("remember", limit=answer.limit))
        self._target = workers

    def _heard(self, asked: int, told: Told) -> None:
        if told.limit is not None or told.source:
            self._told = told
        else:
            self._accepted = max(self._accepted, asked)

    async def keep(self) -> None:
        """From now on it ends only when it is told to, or by its idle timeout or age."""
        if not self._scheduler.attended:
            self._kept = True
            return
        await self._answered(self._scheduler.tell("remember", kept=True))
        self._kept = True

    async def hold(self) -> None:
        """From now on this process holds it, as its creator did: it ends, or lingers, when all who hold it have ended."""
        self._holds = True
        await ended(self._watch)
        self._up.clear()
        self._begin_to_watch()
        await self._answered(self._now_held())

    async def _now_held(self) -> None:
        await self._up.wait()

    # What it tells

    async def units(self) -> Sequence[Unit]:
        """One unit for each worker that is connected or wanted."""
        return (await self.observe())[0]

    async def failure(self) -> Failure | None:
        """Why nothing more is launched, or None."""
        return (await self.observe())[1]

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """Both, of one moment."""
        try:
            sight = await self._seen()
        except ClusterGone:
            if self._cause is None:
                raise
            return (), self._cause  # why it has gone is what whoever waits wants to hear
        self._target, self._kept = sight.target, sight.kept
        return units_of(sight), self._over_the_limit(sight)

    async def _seen(self) -> Sight:
        if self._scheduler.attended:
            sight = Sight.of(await self._answered(self._scheduler.tell("observe")), self._target)
            if sight.limit is not None and sight.limit != self._told.limit:
                self._told = Told(sight.limit, "")
            return sight
        identity = await self._answered(self._scheduler.link.identity())
        return Sight.bare(identity["workers"], self._target, self._told.limit, self._kept)

    def _over_the_limit(self, sight: Sight) -> Failure | None:
        """The server's limit is for good: once as many are there, no wait for more can end."""
        limit = sight.limit
        if limit is None or sight.target.adapts or sight.target.minimum <= limit or len(sight.workers) < limit:
            return None
        return Failure(
            summary=f"the gateway allows {limit} workers in a cluster, and {sight.target.minimum} are asked for",
            source=self._told.source,
            because="workers",
            next_step=f"ask for {limit}, or those who run the gateway for more (its cluster_max_workers, cores or memory)",
        )

    async def remarks(self) -> Sequence[str]:
        """What there is to know besides."""
        found = [*self._breaks]
        if self._line is not None and self._line.remark:
            found.append(self._line.remark)
        limit = self._told.limit
        if limit is not None and self._target.adapts and self._target.maximum > limit:
            found.append(
                f"the gateway allows {limit} workers in a cluster: of the {self._target.maximum} no more can come"
            )
        return found

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The latest log lines of the scheduler and of each connected worker, or of the one called ``unit``."""
        sight = await self._seen()
        by_address = await self._answered(self._scheduler.link.logs())
        names = {address: worker.name for address, worker in sight.workers.items()}
        texts = {names.get(address, address): text for address, text in by_address.items()}
        return texts if unit is None else {unit: texts[unit]}

    # Its end

    async def release(self) -> bool:
        """This process needs it no more: it ends, unless it is kept or others hold it. Whether it did."""
        if self._closed:
            return False
        ends = not self._kept
        if self._gone is None and self._line is not None and self._line.attended:
            with contextlib.suppress(ClusterhubError):
                ends = await self._scheduler.tell("release", token=self._token)
        await self.close(shutdown=ends)
        return ends

    async def close(self, *, shutdown: bool = True) -> None:
        """Have the gateway end it, which it does by itself once it has been told; or only let go of it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await ended(self._watch)
            if self._line is not None:
                await self._line.close()
            if shutdown:
                await self._stop()
        finally:
            await self._server.close()

    async def _stop(self) -> None:
        deadline = time.monotonic() + DEAD_AFTER
        while True:
            try:
                await self._server.stop(self._name)
                return
            except NoSuchCluster:
                return
            except Unreachable as error:
                if time.monotonic() > deadline and self._ends_by_itself:
                    logger.warning("clusterhub: %s; %s ends by itself soon after it is back", error, self._plan.name)
                    return
                if time.monotonic() > deadline:
                    raise ClusterhubError(
                        f"{self._plan.name} could not be ended: {error}\n  it is {self._name} there; clusterhub down"
                        f" {self._plan.name} ends it once the gateway is back"
                    ) from error
            await asyncio.sleep(RETRY)

    @property
    def _ends_by_itself(self) -> bool:
        """Whether its caretaker ends it for want of those who made it, once the gateway is back."""
        return self._holds and not self._kept and self._line is not None and self._line.attended

    # The watch

    @property
    def _scheduler(self) -> Line:
        assert self._line is not None  # `start` and `attached` set it before anybody can ask
        return self._line

    async def _answered(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer; or what is known of why none comes, which a broken line tells sooner than a time limit."""
        asking = asyncio.ensure_future(question)
        try:
            self._raise_if_gone()
            while not asking.done():
                await asyncio.wait([asking], timeout=RETRY)
                if not asking.done():
                    self._raise_if_gone()
            return asking.result()
        except NoSuchCluster as gone:
            self._gone = self._gone or gone
            raise
        except ClusterGone as gone:
            await self._find_out()
            self._raise_if_gone()
            raise ClusterGone(f"cluster {self._plan.name}: {gone}", final=False) from gone
        finally:
            await ended(asking)

    def _raise_if_gone(self) -> None:
        if self._closed:
            raise ClusterGone(f"cluster {self._plan.name} is gone: it has been closed")
        if self._gone is not None:
            raise self._gone
        if self._trouble:
            raise ClusterGone(f"cluster {self._plan.name} does not answer: {self._trouble}", final=False)

    async def _find_out(self) -> None:
        """Ask the server what became of it, where the watch has not yet."""
        with contextlib.suppress(Unreachable):
            try:
                self._judge(await self._server.report(self._name))
            except NoSuchCluster as gone:
                self._gone = self._gone or gone

    async def _hear_of_its_end(self) -> None:
        """Wait, for a few seconds, until the server says how it ended, if it has."""
        deadline = time.monotonic() + DEAD_AFTER
        while self._gone is None and time.monotonic() < deadline:
            await self._find_out()
            await asyncio.sleep(RETRY)

    async def _watching(self) -> None:
        """Keep the line to the scheduler up, and find out what it means when it breaks."""
        silent_since = time.monotonic()
        while self._gone is None:
            try:
                await self._scheduler.stay(self._token, self._holds, self._now_up, self._hear)
                silent_since, self._broke = time.monotonic(), datetime.now().astimezone()
            except ClusterGone as gone:
                logger.debug("clusterhub: %s", gone)
            silent_since = await self._look(silent_since)
            if self._gone is None:
                await asyncio.sleep(RETRY)

    def _now_up(self) -> None:
        self._trouble = ""
        self._up.set()
        if self._broke is not None:
            self._tell_break(self._broke)
            self._broke = None

    async def _look(self, since: float) -> float:
        """What the server says while the scheduler does not answer; the time from which on it counts as dead."""
        try:
            report = await self._server.report(self._name)
        except NoSuchCluster as gone:
            self._gone = gone
        except ClusterhubError as error:
            self._trouble = f"{error}; its tasks go on meanwhile"
            return time.monotonic()  # nobody could be reached
        else:
            self._judge(report)
            silent = time.monotonic() - since
            if report.status.name == "STOPPING":
                self._trouble = "the gateway is ending it"
            else:
                self._trouble = "" if silent < 2 * RETRY else f"its scheduler has not answered for {silent:.0f} s"
            if self._gone is None and silent > DEAD_AFTER:
                self._gone = ClusterGone(
                    f"cluster {self._plan.name} is gone: its scheduler has not answered for {silent:.0f} s, while the gateway"
                    f" answers and has yet to notice; its results are lost"
                )
        return since

    def _judge(self, report: ClusterReport) -> None:
        """Conclude from what the server calls it. While it is STOPPING it is not yet known what it will have been."""
        status = report.status.name
        if status in ("RUNNING", "STOPPING") or self._gone is not None:
            return
        if self._ends:
            why = self._ends
        elif status == "FAILED":
            why = "the gateway gave it up, as failed: its scheduler died, or too many workers in a row did not start"
            if not self._came and self._target.maximum > 0:
                self._cause = self._no_worker_came()
        else:
            why = "it was ended, by somebody else or by the gateway's own rules (idle timeout)"
        self._gone = ClusterGone(f"cluster {self._plan.name} is gone: {why}")

    def _no_worker_came(self) -> Failure:
        return Failure(
            summary="the gateway gave the cluster up: not one worker has connected",
            unit=self._name,
            next_step="see whether the image, and the options that you chose, start `dask worker`; why workers ended, only the"
            " gateway's log says, which those who run it can read",
        )

    def _raise_unless_running(self, report: ClusterReport) -> None:
        status = report.status.name
        if status == "PENDING":
            raise ClusterGone(f"cluster {self._name} of {self._server.address} is only starting", final=False)
        if status != "RUNNING":
            raise ClusterGone(f"cluster {self._name} of {self._server.address} is {status.lower()}")

    def _hear(self, said: Mapping[str, Any]) -> None:
        self._came = self._came or bool(said.get("came"))
        self._ends = str(said.get("ends", self._ends))

    def _tell_break(self, when: datetime) -> None:
        until = datetime.now().astimezone()
        self._breaks.append(
            f"the way to the scheduler was broken from {when:%H:%M:%S} to {until:%H:%M:%S}: its workers went on, but the futures"
            " of clients that were connected are lost unless they were published; submit again, or client.get_dataset"
        )


# Parts


class _Late(Exception):
    """We were cancelled, and the answer came all the same."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


async def _uninterrupted(question: Awaitable[str]) -> str:
    """The answer. If cancelled meanwhile it is waited for, since whatever it made has to be undone. Raises _Late then."""
    asking = asyncio.ensure_future(question)
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        if asking.cancelled() or asking.exception() is not None:
            raise
        raise _Late(asking.result()) from None


async def _stopped(options: GatewayOptions, name: str) -> None:
    server = Server(options)
    try:
        await asyncio.shield(server.stop(name))
    finally:
        await server.close()


def plan_from(data: Mapping[str, Any]) -> Plan[GatewayOptions]:
    """The plan that a caretaker remembers; its secrets are hidden."""
    import json

    # From JSON text rather than from Python values: strict models take a list for a tuple only there.
    return Plan[GatewayOptions].model_validate_json(json.dumps(data))


def _target(asked: Sequence[int]) -> Workers:
    return Workers(minimum=asked[0], maximum=asked[1])


def _seconds(span: Span) -> float | None:
    return None if span == "never" else float(span)
