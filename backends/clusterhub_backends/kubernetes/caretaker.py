"""The caretaker of a cluster on Kubernetes: it answers what Dask's operator asks a scheduler, and so the operator does our part.

The operator asks by plain HTTP, on the dashboard's port and without a password (``dask_kubernetes/operator/controller``): whom to
retire when fewer workers are wanted, how many are wanted when it adapts, and since when the cluster is idle. Dask's own routes
for that (``distributed.http.scheduler.api``) would let anybody near retire any worker at once. These retire only beyond what is
wanted, after tasks have ended and results have moved.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from tornado.web import RequestHandler

from clusterhub.parts import Caretaker

ANSWER_WITHIN = 240.0
"""Seconds in which the operator has an answer: its own client gives up after 300."""
LONG_AGO = -1e12
"""A time since when no living cluster is idle: the operator ends the cluster that tells it."""


class KubernetesCaretaker(Caretaker):
    """Lets go whom the operator asks for, and has it end the cluster."""

    def __init__(self, scheduler: Any, memory: dict[str, Any]) -> None:
        super().__init__(scheduler, memory)
        self._to_go = 0
        self._gone: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._ended = False
        routes: list[Any] = [
            ("/api/v1/retire_workers", Retire, {"caretaker": self}),
            ("/api/v1/adaptive_target", Target, {"caretaker": self}),
            ("/api/v1/check_idle", Idle, {"caretaker": self}),
            ("/clusterhub/life", Life, {"caretaker": self}),
        ]
        scheduler.http_application.add_handlers(".*$", routes)

    # What the operator asks

    async def retire(self, n: int) -> dict[str, Any]:
        """Let ``n`` workers go, as far as that many are too many; those that went by address, each with its name.

        It takes as long as their tasks and their results need, or until more are wanted again.
        """
        async with self._one_at_a_time:
            self._gone, self._to_go = {}, min(n, self._allowed())
            deadline = time.monotonic() + ANSWER_WITHIN
            while self._to_go > 0 and time.monotonic() < deadline:
                self.kick.set()
                try:
                    async with asyncio.timeout(0.2):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                self._changed.clear()
            unfinished, self._to_go = self._to_go > 0, 0
            await self.look_at_leaving()  # nobody is held up any more
            if unfinished and not self._gone:
                raise TimeoutError("nobody could go yet")
            return {address: {"name": info["name"]} for address, info in self._gone.items()}

    def _allowed(self) -> int:
        """How many may go: down to the number that is wanted, or within a range to what the work at hand needs."""
        asked = self.memory["asked"]
        if asked is None:
            return len(self.scheduler.workers)
        least, most = asked
        floor: int = least if least == most else max(least, min(most, self.wanted()))
        return max(0, len(self.scheduler.workers) - floor)

    def wanted(self) -> int:
        """How many workers the work at hand would keep busy."""
        return int(self.scheduler.adaptive_target())

    def idle_since(self) -> float:
        """What the operator is told: long ago, where the cluster is to end, else that it is not idle."""
        return LONG_AGO if self._ended else 0.0

    # What is the same everywhere

    def surplus(self) -> int:
        """Those that the operator asked for, and that are still here."""
        return self._to_go

    async def told(self, minimum: int, maximum: int) -> None:
        """The operator learns it from the resource. Who was to go and is wanted again stays."""
        self._to_go = min(self._to_go, self._allowed())
        self._changed.set()

    async def send_off(self, ready: frozenset[str]) -> None:
        """Retire them. The operator removes them when it has our answer."""
        async with self._sending:
            still = [address for address in ready if address in self.scheduler.workers][: self._to_go]
            if not still:
                return
            gone = await self.scheduler.retire_workers(workers=still, close_workers=True, remove=True)
            self._gone |= gone
            self._to_go = max(0, self._to_go - len(gone))
            self._changed.set()

    def facts(self) -> Mapping[str, Any]:
        """How many are on their way out."""
        return {"leaving": self._to_go}

    async def reachable(self) -> bool:
        """Whether the API server answers, as far as that can be seen from a pod: ports are forwarded through it."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            return True
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError) as error:
            self.log.info("clusterhub: the API server does not answer: %s", error)
            return False
        writer.close()
        return True

    async def end(self, reason: str) -> None:
        """The operator ends it when it next asks, which it does every 5 s."""
        self._ended = True


class Asked(RequestHandler):  # type: ignore[misc]  # tornado carries no annotations here
    """A question of the operator's."""

    def initialize(self, caretaker: KubernetesCaretaker) -> None:
        """By tornado, with what the route says."""
        self.caretaker = caretaker

    def tell(self, answer: Mapping[str, Any]) -> None:
        """The answer."""
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(answer))


class Retire(Asked):
    """Whom to remove."""

    async def post(self) -> None:
        """An answer that is an error would have the operator remove the newest, with their results: then there is none."""
        try:
            order = json.loads(self.request.body)
            n = order.get("n", 0)
            self.tell(await self.caretaker.retire(n if type(n) is int else 0))
        except Exception:
            self.caretaker.log.exception("clusterhub: the operator gets no answer, and asks again")
            self.request.connection.stream.close()
            self._finished = True


class Target(Asked):
    """How many workers would be of use."""

    def get(self) -> None:
        """A number."""
        self.tell({"workers": self.caretaker.wanted()})


class Idle(Asked):
    """Since when the cluster has had nothing to do."""

    def get(self) -> None:
        """Unix time, or 0."""
        self.tell({"idle_since": self.caretaker.idle_since()})


class Life(Asked):
    """How the cluster fares, for whoever lists clusters."""

    def get(self) -> None:
        """Numbers alone."""
        self.tell(self.caretaker.life())
