"""A real dask-gateway server on loopback, with schedulers and workers that are processes of this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def missing() -> str | None:
    """Why there can be no gateway here, or None."""
    for package in ("dask_gateway", "dask_gateway_server", "sqlalchemy"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: pip install 'dask-gateway-server[local]' dask-gateway"
    found = importlib.util.find_spec("dask_gateway_server")
    assert found is not None
    assert found.origin is not None
    proxy = Path(found.origin).with_name("proxy") / "dask-gateway-proxy"
    if not os.access(proxy, os.X_OK):
        return f"dask-gateway-server came without its proxy for this platform ({proxy})"
    return None
