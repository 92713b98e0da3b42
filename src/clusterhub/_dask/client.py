"""Dask clients of our clusters."""

from __future__ import annotations

from typing import Any

from distributed import Client


def client_of(cluster: Any, **options: Any) -> Client:
    """A client of ``cluster``, which stands for itself: address, security, status and loop are read from it."""
    return Client(cluster, **options)
