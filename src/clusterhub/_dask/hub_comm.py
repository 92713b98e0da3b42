"""Addresses that name a cluster instead of a place: ``Client("hub://eddies")``, wherever its scheduler is just now.

Dask finds the backend of a scheme by the entry point group ``distributed.comm.backends`` (distributed/comm/registry.py).
A name is looked up at every connection, so a client also finds a scheduler that came back at another address.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

from distributed.comm.addressing import get_address_host, get_address_host_port, get_local_address_for, parse_address
from distributed.comm.core import Comm, Connector, FatalCommClosedError
from distributed.comm.registry import Backend, get_backend

from clusterhub.errors import ClusterhubError


class HubConnector(Connector):  # type: ignore[misc]  # distributed carries no annotations
    """Connects to what a name stands for, with the keys that belong to it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def connect(self, address: str, deserialize: bool = True, **connection_args: Any) -> Comm:
        """A connection to the scheduler of the cluster called ``address``.

        The cluster's own keys are used and not the caller's, who needs none; but one who demands encryption gets no
        connection without. A name that stands for nothing fails at once: Dask tries everything else again for 30 s.
        """
        try:
            real, own_args = await asyncio.to_thread(self._hub.resolve, address)
        except ClusterhubError as error:
            raise FatalCommClosedError(str(error)) from error
        if connection_args.get("require_encryption"):
            own_args = own_args | {"require_encryption": True}
        scheme, location = parse_address(real, strict=True)
        return await get_backend(scheme).get_connector().connect(location, deserialize=deserialize, **own_args)


class Hub(Backend):  # type: ignore[misc]  # distributed carries no annotations
    """The comm scheme ``hub://NAME``: a way to connect, and nothing to listen on."""

    @abstractmethod
    def resolve(self, name: str) -> tuple[str, dict[str, Any]]:
        """The real address of cluster ``name`` and the arguments of a connection to it; may block.

        ClusterhubError where there is no such cluster, now or ever. An OSError is taken for a moment's trouble.
        """

    def get_connector(self) -> HubConnector:
        """What connects to a name."""
        return HubConnector(self)

    def get_listener(self, loc: str, handle_comm: Any, deserialize: bool, **connection_args: Any) -> Any:
        """Refuses: a name is looked up, not served."""
        raise NotImplementedError(
            f"hub://{loc} is the name of a cluster, which clients connect to; nothing can listen there."
            " Give workers the scheduler's own address (cluster.scheduler_address)"
        )

    # The rest answers for the scheduler that the name stands for; each may block.

    def get_address_host(self, loc: str) -> str:
        """The host of the scheduler."""
        return str(get_address_host(self.resolve(loc)[0]))

    def get_address_host_port(self, loc: str) -> tuple[str, int]:
        """The host and port of the scheduler."""
        host, port = get_address_host_port(self.resolve(loc)[0])
        return host, port

    def get_local_address_for(self, loc: str) -> str:
        """Where the scheduler could reach this machine."""
        return str(parse_address(get_local_address_for(self.resolve(loc)[0]))[1])

    def resolve_address(self, loc: str) -> str:
        """The name: it is as canonical as it gets, and stays true when the scheduler moves."""
        return loc
