"""The keeper: one process that hosts the scheduler and the control loop of one cluster, from its order to its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from clusterhub import registry
from clusterhub._dask.hosting import Hosted
from clusterhub.backend import Deployment, HostsScheduler, Plan, SubmitsKeeper
from clusterhub.display.words import counted
from clusterhub.errors import BackendUnavailable, ClusterGone, ClusterhubError, LeftBehind, Unsupported
from clusterhub.keeper import logs
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.keys import make_keys
from clusterhub.keeper.lifeline import Lifeline
from clusterhub.keeper.looking import Look
from clusterhub.keeper.record import ANSWER, WAITING, End, NotOurs
from clusterhub.keeper.records import LOGS, Store
from clusterhub.keeper.report import Report
from clusterhub.keeper.serving import HANDLER, Serving
from clusterhub.keeper.tenure import Tenure
from clusterhub.keeper.wire import Order, Ready, plan_from, without_secrets
from clusterhub.quantities import Bytes
from clusterhub.spec import Workers

logger = logging.getLogger("clusterhub.keeper")

LOOK = 1.0
"""Seconds between two looks at the cluster, for ``ls`` and for its end."""
CLOSE_PATIENCE = 120.0
"""Seconds that ending everything may take; what is left then is told, and the process ends all the same."""
LEFT_PATIENCE, LEFT_PAUSE = 1800.0, 5.0
"""Seconds for which what could not be ended is told to end again and again, and between two times."""
LOG_TAIL = 200
"""Lines of keeper.log that ``logs()`` shows."""
WAITER_GRACE = 45.0
"""Seconds for which whoever waits for a keeper's job may be silent before nobody waits for it any more."""
TENURE_PATIENCE = 2.0
"""Seconds in which the end of its own job is to be found out before its cluster is shown."""


class Keeper:
    """Runs one cluster. Whatever ends it ends the deployment, writes down why, and then the process."""

    deployment: Deployment

    def __init__(self, order: Order, store: Store, *, as_job: bool = False) -> None:
        backend = registry.backend(str(order.plan["backend"]))
        backend.load()
        self.backend = backend
        self.plan: Plan[Any] = plan_from(order.plan, backend.options_type)
        self.target: Workers = self.plan.spec.workers
        self.started = datetime.now(UTC)
        self.dashboard = ""
        self.tenure = Tenure(backend, self.plan.spec) if as_job else None
        """The time that it has, where it is a job itself."""
        self.reason: str | None = None
        """Why it ends, once it does."""
        self._store = store
        self._ending = asyncio.Event()
        linger = float(self.plan.spec.lifecycle.linger)
        # Until clients can connect it is nobody's but its creator's, and ends with that, whatever it is to be.
        self.lifeline = Lifeline(self.end, named=False, kept=False, linger=linger)
        self._order = order

    # Life

    async def run(self, report: Report) -> int:
        """Start the cluster, tell ``report`` how that went, keep it until it is to end; the exit code."""
        told = (
            "its keeper was told to" if self.tenure is None else "its keeper's job was cancelled, or is at its walltime"
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.end, f"{told} ({number.name})")
        try:
            hosted = await self._begin()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller waits for it, and is told
            logger.error("the start failed: %s: %s", type(error).__name__, error)
            report.failed(error)
            self._retire(f"its start failed: {error}".splitlines()[0])
            return 1
        self.lifeline.established(named=self._order.named, kept=self._order.kept)
        gc.enable()
        gc.freeze()  # what was imported stays for good, and need not be looked at again and again
        address = self.deployment.scheduler_address
        report.ready(Ready(keeper=Process.this(), address=address, addresses=self._addresses(address)))
        logger.info("ready at %s", self.deployment.scheduler_address)
        try:
            await self._until_the_end(hosted)
        finally:
            await self._close(hosted)
        return 0

    def end(self, reason: str) -> None:
        """End the cluster soon, for ``reason``; the first one counts."""
        if self.reason is None:
            self.reason = reason
            logger.info("ends: %s", reason)
            self._ending.set()

    async def _begin(self) -> Hosted:
        """The deployment, started and answering. Raises what its start raised, or ClusterGone where it was called off."""
        self._write(keeper=Process.this())
        self._raise_if_called_off()
        looking = None
        if self.tenure is not None:
            self._refuse_barren_host()
            looking = asyncio.ensure_future(self.tenure.look())
        self.plan = self.plan.model_copy(update=self._private())
        starting = asyncio.ensure_future(self.backend.start(self.plan))
        ending = asyncio.ensure_future(self._ending.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if self._ending.is_set():
            starting.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                await starting.result().close()
            self._raise_if_called_off()
        self.deployment = starting.result()
        try:
            if looking is not None:
                await asyncio.wait([looking], timeout=TENURE_PATIENCE)
            return await self._open()
        except BaseException:
            await self.deployment.close()
            raise

    def _raise_if_called_off(self) -> None:
        if self._ending.is_set():
            raise ClusterGone(f"the start of {self.plan.name} was called off: {self.reason}")

    def _refuse_barren_host(self) -> None:
        """Raise BackendUnavailable where nothing can be submitted from the node that this job came to."""
        if reason := self.backend.unusable():
            raise BackendUnavailable(
                f"the keeper of {self.plan.name} runs as a job on {os.uname().nodename}, and cannot submit workers from there:"
                f" {reason}. Name a queue whose nodes can, with lifecycle.job.queue, or write lifecycle.host: process"
            )

    def _addresses(self, address: str) -> tuple[str, ...]:
        return tuple(self.backend.addresses(address)) if self.tenure and isinstance(self.backend, SubmitsKeeper) else ()

    def _private(self) -> dict[str, Any]:
        """Keys and a secret path of the dashboard, so that no other user of this machine is let in."""
        folder, spec = self._store.folder(self.plan.name), self.plan.spec
        private: dict[str, Any] = {"dashboard_prefix": Hosted.secret()}
        Hosted.silence_workers()
        if spec.network.tls is not False:
            age = spec.lifecycle.max_age
            valid = timedelta(days=400) if age == "never" else timedelta(seconds=float(age)) + timedelta(days=30)
            private["tls"] = make_keys(folder, self.plan.name, valid)
        return private

    async def _open(self) -> Hosted:
        """Answer calls, and write down where."""
        if not isinstance(self.deployment, HostsScheduler):
            raise Unsupported(
                self.backend.name,
                {"lifecycle.host": "its scheduler does not run in a process of ours; leave it inline"},
            )
        hosted = Hosted(self.deployment.scheduler)
        hosted.answer(HANDLER, Serving(self).answer)
        self.dashboard = hosted.guard_dashboard(self.plan.dashboard_prefix, bool(self.deployment.dashboard_link))
        ref = self.deployment.ref
        if self.tenure is not None and (job := self.backend.allocation()) is not None:
            ref = ref.model_copy(update={"data": {**ref.data, "keeper": job.unit}})
        self._write(
            state="running",
            plan=without_secrets(self.plan),
            address=self.deployment.scheduler_address,
            dashboard=self.dashboard,
            ref=ref.model_dump(mode="json"),
        )
        return hosted

    async def _until_the_end(self, hosted: Hosted) -> None:
        look = Look(self, hosted)
        ended = asyncio.ensure_future(hosted.ended())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            while self.reason is None:
                try:
                    await self._tell(await look.now())
                    if self.tenure is not None and (over := await self.tenure.over()):
                        self.end(f"{over}; {_what_goes(hosted)}")
                except ClusterGone as gone:
                    if gone.final:
                        self.end(self._bare(gone))
                        break
                    logger.warning("%s", gone)
                except Exception:
                    logger.exception("looking at the cluster failed")
                await asyncio.wait([ended, ending], timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    self.end(await self._why_it_ended())
        finally:
            ended.cancel()
            ending.cancel()

    async def _why_it_ended(self) -> str:
        """Whose end the scheduler's was: the deployment's own, or that of a client that shut it down."""
        try:
            await self.deployment.failure()
        except ClusterGone as gone:
            if gone.final:
                return self._bare(gone)
        return "its scheduler was shut down, by a client or a signal"

    def _bare(self, gone: ClusterGone) -> str:
        return str(gone).removeprefix(f"cluster {self.plan.name} is gone: ")

    async def _close(self, hosted: Hosted) -> None:
        self.lifeline.close()
        await asyncio.to_thread(self._write_quietly, state="ending")
        reason = self.reason or "its keeper failed; see keeper.log"
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self.deployment.close()
                await hosted.close()
        except (LeftBehind, TimeoutError) as left:
            logger.error("%s", left or "the end takes too long")
            words = str(left) or f"not everything could be ended within {CLOSE_PATIENCE:.0f} s"
            await asyncio.to_thread(
                self._write_quietly, end=End(when=datetime.now(UTC), reason=f"{reason}; {words}", left=True)
            )
            if not await self._ended_late():
                logger.error("the record stays, by which clusterhub gc finds what is left")
                return
        except Exception as error:
            logger.exception("not everything could be ended")
            reason += f"; not everything could be ended: {type(error).__name__}: {error}"
        self._retire(reason)

    async def _ended_late(self) -> bool:
        """Try again for a while to end what was left; whether all of it has ended."""
        deadline = asyncio.get_running_loop().time() + LEFT_PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LEFT_PAUSE)
            try:
                async with asyncio.timeout(CLOSE_PATIENCE):
                    await self.deployment.close()
            except (LeftBehind, TimeoutError) as left:
                logger.warning("%s", left or "the end takes too long")
            else:
                logger.info("what was left has ended")
                return True
        return False

    # What is written down

    async def _tell(self, look: Look) -> None:
        if not look.worth_telling():
            return
        try:
            # In a thread, as everything that touches files once the cluster runs: a home on NFS can hang for minutes.
            await asyncio.to_thread(self._store.write_status, self.plan.uid, self.plan.name, look.status())
        except NotOurs as lost:
            # Somebody removed our record, or put another in its place: nobody could find or end this cluster any more.
            self.end(f"its record is gone: {lost}")
        except ClusterhubError as error:
            look.untold()
            logger.warning("%s", error)

    async def note_address(self, address: str) -> None:
        """Its creator, on another host, reaches it there: others of that host will too."""
        await asyncio.to_thread(self._write, address=address)

    async def note_kept(self) -> None:
        """It is kept from now on, and whoever reads the record knows."""
        await asyncio.to_thread(self._write, kept=True)

    def _write(self, **changes: Any) -> None:
        record = self._store.read(self.plan.name)
        self._store.write(record.model_copy(update=changes), uid=self.plan.uid)

    def _write_quietly(self, **changes: Any) -> None:
        try:
            self._write(**changes)
        except (ClusterhubError, LookupError) as error:
            logger.warning("%s", error)

    def _retire(self, reason: str) -> None:
        logs.stop()
        try:
            record = self._store.read(self.plan.name)
            if record.uid == self.plan.uid:
                self._store.retire(record, End(when=datetime.now(UTC), reason=reason), (*LOGS, ANSWER))
        except (ClusterhubError, LookupError) as error:
            logger.warning("the record could not be put away: %s", error)

    def log_tail(self) -> str:
        """The last lines of keeper.log."""
        try:
            text = (self._store.folder(self.plan.name) / "keeper.log").read_text(errors="replace")
        except OSError as error:
            return f"no log: {error}"
        return "\n".join(text.splitlines()[-LOG_TAIL:])


def _what_goes(hosted: Hosted) -> str:
    """``with it go 24 workers and 2.1 GiB of results``."""
    stored = hosted.stored()
    results = f" and {Bytes(stored).about()} of results" if stored else ""
    return f"with it go {counted(hosted.workers(), 'worker')}{results}"


async def keep(order: Order, pipe: int | None, report: Report) -> int:
    """Carry out ``order``, whose creator holds the other end of ``pipe``, or waits for this job; the process's exit code."""
    store, as_job = Store.here(), pipe is None
    try:
        keeper = Keeper(order, store, as_job=as_job)
    except BaseException as error:  # noqa: BLE001 - as above: told to whoever waits
        report.failed(error)
        return 1
    silent = (store.age_of(keeper.plan.name, WAITING) or 0.0) if as_job else 0.0
    if not keeper.lifeline.hold(order.creator, pipe=pipe, silent=silent):
        keeper.end("the process that made it ended")
    elif silent > WAITER_GRACE and order.creator.life() is Life.UNKNOWN:
        keeper.end(f"{order.creator}, which waited for it, has not been heard of for {silent:.0f} s")
    return await keeper.run(report)
