"""Clusters on Kubernetes, brought about by Dask's operator: the public cloud."""

from __future__ import annotations

from clusterhub_backends.kubernetes.backend import KubernetesBackend

__all__ = ["KubernetesBackend"]
