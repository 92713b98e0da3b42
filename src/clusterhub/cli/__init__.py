"""The command ``clusterhub``. Its parts are imported when they are called for, and Dask last of all."""

from __future__ import annotations

from .entry import clusterhub, main

__all__ = ["clusterhub", "main"]
