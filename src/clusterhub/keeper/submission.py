"""Has a keeper submitted as a job of the batch system and waits for it; on the side of the process that wants the cluster.

There is no pipe between the two: the order, a sign of life of whoever waits, and the answer are files in the cluster's folder,
which this host and the nodes share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from clusterhub.backend import KeeperCommand, Plan, SubmitsKeeper, Unit, UnitState
from clusterhub.display.words import flat, moment
from clusterhub.errors import ClusterGone, ClusterhubError, Failure, QueueFull, SubmitRejected, WorkersFailed
from clusterhub.keeper.record import ANSWER, ORDER, WAITING, NotThere, Wait, as_bytes
from clusterhub.keeper.records import Store
from clusterhub.keeper.report import ready_from
from clusterhub.keeper.tenure import foretold
from clusterhub.keeper.wire import Order, Ready

logger = logging.getLogger(__name__)

INTERPRETER = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE")
"""What this very interpreter may need to start, and to find us."""
QUICK, SLOW, GROWTH = 1.0, 20.0, 1.3
"""Seconds between two questions to the queue: at first, in the long run; and how one becomes the other."""
LOOK, LOOK_PENDING = 0.1, 1.0
"""Seconds between two looks for the answer; and while the job is known to wait for longer than a moment."""
BEAT = 5.0
"""Seconds between two signs of life to a keeper that may start at any moment."""
QUIET = 2.0
"""Seconds that a job may wait without anything being said of it."""
LATE, VANISHED = 3.0, 30.0
"""Seconds that the answer of a job may take to be seen here which has ended, or which the system does not know."""
START_PATIENCE = 300.0
"""Seconds that a running job may take to answer: imports from a busy file system take long."""
ROOM_INTERVAL = 15.0
"""Seconds between two trials of a queue that is full."""
END_PATIENCE = 25.0
"""Seconds for which the job of a start that was called off is seen to its end."""


def keeper_command(plan: Plan[Any], store: Store) -> KeeperCommand:
    """What the job runs. It inherits nothing of this process's environment but what is said here."""
    argv = (sys.executable, "-P", "-m", "clusterhub.keeper", "--job", plan.name, plan.uid or "0" * 32)
    found = {name: os.environ[name] for name in INTERPRETER if os.environ.get(name)}
    found["CLUSTERHUB_STATE"] = str(store.root)
    if config := os.environ.get("CLUSTERHUB_CONFIG"):
        found["CLUSTERHUB_CONFIG"] = os.path.abspath(config)  # noqa: PTH100 - which follows no link
    return KeeperCommand(argv, found)


def dask_variables() -> dict[str, str]:
    """How this process's Dask is configured by its environment: a keeper beside it would inherit that."""
    return {name: value for name, value in os.environ.items() if name.startswith("DASK_")}


class JobLaunch:
    """One keeper that is a job, submitted and waited for; this process is its creator."""

    pipe = False

    def __init__(self, backend: SubmitsKeeper, plan: Plan[Any], store: Store, tell: Callable[[str], None]) -> None:
        self._backend = backend
        self._plan = plan
        self._store = store
        self._tell = tell
        self._submitting: asyncio.Task[str] | None = None
        self._off = asyncio.Event()
        self._began = time.monotonic()
        self._told = ""
        self._wait = Wait(unit="", text="is being submitted")
        self._beaten = -BEAT

    def let_go(self) -> None:
        """There is no pipe to break: the keeper is told by a call, or hears of us no more."""

    # Its way into the queue

    async def order(self, order: Order, *, kept: bool) -> None:
        """Write down what is to be kept, and submit the job. Raises SubmitRejected, and ClusterhubError for an outage."""
        await asyncio.to_thread(self._put, ORDER, order.model_dump_json().encode())
        await self._beat()
        self._submitting = asyncio.create_task(self._submit(), name=f"clusterhub-keeper-job-{self._plan.name}")
        # Shielded: a submission that is under way cannot be stopped, only be undone; see call_off.
        await asyncio.shield(self._submitting)
        if words := foretold(self._plan, kept=kept):
            self._tell(f"{self._plan.name}: {words}")

    async def _submit(self) -> str:
        command = keeper_command(self._plan, self._store)
        while True:
            try:
                unit = await self._backend.submit_keeper(self._plan, command)
            except QueueFull as full:
                self._heard("", str(full))
                until = time.monotonic() + ROOM_INTERVAL
                while time.monotonic() < until and not self._off.is_set():
                    self._say(f"its keeper's job finds no place: {full}")
                    await self._beat()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1.0):  # wait_for swallows a cancellation before Python 3.12
                            await self._off.wait()
                if self._off.is_set():
                    raise
            else:
                self._heard(unit, "was submitted just now")
                return unit

    # The wait

    async def ready(self) -> Ready:
        """The keeper's answer once clients can connect. Raises the error that kept it from that, as if it happened here.

        Raises WorkersFailed where its job ended without an answer, with the evidence, and ClusterGone where it was ended by
        others. What it waits for is told.
        """
        pause, asked = QUICK, -SLOW
        watch = _Watch()
        while True:
            if (answer := await asyncio.to_thread(self._look, ANSWER)) is not None:
                return ready_from(answer)
            await asyncio.to_thread(self._raise_if_called_off)
            now = time.monotonic()
            if now - asked >= pause:
                before, asked = self._wait, now
                await self._ask(watch)
                pause = QUICK if self._wait != before else min(pause * GROWTH, SLOW)
            self._raise_if_lost(watch)
            await self._beat()
            await asyncio.sleep(LOOK_PENDING if pause > QUICK and watch.runs_since is None else LOOK)

    async def _ask(self, watch: _Watch) -> None:
        """What the queue says of the job. An outage is no news."""
        try:
            unit = await self._backend.keeper_unit(self._plan, self._wait.unit)
        except ClusterhubError as error:
            self._say(f"the queue does not say how its keeper's job fares: {error}")
            return
        watch.saw(unit)
        if unit is not None:
            text = _in_words(unit)
            self._heard(unit.name, text)
            if unit.state is UnitState.PENDING or self._told:
                self._say(f"its keeper, job {unit.name}, {text}")

    def _raise_if_lost(self, watch: _Watch) -> None:
        now = time.monotonic()
        if watch.ended_since is not None and now - watch.ended_since > (LATE if watch.unit is not None else VANISHED):
            gone = Failure("the keeper's job is gone, and the system keeps no record of it", unit=self._wait.unit)
            raise self._failed(watch.unit.failure or gone if watch.unit is not None else gone)
        if watch.runs_since is not None and now - watch.runs_since > START_PATIENCE:
            where = f" on {watch.unit.where}" if watch.unit is not None and watch.unit.where else ""
            summary = f"the keeper's job runs{where} since {now - watch.runs_since:.0f} s, and has not answered"
            log = self._store.folder(self._plan.name) / "keeper.log"
            tail = _tail(self._look(log.name))
            raise self._failed(Failure(summary, unit=self._wait.unit, log_path=str(log), log_tail=tail))

    def _failed(self, failure: Failure) -> WorkersFailed:
        leaf = next((leaf for leaf in self._plan.values if leaf.path == failure.because), None)
        if leaf is not None:
            failure = replace(failure, because=f"{leaf.origin}  {leaf.path} = {leaf.text}")
        return WorkersFailed(failure, cluster=self._plan.name, support=self._plan.spec.support)

    def _raise_if_called_off(self) -> None:
        """By `clusterhub down`, here or elsewhere."""
        try:
            if self._store.read(self._plan.name).uid == self._plan.uid:
                return
        except NotThere:
            pass
        except ClusterhubError:
            return  # it may be whole: it is looked at again
        for ended in self._store.ended(self._plan.name):
            if ended.uid == self._plan.uid and ended.end is not None and self._look(ANSWER) is None:
                raise ClusterGone(f"cluster {self._plan.name} has ended: {ended.end.reason}")

    # What is told

    def _heard(self, unit: str, text: str) -> None:
        if (heard := Wait(unit=unit, text=flat(text))) != self._wait:
            self._wait, self._beaten = heard, -BEAT

    def _say(self, text: str) -> None:
        """Tell the user, once, and not of a wait that is hardly one."""
        if text != self._told and time.monotonic() - self._began > QUIET:
            self._told = text
            self._tell(f"{self._plan.name}: {text}")

    async def _beat(self) -> None:
        if time.monotonic() - self._beaten < BEAT:
            return
        self._beaten = time.monotonic()
        try:
            await asyncio.to_thread(self._put, WAITING, as_bytes(self._wait))
        except ClusterhubError as error:
            logger.warning("%s", error)

    def _put(self, file: str, content: bytes) -> None:
        self._store.put(self._plan.uid, self._plan.name, file, content)

    def _look(self, file: str) -> bytes | None:
        return self._store.look(self._plan.uid, self._plan.name, file)

    # Its end

    async def call_off(self) -> None:
        """See the job to its end, whatever it does. Raises ClusterhubError where the system does not end it."""
        self._off.set()
        await asyncio.to_thread(self._store.drop, self._plan.uid, self._plan.name, ORDER)  # a job that starts, ends
        unit = ""
        if self._submitting is None:
            return
        try:
            unit = await self._submitting
        except (SubmitRejected, QueueFull):
            return
        except ClusterhubError:
            pass  # whether it was taken is not known: it is looked for by its name
        deadline = time.monotonic() + END_PATIENCE
        while True:
            try:
                await self._backend.end_keeper(self._plan, unit)
                break
            except ClusterhubError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1.0)
        while time.monotonic() < deadline and not await self._has_ended(unit):
            await asyncio.sleep(0.2)

    async def _has_ended(self, unit: str) -> bool:
        with suppress(ClusterhubError):
            found = await self._backend.keeper_unit(self._plan, unit)
            return found is None or found.state is UnitState.FAILED
        return False


class _Watch:
    """What was seen of the job."""

    unit: Unit | None = None
    runs_since: float | None = None
    ended_since: float | None = None

    def saw(self, unit: Unit | None) -> None:
        now = time.monotonic()
        runs = unit is not None and unit.state is UnitState.RUNNING
        ended = unit is None or unit.state is UnitState.FAILED
        self.unit = unit
        self.runs_since = (self.runs_since or now) if runs else None
        self.ended_since = (self.ended_since or now) if ended else None


def _in_words(unit: Unit) -> str:
    """``is pending: waits for enough free cores (Resources); expected to start at 14:05``."""
    if unit.state is UnitState.PENDING:
        source = f" ({unit.source})" if unit.source and unit.source not in unit.reason else ""
        now = datetime.now(UTC)
        expected = f"; expected to start at {moment(unit.starts, now)}" if unit.starts and unit.starts > now else ""
        return f"is pending: {unit.reason}{source}{expected}"
    if unit.state is UnitState.RUNNING:
        return f"runs on {unit.where or 'a node'}" if not unit.reason else unit.reason
    return f"ended: {unit.reason}"


def _tail(log: bytes | None) -> tuple[str, ...]:
    return tuple((log or b"").decode(errors="replace").splitlines()[-6:])
