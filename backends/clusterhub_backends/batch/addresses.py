"""The addresses of this host at which nodes may reach a scheduler, the likeliest first."""

from __future__ import annotations

import socket

VIRTUAL = ("lo", "docker", "virbr", "veth", "br-", "cni", "flannel", "cali", "vmnet", "vboxnet", "tun", "tap", "podman")
"""Interfaces whose addresses mean something else on every node, which may well own 172.17.0.1 itself."""


def addresses_here() -> tuple[str, ...]:
    """IPv4 addresses of this host's real interfaces; loopback alone where there is no other.

    That of the default route comes first: it is what Dask would take.
    """
    import psutil

    stats, found = psutil.net_if_stats(), []
    for name, entries in psutil.net_if_addrs().items():
        if name.startswith(VIRTUAL) or not stats[name].isup:
            continue
        found += [entry.address for entry in entries if entry.family == socket.AF_INET]
    first = _of_the_default_route()
    return tuple(sorted(dict.fromkeys(found), key=lambda address: address != first)) or ("127.0.0.1",)


def _of_the_default_route() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))  # sends nothing: a datagram socket only looks up the route
        except OSError:
            return ""
        return str(probe.getsockname()[0])
