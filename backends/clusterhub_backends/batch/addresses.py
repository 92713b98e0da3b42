"""The addresses of this host at which nodes may reach a scheduler, the likeliest first."""

from __future__ import annotations

import socket

VIRTUAL = ("lo", "docker", "virbr", "veth", "br-", "cni", "flannel", "cali", "vmnet", "vboxnet", "tun", "tap", "podman")
"""Interfaces whose addresses mean something else on every node, which may well own 172.17.0.1 itself."""


def addresses_here() -> tuple[str, ...]:
    """IPv4 addresses of this host's real interfaces; loopback alone where there is no other.

    That of the default route comes first: it is what Dask would take.
    """
    return tuple(named_addresses_here())


def named_addresses_here() -> dict[str, str]:
    """The same, each with the name of its interface."""
    found = [(address, name) for name, address in interfaces_here() if not name.startswith(VIRTUAL)]
    first = _of_the_default_route()
    return dict(sorted(found, key=lambda entry: entry[0] != first)) or {"127.0.0.1": "lo"}


def interfaces_here() -> list[tuple[str, str]]:
    """The interfaces that are up, each with an IPv4 address of its."""
    import psutil

    stats = psutil.net_if_stats()
    return [
        (name, entry.address)
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET and name in stats and stats[name].isup
    ]


def _of_the_default_route() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))  # sends nothing: a datagram socket only looks up the route
        except OSError:
            return ""
        return str(probe.getsockname()[0])
