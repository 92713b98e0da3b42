"""Dask's operator, which asks for its events anew every ten seconds: before `connect` gives it up for dead, after 25.

As released it does so every two minutes, because a connection may go deaf (see ``startup`` in its own controller, and kopf 698).
"""

from __future__ import annotations

import kopf
from dask_kubernetes.operator import controller as controller  # its handlers, of which the startup comes first


@kopf.on.startup()
async def hear_again_soon(settings: kopf.OperatorSettings, **_: object) -> None:
    """Keep no watch for longer: the server ends it after so many seconds, and the client where the server did not."""
    settings.watching.server_timeout = 10
    settings.watching.client_timeout = 15
