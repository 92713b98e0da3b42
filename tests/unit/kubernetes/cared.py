"""A scheduler with the caretaker of Kubernetes in it, here, that is asked by Dask's operator's own functions."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from attended import Attended, eventually, started
from dask_kubernetes.operator.controller import controller

from clusterhub_backends.kubernetes.caretaker import KubernetesCaretaker

__all__ = ["Cared", "cared", "eventually"]


class Cared(Attended):
    """A cluster that is cared for, and its operator."""

    kind = KubernetesCaretaker

    @property
    def address(self) -> str:
        """Where the scheduler serves HTTP."""
        return f"http://127.0.0.1:{self.scheduler.http_server.port}"

    # What the operator does, by its own code

    async def retire(self, n: int) -> list[str]:
        """The names of those that the operator removes."""
        logger: Any = logging.getLogger("operator")
        return await controller.retire_workers(n, "eddies-scheduler", "eddies-default", "ocean", logger)

    async def wanted(self) -> int:
        """How many the operator would have, within a range."""
        return int(await controller.get_desired_workers("eddies-scheduler", "ocean"))

    async def idle_since(self) -> float:
        """Since when the operator takes it for idle."""
        logger: Any = logging.getLogger("operator")
        return float(await controller.check_scheduler_idle("eddies-scheduler", "ocean", logger))

    async def post(self, body: str) -> tuple[int, Any]:
        """An order to retire that anybody may send; the answer."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.address}/api/v1/retire_workers", data=body) as answer,
        ):
            return answer.status, await answer.json()

    async def get(self, path: str) -> Any:
        """What is served there."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.address}{path}") as answer:
            answer.raise_for_status()
            return await answer.json()


@asynccontextmanager
async def cared(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cared]:
    """Such a cluster, without workers and without a caretaker."""
    async with AsyncExitStack() as stack:
        cluster = Cared(await started(stack, KubernetesCaretaker), stack)

        async def address(name: str, namespace: str, port_name: str = "tcp-comm", **how: Any) -> str:
            return cluster.address if port_name == "http-dashboard" else cluster.scheduler.address

        monkeypatch.setattr(controller, "get_scheduler_address", address)
        yield cluster
