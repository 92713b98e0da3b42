"""The way to a scheduler: straight, where its address can be reached from here, else through the API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from clusterhub import ClusterhubError
from clusterhub_backends.kubernetes.api import Api

PORT = 8786
TRIAL = 2.0
"""Seconds in which an address that can be reached at all takes a connection."""


class Route:
    """How one cluster's scheduler is reached. :meth:`close` ends a forwarded port."""

    def __init__(self, host: str, port: int, forward: Any = None) -> None:
        self.host = host
        self.port = port
        self._forward = forward

    @classmethod
    async def to(
        cls, api: Api, pod: Mapping[str, Any], service: Mapping[str, Any], how: Literal["auto", "direct", "port-forward"]
    ) -> Route:
        """The first way that works: the service's name and addresses, the pod's, the node's, then a forwarded port.

        Raises ClusterhubError where none does.
        """
        if how != "port-forward":
            found = await _first_of(list(_addresses(pod, service, api.namespace)))
            if found is not None:
                return cls(*found)
            if how == "direct":
                tried = ", ".join(f"{host}:{port}" for host, port in _addresses(pod, service, api.namespace))
                raise ClusterhubError(
                    f"the scheduler cannot be reached from here at {tried}; leave kubernetes.route auto, or give it a Service"
                    " that can be (kubernetes.service_type: LoadBalancer)"
                )
        return await cls._forwarded(api, str(pod["metadata"]["name"]))

    @classmethod
    async def _forwarded(cls, api: Api, pod: str) -> Route:
        from kr8s.asyncio.objects import Pod

        resource = await Pod.get(pod, namespace=api.namespace, api=api.kr8s)
        forward = resource.portforward(PORT, local_port="auto")
        port = await forward.start()
        return cls("127.0.0.1", port, forward)

    @property
    def forwarded(self) -> bool:
        """Whether it goes through the API server, and breaks with it."""
        return self._forward is not None

    def address(self, tls: bool) -> str:
        """As Dask writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if tls else 'tcp'}://{host}:{self.port}"

    async def close(self) -> None:
        """End it."""
        if self._forward is not None:
            forward, self._forward = self._forward, None
            await forward.stop()


def _addresses(pod: Mapping[str, Any], service: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, int]]:
    """Where the scheduler may be reached, the likeliest first."""
    spec, name = service["spec"], service["metadata"]["name"]
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        yield ingress.get("hostname") or ingress["ip"], PORT
    yield f"{name}.{namespace}.svc", PORT
    if spec.get("clusterIP") not in (None, "", "None"):
        yield spec["clusterIP"], PORT
    status = pod.get("status", {})
    if status.get("podIP"):
        yield status["podIP"], PORT
    for port in spec.get("ports", ()):
        if port.get("port") == PORT and port.get("nodePort") and status.get("hostIP"):
            yield status["hostIP"], int(port["nodePort"])


async def _first_of(addresses: list[tuple[str, int]]) -> tuple[str, int] | None:
    """The first in this order that takes a connection; all are tried at once."""
    answers = await asyncio.gather(*(_takes(host, port) for host, port in addresses))
    return next((address for address, answer in zip(addresses, answers, strict=True) if answer), None)


async def _takes(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(TRIAL):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
