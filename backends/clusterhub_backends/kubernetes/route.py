"""The way to a scheduler: straight, where its address can be reached from here, else through the API server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from clusterhub import ClusterhubError
from clusterhub_backends.kubernetes.api import Api
from clusterhub_backends.kubernetes.tunnel import Tunnel

if TYPE_CHECKING:
    from distributed import Security

logger = logging.getLogger(__name__)

PORT = 8786
TRIAL = 2.0
"""Seconds in which a scheduler that can be reached at all answers."""
PATIENCE = 25.0
"""Seconds in which the one way that was asked for is tried again: nodes hear of a new Service only after it was made."""
AGAIN = 0.5
"""Seconds between two of these trials."""
HEAD_START = 0.3
"""Seconds by which the direct way may come after the forwarded one, and is taken all the same: it does not break with the API
server."""


class Route:
    """How one cluster's scheduler is reached. :meth:`close` ends a forwarded port."""

    def __init__(self, host: str, port: int, forward: Tunnel | None = None, *, inside: bool = False) -> None:
        self.host = host
        self.port = port
        self.inside = inside
        """Whether it leads to where the dashboard's port is open, too."""
        self._forward = forward

    @classmethod
    async def to(
        cls,
        api: Api,
        pod: Mapping[str, Any],
        service: Mapping[str, Any],
        outside: Mapping[str, Any] | None,
        security: Security | None,
        how: Literal["auto", "direct", "port-forward"],
    ) -> Route:
        """The first way that works: the name and address of its Service, the pod's; what its Service for the outside has, where
        there is one; then a forwarded port.

        Raises ClusterhubError where none does.
        """
        open_to_all = list(_outside(pod, outside)) if outside is not None else []
        addresses = [*_addresses(pod, service, api.namespace), *open_to_all]
        if how == "direct":
            if (found := await _first_in_time(addresses, security)) is not None:
                return cls(*found, inside=found not in open_to_all)
            tried = ", ".join(f"{host}:{port}" for host, port in addresses)
            raise ClusterhubError(
                f"the scheduler cannot be reached from here at {tried}; leave kubernetes.route auto, or give it a Service that"
                " can be (kubernetes.service_type: LoadBalancer)"
            )
        direct = asyncio.create_task(_first_of(addresses, security)) if how == "auto" else None
        better = await cls._better(await cls._forwarded(api, str(pod["metadata"]["name"])), direct, security)
        better.inside = not better.forwarded and (better.host, better.port) not in open_to_all
        return better

    @classmethod
    async def _better(
        cls, forwarded: Route, direct: asyncio.Task[tuple[str, int] | None] | None, security: Security | None
    ) -> Route:
        """The direct way where it answers not much later than the forwarded one: what is not there may never answer."""
        if direct is None:
            return forwarded
        try:
            through = asyncio.create_task(_answers(forwarded.host, forwarded.port, security))
            await asyncio.wait([direct, through], return_when=asyncio.FIRST_COMPLETED)
            if not direct.done() and await through:
                await asyncio.wait([direct], timeout=HEAD_START)
            found = await direct if direct.done() or not await through else None
        finally:
            direct.cancel()
            await asyncio.wait([direct])
        if found is None:
            return forwarded
        await forwarded.close()
        return cls(*found)

    @classmethod
    async def _forwarded(cls, api: Api, pod: str) -> Route:
        tunnel = Tunnel(api, pod)
        return cls("127.0.0.1", await tunnel.open(), tunnel)

    @property
    def forwarded(self) -> bool:
        """Whether it goes through the API server, and breaks with it."""
        return self._forward is not None

    def address(self, tls: bool) -> str:
        """As Dask writes it."""
        return written(self.host, self.port, tls)

    async def close(self) -> None:
        """End it."""
        if self._forward is not None:
            forward, self._forward = self._forward, None
            await forward.close()


def _outside(pod: Mapping[str, Any], service: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Where the scheduler may be reached from outside: at its balancer's address, at its node's."""
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        yield ingress.get("hostname") or ingress["ip"], PORT
    node = pod.get("status", {}).get("hostIP")
    for port in service["spec"].get("ports", ()):
        if port.get("port") == PORT and port.get("nodePort") and node:
            yield node, int(port["nodePort"])


def _addresses(pod: Mapping[str, Any], service: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, int]]:
    """Where it may be reached from inside, the likeliest first."""
    spec, name = service["spec"], service["metadata"]["name"]
    yield f"{name}.{namespace}.svc", PORT
    if spec.get("clusterIP") not in (None, "", "None"):
        yield spec["clusterIP"], PORT
    if address := pod.get("status", {}).get("podIP"):
        yield address, PORT


async def _first_in_time(addresses: list[tuple[str, int]], security: Security | None) -> tuple[str, int] | None:
    """As :func:`_first_of`, tried again for as long as a way may take to open."""
    deadline = time.monotonic() + PATIENCE
    while (found := await _first_of(addresses, security)) is None and time.monotonic() < deadline:
        await asyncio.sleep(AGAIN)
    return found


async def _first_of(addresses: list[tuple[str, int]], security: Security | None) -> tuple[str, int] | None:
    """The first at which a Dask scheduler answers that has our keys, whichever it is: all lead to the same one, and to wait for
    those that may never answer, a name that nobody knows or a Service that nodes have not heard of yet, takes seconds."""
    trials = {asyncio.create_task(_answers(host, port, security)): (host, port) for host, port in addresses}
    waiting = set(trials)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for trial, address in trials.items():  # of those that answer at one moment the likeliest
                if trial in done and trial.result():
                    return address
        return None
    finally:
        for trial in waiting:
            trial.cancel()
        if waiting:
            await asyncio.wait(waiting)


async def _answers(host: str, port: int, security: Security | None) -> bool:
    """Not only whether it takes connections: proxies and firewalls may take them for addresses that they do not know."""
    from distributed.comm.core import connect

    arguments = security.get_connection_args("client") if security is not None else {}
    try:
        async with asyncio.timeout(TRIAL):
            comm = await connect(written(host, port, security is not None), timeout=TRIAL, **arguments)
    except Exception as error:  # noqa: BLE001 - who is no scheduler may say anything: of "HTTP/1.1" Dask reads a length of 3 EiB
        logger.debug("clusterhub: no scheduler of ours at %s:%s: %r", host, port, error)
        return False
    comm.abort()
    return True


def written(host: str, port: int, tls: bool) -> str:
    """An address as Dask writes it."""
    return f"{'tls' if tls else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"
