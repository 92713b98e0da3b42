"""The keeper: one process that hosts the scheduler and the control loop of one cluster, from its order to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from clusterhub import registry
from clusterhub._dask.hosting import Hosted
from clusterhub.backend import Deployment, HostsScheduler, Plan
from clusterhub.errors import ClusterGone, ClusterhubError, Unsupported
from clusterhub.keeper import logs
from clusterhub.keeper.identity import Process
from clusterhub.keeper.keys import make_keys
from clusterhub.keeper.lifeline import Lifeline
from clusterhub.keeper.looking import Look
from clusterhub.keeper.record import End, NotOurs
from clusterhub.keeper.records import Store
from clusterhub.keeper.serving import HANDLER, Serving
from clusterhub.keeper.wire import Order, Ready, plain_error, plan_from, without_secrets
from clusterhub.spec import Workers

logger = logging.getLogger("clusterhub.keeper")

LOOK = 1.0
"""Seconds between two looks at the cluster, for ``ls`` and for its end."""
CLOSE_PATIENCE = 120.0
"""Seconds that ending everything may take; what is left then is told, and the process ends all the same."""
LOG_TAIL = 200
"""Lines of keeper.log that ``logs()`` shows."""


class Keeper:
    """Runs one cluster. Whatever ends it ends the deployment, writes down why, and then the process."""

    deployment: Deployment

    def __init__(self, order: Order, store: Store) -> None:
        backend = registry.backend(str(order.plan["backend"]))
        backend.load()
        self.backend = backend
        self.plan: Plan[Any] = plan_from(order.plan, backend.options_type)
        self.target: Workers = self.plan.spec.workers
        self.started = datetime.now(UTC)
        self.dashboard = ""
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
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.end, f"its keeper was told to ({number.name})")
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
        report.ready(Ready(keeper=Process.this(), address=self.deployment.scheduler_address))
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
            raise ClusterGone(f"the start of {self.plan.name} was called off: {self.reason}")
        self.deployment = starting.result()
        try:
            return await self._open()
        except BaseException:
            await self.deployment.close()
            raise

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
        self._write(
            state="running",
            plan=without_secrets(self.plan),
            address=self.deployment.scheduler_address,
            dashboard=self.dashboard,
            ref=self.deployment.ref.model_dump(mode="json"),
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
        except Exception as error:
            logger.exception("not everything could be ended")
            reason += f"; not everything could be ended: {type(error).__name__}: {error}"
        self._retire(reason)

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
                self._store.retire(record, End(when=datetime.now(UTC), reason=reason))
        except (ClusterhubError, LookupError) as error:
            logger.warning("the record could not be put away: %s", error)

    def log_tail(self) -> str:
        """The last lines of keeper.log."""
        try:
            text = (self._store.folder(self.plan.name) / "keeper.log").read_text(errors="replace")
        except OSError as error:
            return f"no log: {error}"
        return "\n".join(text.splitlines()[-LOG_TAIL:])


class Report:
    """The pipe on which the starter of a keeper waits for its answer: one line of JSON, ever."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def ready(self, ready: Ready) -> None:
        """The cluster is there."""
        self._say({"ready": ready.model_dump(mode="json")})

    def failed(self, error: BaseException) -> None:
        """The cluster is not there, for ``error``, and nothing is left of it."""
        self._say({"error": plain_error(error)})

    def _say(self, answer: Mapping[str, Any]) -> None:
        # Whoever waited for it may be gone; the lifeline knows.
        with contextlib.suppress(OSError, ValueError):
            self._pipe.write(json.dumps(answer).encode() + b"\n")
            self._pipe.close()


async def keep(order: Order, pipe: int, report: Report) -> int:
    """Carry out ``order``, whose creator holds the other end of ``pipe``; the exit code of the process."""
    store = Store.here()
    try:
        keeper = Keeper(order, store)
    except BaseException as error:  # noqa: BLE001 - as above: told to whoever waits
        report.failed(error)
        return 1
    if not keeper.lifeline.hold(order.creator, pipe=pipe):
        keeper.end("the process that made it ended")
    return await keeper.run(report)
