"""Versions of what scheduler, workers and client share, and which differences between them matter.

It imports none of them: asking for the version of a package costs a look into its metadata.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

COMPARED = {"python": 2, "dask": 3, "distributed": 3, "numpy": 2, "xarray": 3}
"""Packages whose versions are compared, and how many of a version's parts matter."""

Versions = Mapping[str, str | None]
"""By package; None for one that is not installed."""


def here() -> dict[str, str | None]:
    """The compared versions in this process's environment."""
    packages = {package: _version(package) for package in COMPARED if package != "python"}
    return {"python": ".".join(map(str, sys.version_info[:3])), **packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def differences(ours: Versions, theirs: Versions, *, where: str = "on the worker") -> str:
    """One clause for each package that differs in a way that matters; an empty text where none does."""
    return "; ".join(
        f"{package} is {theirs.get(package) or 'missing'} {where} and {ours.get(package) or 'missing'} here"
        for package, parts in COMPARED.items()
        if _leading(ours.get(package), parts) != _leading(theirs.get(package), parts)
    )


def _leading(version: str | None, parts: int) -> list[str]:
    return version.split(".")[:parts] if version else []
