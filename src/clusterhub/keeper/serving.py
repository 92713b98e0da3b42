"""The keeper's answers: the ``Deployment`` protocol, call by call, over one handler of the cluster's own scheduler.

A call is ``{"do": "scale", "contract": 1, "user": 1000, "with": {"n": 3}}``, its answer ``{"value": …}`` or ``{"error": …}``.
Errors are data: one that is raised in a handler crosses as its own type, but dumps a traceback in the scheduler's log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from clusterhub.backend import CONTRACT, Remarks
from clusterhub.errors import ClusterGone, ClusterhubError
from clusterhub.keeper.identity import Process
from clusterhub.keeper.wire import plain_error, plain_failure, plain_units, plain_workers
from clusterhub.spec import Workers

if TYPE_CHECKING:
    from clusterhub.keeper.process import Keeper

logger = logging.getLogger(__name__)

HANDLER = "clusterhub"
"""The name of the handler. Its one argument is ``call``: ``op`` and a few others are the RPC layer's own."""


class Serving:
    """Answers calls on behalf of one keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._calls: Mapping[str, Callable[..., Awaitable[Any]]] = {
            "hello": self._hello,
            "observe": self._observe,
            "scale": self._scale,
            "adapt": self._adapt,
            "logs": self._logs,
            "hold": self._hold,
            "leave": self._leave,
            "keep": self._keep,
            "release": self._release,
            "reached": self._reached,
            "shutdown": self._shutdown,
        }

    async def answer(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to ``call``; never raises."""
        try:
            return {"value": await self._called(call)}
        except (ClusterhubError, KeyError) as error:
            return {"error": plain_error(error)}
        except Exception as error:
            logger.exception("the call %r failed", call.get("do"))
            return {"error": plain_error(error)}

    async def _called(self, call: Mapping[str, Any]) -> Any:
        name = self._keeper.plan.name
        if call.get("contract") != CONTRACT:
            raise ClusterhubError(
                f"the keeper of {name} speaks contract {CONTRACT}, you speak {call.get('contract')}: use the clusterhub that"
                f" it was started with, or end it with: clusterhub down {name}"
            )
        if call.get("user") != os.geteuid():
            raise ClusterhubError(f"{name} belongs to user {os.geteuid()}, you are user {call.get('user')}")
        do = self._calls.get(str(call.get("do")))
        if do is None:
            raise ClusterhubError(f"the keeper of {name} does not know how to {call.get('do')!r}")
        if self._keeper.reason is not None and call.get("do") not in ("shutdown", "release", "leave"):
            raise ClusterGone(f"cluster {name} is ending: {self._keeper.reason}")
        return await do(**call.get("with", {}))

    async def _hello(self) -> dict[str, Any]:
        """What an attaching facade wants to know at once."""
        keeper = self._keeper
        return {
            "uid": keeper.plan.uid,
            "target": plain_workers(keeper.target),
            "kept": keeper.lifeline.kept,
            "started": keeper.started.isoformat(),
            "dashboard": keeper.dashboard,
        }

    async def _observe(self) -> dict[str, Any]:
        units = await self._keeper.deployment.units()
        failure = await self._keeper.deployment.failure()
        deployment = self._keeper.deployment
        return {
            "remarks": list(await deployment.remarks()) if isinstance(deployment, Remarks) else [],
            "units": plain_units(units),
            "failure": plain_failure(failure),
            "target": plain_workers(self._keeper.target),
            "kept": self._keeper.lifeline.kept,
        }

    async def _scale(self, n: int) -> None:
        await self._keeper.deployment.scale(n)
        self._keeper.target = Workers.exactly(n)

    async def _adapt(self, minimum: int, maximum: int) -> None:
        await self._keeper.deployment.adapt(minimum, maximum)
        self._keeper.target = Workers(minimum=minimum, maximum=maximum)

    async def _logs(self, unit: str | None) -> dict[str, str]:
        own = {"keeper": self._keeper.log_tail()}
        if unit == "keeper":
            return own
        texts = dict(await self._keeper.deployment.logs(unit))
        return texts | own if unit is None else texts

    async def _hold(self, holder: Mapping[str, Any], token: str) -> bool:
        return self._keeper.lifeline.hold(Process.model_validate(dict(holder)), token)

    async def _leave(self, holder: Mapping[str, Any], token: str) -> None:
        self._keeper.lifeline.leave(Process.model_validate(dict(holder)), token)

    async def _keep(self) -> None:
        if self._keeper.tenure is None and (allocation := self._keeper.backend.allocation()) is not None:
            raise ClusterhubError(
                f"{self._keeper.plan.name} cannot be kept: its keeper is part of {allocation.name}, and ends with it;"
                " start the cluster with lifecycle.host: job"
            )
        self._keeper.lifeline.keep()
        await self._keeper.note_kept()

    async def _reached(self, address: str) -> None:
        await self._keeper.note_address(address)

    async def _release(self, holder: Mapping[str, Any], token: str) -> bool:
        """Whether the cluster ends now."""
        ends = self._keeper.lifeline.release(Process.model_validate(dict(holder)), token)
        if ends:
            self._keeper.end("it was closed")
        return ends

    async def _shutdown(self, reason: str) -> None:
        self._keeper.end(reason)
