"""What a gateway offers, as its server tells of it; and profiles of a gateway, resolved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from attended import hurry
from dask_gateway_server import options as theirs

from clusterhub import ClusterSpec, ConfigError
from clusterhub.profile import Resolved, resolve
from clusterhub_backends.gateway.offers import Offer, offers_from
from clusterhub_backends.gateway.options import GatewayOptions
from clusterhub_backends.gateway.request import Wishes

from .cared import Cared, cared

ADDRESS = "https://hub.example.org/services/dask-gateway"
SECRET = "hunter2xyz"


def offered(*fields: theirs.Field) -> dict[str, Offer]:
    """What a server with these options offers: made by the server's own classes, so that both change together."""
    return offers_from(theirs.Options(*fields).get_specification())


def site() -> dict[str, Offer]:
    """The options of most sites."""
    return offered(
        theirs.Integer("worker_cores", default=1, min=1, max=4, label="Worker Cores"),
        theirs.Float("worker_memory", default=1, min=0.25, max=8, label="Worker Memory (GiB)"),
        theirs.String("image", default="pangeo/pangeo-notebook:latest", label="Image"),
        theirs.Mapping("environment", {"OMP_NUM_THREADS": "1"}, label="Environment Variables"),
        theirs.Float("idle_timeout", default=0, min=0, max=7200, label="Idle Timeout (s)"),
        theirs.Select("profile", ["small", "large"], default="small", label="Profile"),
    )


def gateway(**said: Any) -> Mapping[str, Any]:
    """The table of that name, with an address."""
    return {"address": ADDRESS, **said}


def profile(**said: Any) -> Resolved:
    """A gateway's profile, with an address unless it is said."""
    return resolve("gateway", {**said, "gateway": gateway(**said.get("gateway", {}))})


def options(**said: Any) -> GatewayOptions:
    """The options of such a profile."""
    found = profile(gateway=said).options
    assert isinstance(found, GatewayOptions)
    return found


def wishes(**said: Any) -> Wishes:
    """What a profile wishes of a gateway."""
    resolved = profile(**said)
    assert isinstance(resolved.spec, ClusterSpec)
    return Wishes(resolved.spec, resolved.options)


def refused(**said: Any) -> str:
    """The text of the error of a profile that must not resolve."""
    with pytest.raises(ConfigError) as caught:
        profile(**said)
    return str(caught.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caretaker that looks often, and waits for nobody for long."""
    hurry(monkeypatch)


@pytest.fixture
async def cluster(impatient: None) -> AsyncIterator[Cared]:
    """A gateway's cluster for an impatient caretaker."""
    async with cared() as made:
        yield made
