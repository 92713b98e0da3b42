"""Clusters of a dask-gateway: a server starts schedulers and workers for its users, and its own rules say which."""

from __future__ import annotations

from clusterhub_backends.gateway.backend import GatewayBackend

__all__ = ["GatewayBackend"]
