"""`GatewayDeployment`: one cluster of a gateway. The server starts and replaces workers, and tells what it calls the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Self

from clusterhub import ClusterGone, Failure, Plan, Ref, Unit, Workers, WorkersFailed
from clusterhub.elsewhere import ElsewhereDeployment, Fate, Stage, uninterrupted
from clusterhub.elsewhere.deployment import RETRY
from clusterhub.parts import Line
from clusterhub_backends.gateway.options import GatewayOptions
from clusterhub_backends.gateway.request import Wishes
from clusterhub_backends.gateway.server import Server, Told, Unreachable
from clusterhub_backends.gateway.sight import Sight, units_of

if TYPE_CHECKING:
    from dask_gateway import Gateway
    from dask_gateway.client import ClusterReport

START_PATIENCE = 60.0
"""Seconds that a gateway may be away while a cluster of it starts."""
STAGES: Mapping[str, Stage] = {
    "PENDING": Stage.STARTING,
    "RUNNING": Stage.RUNNING,
    "STOPPING": Stage.ENDING,
    "STOPPED": Stage.ENDED,
    "FAILED": Stage.FAILED,
}


class GatewayDeployment(ElsewhereDeployment):
    """A living cluster behind a gateway; made by :meth:`start` or :meth:`attached`."""

    def __init__(self, server: Server, plan: Plan[GatewayOptions], name: str) -> None:
        super().__init__(plan)
        self.system = f"the gateway at {server.address}"
        self._server = server
        self._name = name
        self._dashboard = ""
        self._accepted = 0
        self._told = Told(None, "")

    # Coming to be

    @classmethod
    async def start(cls, plan: Plan[GatewayOptions]) -> Self:
        """A new cluster as planned; returns once its scheduler runs. If it raises, or is cancelled, nothing of it is left."""
        server = Server(plan.options)
        try:
            request = Wishes(plan.spec, plan.options).request(await server.offers())
            name = await uninterrupted(server.submit(request), server.stop)
        except Unreachable as error:
            await server.close()
            raise Unreachable(
                f"{error}\n  next  if it had been asked for a cluster already, clusterhub ls shows that"
            ) from error
        except BaseException:
            await server.close()
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
            await deployment.introduce(kept=True, ours=False)
            deployment.recall()
            deployment._told = Told(deployment.scheduler.memory.get("limit"), "")
            await deployment.seen()  # what it works for, where nobody remembers what was asked
        except BaseException:
            await server.close()
            raise
        deployment.begin_to_watch()
        return deployment

    async def _begin(self) -> None:
        self._meet(await self._running())
        workers = self._plan.spec.workers
        if workers.adapts or workers.minimum:
            self._heard(workers.maximum, await self._told_to_server(workers))
        try:
            await self.introduce(kept=self._plan.kept, ours=True)
            self.refuse_to_be_forgotten()
            if self._told.limit is not None and self.scheduler.attended:
                await self.scheduler.tell("remember", limit=self._told.limit)
        except ClusterGone as gone:  # a worker's command that does not exist fails it before we have met its scheduler
            await self.raise_its_end(gone)
        self.begin_to_watch()

    async def _running(self) -> ClusterReport:
        """The server's report once the scheduler runs. Raises WorkersFailed where it does not come to that."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            try:
                report = await self._server.report(self._name, wait=True)
            except Unreachable:  # it may be away for a moment, and go on with what it was told
                if time.monotonic() > deadline:
                    raise
            else:
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
        from clusterhub_backends.gateway.caretaker import GatewayCaretaker

        self._dashboard = report.dashboard_link or ""
        self._started = report.start_time.astimezone(UTC)
        assert report.security is not None  # a running cluster has keys
        self._line = Line(str(report.scheduler_address), report.security, GatewayCaretaker)

    def _raise_unless_running(self, report: ClusterReport) -> None:
        status = report.status.name
        if status == "PENDING":
            raise ClusterGone(f"cluster {self._name} of {self._server.address} is only starting", final=False)
        if status != "RUNNING":
            raise ClusterGone(f"cluster {self._name} of {self._server.address} is {status.lower()}")

    # What it is

    @property
    def native(self) -> Gateway:
        """The asynchronous ``dask_gateway.Gateway`` that it is asked through."""
        return self._server.gateway

    @property
    def own_name(self) -> str:
        """Hexadecimal digits."""
        return self._name

    @property
    def ref(self) -> Ref:
        """The gateway, and the cluster's name there."""
        data: dict[str, Any] = {"address": self._server.address, "cluster": self._name}
        return Ref(backend=self._plan.backend, name=self._plan.name, data=data)

    @property
    def dashboard_link(self) -> str:
        """The dashboard through the gateway, which asks nobody for a password there."""
        return self._dashboard

    # What it is told

    async def aim(self, workers: Workers) -> None:
        """Tell the caretaker, and beyond what the server was seen to allow the server as well: only that knows its limit."""
        beyond, attended = workers.maximum > self._accepted, self.scheduler.attended
        if attended:
            told = self.scheduler.tell("aim", minimum=workers.minimum, maximum=workers.maximum, tell=not beyond)
            await self.answered(told)
        if beyond or not attended:
            answer = await self.answered(self._told_to_server(workers))
            self._heard(workers.maximum, answer)
            if attended and answer.limit is not None:
                await self.answered(self.scheduler.tell("remember", limit=answer.limit))

    async def _told_to_server(self, workers: Workers) -> Told:
        if workers.adapts:
            return await self._server.adapt(self._name, workers.minimum, workers.maximum)
        return await self._server.scale(self._name, workers.minimum)

    def _heard(self, asked: int, told: Told) -> None:
        if told.limit is not None or told.source:
            self._told = told
        else:
            self._accepted = max(self._accepted, asked)

    # What it tells

    async def seen(self) -> tuple[Sequence[Unit], Failure | None]:
        """Its workers, and those that are wanted."""
        sight = await self._sight()
        self._target, self._kept = sight.target, sight.kept
        self._came = self._came or bool(sight.workers)
        return units_of(sight), self._over_the_limit(sight)

    async def _sight(self) -> Sight:
        if self.scheduler.attended:
            sight = Sight.of(await self.answered(self.scheduler.tell("observe")), self._target)
            if sight.limit is not None and sight.limit != self._told.limit:
                self._told = Told(sight.limit, "")
            return sight
        identity = await self.answered(self.scheduler.link.identity())
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
        limit = self._told.limit
        if limit is None or not self._target.adapts or self._target.maximum <= limit:
            return await super().remarks()
        beyond = f"the gateway allows {limit} workers in a cluster: of the {self._target.maximum} no more can come"
        return [*await super().remarks(), beyond]

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The latest log lines of the scheduler and of each connected worker, or of the one called ``unit``."""
        sight = await self._sight()
        return await self.logs_by_worker({address: worker.name for address, worker in sight.workers.items()}, unit)

    # Its end

    async def fate(self) -> Fate:
        """What the server calls it. While it is STOPPING it is not yet known what it will have been."""
        stage = STAGES[(await self._server.report(self._name)).status.name]
        if stage is Stage.FAILED:
            why = "the gateway gave it up, as failed: its scheduler died, or too many workers in a row did not start"
            return Fate(stage, why, self._no_worker_came())
        return Fate(
            stage,
            "it was ended: by somebody else, by the gateway's own rules, or since nothing was heard of us for long",
        )

    def _no_worker_came(self) -> Failure:
        return Failure(
            summary="the gateway gave the cluster up: not one worker has connected",
            unit=self._name,
            next_step="see whether the image, and the options that you chose, start `dask worker`; why workers ended, only the"
            " gateway's log says, which those who run it can read",
        )

    async def stop(self) -> None:
        """Have the server end it."""
        await self._server.stop(self._name)

    async def hang_up(self) -> None:
        """Let go of the server."""
        await self._server.close()
