"""`ElsewhereDeployment`: one cluster whose scheduler runs in a system that starts, replaces and ends its workers.

Its caretaker, in the scheduler, lets workers go and remembers what the cluster is; the system does the rest. Here both are asked,
and watched: a line to the scheduler stays up, and what its end means is found out from the system.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from clusterhub._dask.line import Line, TooBusy, ended, logged
from clusterhub.backend import Plan, Ref, Unit
from clusterhub.errors import ClusterGone, ClusterhubError, Failure, Unsupported, WorkersFailed
from clusterhub.spec import Span, Workers

if TYPE_CHECKING:
    from distributed import Security

logger = logging.getLogger(__name__)
T = TypeVar("T")

DEAD_AFTER = 10.0
"""Seconds for which a scheduler refuses connections that its system, which answers, calls running: then it is dead. One that is
busy, or stopped, takes them and says nothing."""
STOP_PATIENCE = 10.0
"""Seconds for which a system that does not answer is told again to end a cluster."""
RETRY = 0.5
"""Seconds between two looks at what became of a line that broke."""


class Stage(StrEnum):
    """What a system calls a cluster."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    """It is not yet known what it will have been."""
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fate:
    """What a system says has become of a cluster."""

    stage: Stage
    reason: str = ""
    """Why it is no longer running."""
    failure: Failure | None = None
    """The evidence, where it failed for want of workers."""


class ElsewhereDeployment(ABC):
    """A living cluster elsewhere. A subclass asks and tells its system; see the methods without a body."""

    system: str
    """What the system is called where it does not answer: ``the gateway at https://…``."""

    def __init__(self, plan: Plan[Any]) -> None:
        self._plan = plan
        self._line: Line | None = None
        self._token = uuid.uuid4().hex
        self._holds = True
        self._started = datetime.now(UTC)
        self._target = plan.spec.workers
        self._kept = plan.kept
        self._gone: ClusterGone | None = None
        self._cause: Failure | None = None
        self._trouble = ""
        self._ends = ""
        self._died = False
        self._breaks: list[str] = []
        self._broke: datetime | None = None
        self._came = False
        self._up = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    # What a system adds

    @abstractmethod
    async def fate(self) -> Fate:
        """What the system calls it now. Raises ClusterGone where it knows no such cluster any more, and ClusterhubError where
        the system does not answer."""

    @abstractmethod
    async def aim(self, workers: Workers) -> None:
        """Have the system work for so many, and the caretaker know. Raises ClusterhubError."""

    @abstractmethod
    async def seen(self) -> tuple[Sequence[Unit], Failure | None]:
        """Its units, and why no more will come; refreshes target and kept. Raises ClusterhubError."""

    @abstractmethod
    async def stop(self) -> None:
        """Have the system end it, as it then does by itself. Idempotent. Raises ClusterhubError where it does not answer."""

    @abstractmethod
    async def hang_up(self) -> None:
        """Let go of the system."""

    async def new_line(self) -> Line | None:
        """Another line, where the way to the scheduler has to be found anew; None where it is the same one."""
        return None

    # Coming to be

    async def introduce(self, *, kept: bool, ours: bool) -> None:
        """Meet its caretaker, or install one: of a cluster of ours it remembers all, of another one only that it is kept."""
        plan, lifecycle = self._plan, self._plan.spec.lifecycle
        asked = plan.spec.workers
        await self.scheduler.meet(
            {
                "plan": plan.model_dump(mode="json", by_alias=True) if ours else None,
                "named": plan.named,
                "kept": kept,
                "created": self._started.timestamp(),
                "asked": [asked.minimum, asked.maximum] if ours else None,
                "limit": None,
                "linger": float(lifecycle.linger),
                "idle_timeout": _seconds(lifecycle.idle_timeout) if ours else None,
                "max_age": _seconds(lifecycle.max_age) if ours else None,
            }
        )

    def refuse_to_be_forgotten(self) -> None:
        """Raise Unsupported for a cluster that is to be found again, or kept, and has nobody who would remember that."""
        if self.scheduler.remark and (self._plan.named or self._plan.kept):
            what = "name" if self._plan.named else "keep"
            raise Unsupported(self._plan.backend, {what: f"{self.scheduler.remark}; nobody would find it again"})

    def recall(self) -> None:
        """Take over what its caretaker remembers. The options stay those that we ask the system with."""
        memory = self.scheduler.memory
        self._kept = bool(memory.get("kept", True))
        self._came = bool(memory.get("came"))
        if memory.get("plan") is not None:
            plan = plan_from(memory["plan"], type(self._plan.options))
            self._plan = plan.model_copy(update={"options": self._plan.options})
        if memory.get("asked") is not None:
            self._target = Workers(minimum=memory["asked"][0], maximum=memory["asked"][1])

    def begin_to_watch(self) -> None:
        """From now on its end is noticed."""
        self._watch = asyncio.create_task(self._watching(), name=f"clusterhub-watch-{self._plan.name}")
        self._watch.add_done_callback(logged)

    async def raise_its_end(self, gone: ClusterGone) -> None:
        """Raise why it has ended in the middle of its start, once the system says so; else ``gone``."""
        deadline = time.monotonic() + DEAD_AFTER
        while self._gone is None and time.monotonic() < deadline:
            await self._find_out()
            await asyncio.sleep(RETRY)
        if self._cause is not None:
            raise WorkersFailed(self._cause, cluster=self._plan.name, support=self._plan.spec.support) from gone
        raise (self._gone or gone) from gone

    # What it is

    @property
    def native(self) -> Any:
        """What the system's own library has for it; None where it has nothing of use."""
        return None

    @property
    @abstractmethod
    def own_name(self) -> str:
        """What the system calls it."""

    @property
    @abstractmethod
    def ref(self) -> Ref:
        """Where to find it again."""

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
        """When the system made it."""
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
        """Where clients connect."""
        return self.scheduler.address

    @property
    def security(self) -> Security | None:
        """The keys of this cluster; None where it has none."""
        return self.scheduler.security

    @property
    def dashboard_link(self) -> str:
        """A link to the dashboard that opens from here, or an empty text."""
        return ""

    @property
    def scheduler(self) -> Line:
        """The line to its scheduler."""
        assert self._line is not None  # set before anybody can ask
        return self._line

    # What it is told

    async def scale(self, n: int) -> None:
        """Make ``n`` workers the target, and stop adapting."""
        await self._aim(Workers.exactly(n))

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Let the target follow the load between ``minimum`` and ``maximum``."""
        await self._aim(Workers(minimum=minimum, maximum=maximum))

    async def _aim(self, workers: Workers) -> None:
        self._raise_if_gone()
        await self.aim(workers)
        self._target = workers

    async def keep(self) -> None:
        """From now on it ends only when it is told to, or by its idle timeout or age."""
        if self.scheduler.attended:
            await self.answered(self.scheduler.tell("remember", kept=True))
        self._kept = True

    async def hold(self) -> None:
        """From now on this process holds it, as its creator did: it ends, or lingers, when all who hold it have ended."""
        self._holds = True
        await ended(self._watch)
        self._up.clear()
        self.begin_to_watch()
        await self.answered(self._now_held())

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
            return await self.seen()
        except ClusterGone:
            if self._cause is None:
                raise
            return (), self._cause  # why it has gone is what whoever waits wants to hear

    async def remarks(self) -> Sequence[str]:
        """What there is to know besides."""
        return [*self._breaks, *([self._line.remark] if self._line is not None and self._line.remark else [])]

    async def logs_by_worker(self, names: Mapping[str, str], unit: str | None) -> Mapping[str, str]:
        """The latest log lines of the scheduler and of each connected worker; ``names`` are theirs by address."""
        by_address = await self.answered(self.scheduler.link.logs())
        texts = {names.get(address, address): text for address, text in by_address.items()}
        return texts if unit is None else {unit: texts[unit]}

    # Its end

    async def release(self) -> bool:
        """This process needs it no more: it ends, unless it is kept or others hold it. Whether it did."""
        if self._closed:
            return False
        ends = not self._kept
        if self._gone is None and self._line is not None and self._line.attended:
            try:
                ends = await self.scheduler.tell("release", token=self._token)
            except ClusterhubError as error:
                # Others may hold it. If nobody does, its caretaker ends it soon after our line has broken.
                logger.info("clusterhub: %s is only let go of: %s", self._plan.name, error)
                ends = False
        await self.close(shutdown=ends)
        return ends

    async def close(self, *, shutdown: bool = True) -> None:
        """Have the system end it, which it does by itself once it has been told; or only let go of it. Idempotent."""
        if self._closed:
            return
        if shutdown:
            await self._stop()  # first: where it fails all is as before, and it can be told again
        self._closed = True
        try:
            await ended(self._watch)
            if self._line is not None:
                await self._line.close()
        finally:
            await self.hang_up()

    async def _stop(self) -> None:
        deadline = time.monotonic() + STOP_PATIENCE
        while True:
            try:
                await self.stop()
                return
            except ClusterGone as gone:
                if gone.final:
                    return
                error: ClusterhubError = gone
            except ClusterhubError as silent:
                error = silent
            if time.monotonic() > deadline and self._ends_by_itself:
                logger.warning("clusterhub: %s; %s ends by itself soon after it is back", error, self._plan.name)
                return
            if time.monotonic() > deadline:
                raise ClusterhubError(
                    f"{self._plan.name} could not be ended: {error}\n  clusterhub down {self.own_name} ends it once"
                    f" {self.system} is back"
                ) from error
            await asyncio.sleep(RETRY)

    @property
    def _ends_by_itself(self) -> bool:
        """Whether its caretaker ends it for want of those who made it, once the system is back."""
        return self._holds and not self._kept and self._line is not None and self._line.attended

    # The watch

    async def answered(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer; or what is known of why none comes, which a broken line tells sooner than a time limit."""
        asking = asyncio.ensure_future(question)
        try:
            self._raise_if_gone()
            while not asking.done():
                await asyncio.wait([asking], timeout=RETRY)
                if not asking.done():
                    self._raise_if_gone()
            return asking.result()
        except ClusterGone as gone:
            if gone.final:
                self._gone = self._gone or gone
                raise
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
        """Ask the system what became of it, where the watch has not yet."""
        try:
            self._judge(await self.fate())
        except ClusterGone as gone:
            if gone.final:
                self._gone = self._gone or gone
        except ClusterhubError as error:
            logger.debug("clusterhub: %s", error)

    async def _watching(self) -> None:
        """Keep the line to the scheduler up, and find out what it means when it breaks."""
        silent_since = refused_since = time.monotonic()
        while self._gone is None:
            try:
                await self.scheduler.stay(self._token, self._holds, self._now_up, self._hear)
                silent_since = refused_since = time.monotonic()
                self._broke = datetime.now().astimezone()
            except TooBusy as busy:
                logger.debug("clusterhub: %s", busy)
                refused_since = time.monotonic()
            except ClusterGone as gone:
                logger.debug("clusterhub: %s", gone)
            reached = await self._look(silent_since, time.monotonic() - refused_since)
            if not reached:
                silent_since = refused_since = time.monotonic()
            if self._gone is None:
                await asyncio.sleep(RETRY)
                await self._renew_line()

    async def _renew_line(self) -> None:
        try:
            line = await self.new_line()
        except ClusterhubError as error:
            logger.debug("clusterhub: %s", error)
            return
        if line is not None and self._line is not None:
            old, self._line = self._line, line
            line.memory, line.remark = old.memory, old.remark
            await old.close()

    def _now_up(self) -> None:
        self._trouble = ""
        self._up.set()
        if self._broke is not None:
            self._tell_break(self._broke)
            self._broke = None

    async def _look(self, silent_since: float, refused_for: float) -> bool:
        """Find out from the system what it means that the scheduler does not answer; whether the system does."""
        try:
            fate = await self.fate()
        except ClusterGone as gone:
            if gone.final:
                self._gone = gone
                return True
            self._trouble = f"{gone}; its tasks go on meanwhile"
            return False
        except ClusterhubError as error:
            self._trouble = f"{error}; its tasks go on meanwhile"
            return False
        self._judge(fate)
        silent = time.monotonic() - silent_since
        if fate.stage is Stage.ENDING:
            self._trouble = f"{self.system} is ending it"
        else:
            words = f"its scheduler has not answered for {silent:.0f} s, and {self.system} calls it running"
            self._trouble = "" if silent < 2 * RETRY else words
        # The system ends the schedulers of clusters that it gives up; one that ends before that has died by itself.
        self._died = self._died or (fate.stage is Stage.RUNNING and refused_for > 4 * RETRY)
        if self._gone is None and refused_for > DEAD_AFTER:
            self._gone = ClusterGone(
                f"cluster {self._plan.name} is gone: its scheduler has refused connections for {refused_for:.0f} s, while"
                f" {self.system} answers and has yet to notice; its results are lost"
            )
        return True

    def _judge(self, fate: Fate) -> None:
        """Conclude from what the system calls it."""
        if fate.stage not in (Stage.ENDED, Stage.FAILED) or self._gone is not None:
            return
        if not self._came and self._target.maximum > 0 and not self._ends and not self._died:
            self._cause = fate.failure
        self._gone = ClusterGone(f"cluster {self._plan.name} is gone: {self._ends or fate.reason}")

    def _hear(self, said: Mapping[str, Any]) -> None:
        self._came = self._came or bool(said.get("came"))
        self._ends = str(said.get("ends", self._ends))

    def _tell_break(self, when: datetime) -> None:
        until = datetime.now().astimezone()
        self._breaks.append(
            f"the way to the scheduler was broken from {when:%H:%M:%S} to {until:%H:%M:%S}: its workers went on. The futures"
            " of clients whose connections broke as well are lost unless they were published: submit again, or get_dataset"
        )


# Parts


async def uninterrupted(question: Awaitable[T], undo: Callable[[T], Awaitable[None]]) -> T:
    """The answer. If cancelled meanwhile it is waited for, and ``undo`` called with it, since nothing may be left."""
    asking = asyncio.ensure_future(question)
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        if not asking.cancelled() and asking.exception() is None:
            await asyncio.shield(undo(asking.result()))
        raise


def plan_from(data: Mapping[str, Any], options_type: type[Any]) -> Plan[Any]:
    """The plan that somebody wrote down; its secrets are hidden."""
    # From JSON text rather than from Python values: strict models take a list for a tuple only there.
    plan: Plan[Any] = Plan[options_type].model_validate_json(json.dumps(data))  # type: ignore[valid-type]
    return plan


def _seconds(span: Span) -> float | None:
    return None if span == "never" else float(span)
