"""A cluster object of which only `scale(n)` is known keeps the contract through NativeDeployment."""

from __future__ import annotations

from clusterhub.testing import BackendConformance


class TestOpaqueNative(BackendConformance):
    backend = "opaque"
    overrides = {"worker": {"cores": 1, "memory": "512 MiB"}}
