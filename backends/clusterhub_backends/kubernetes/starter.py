"""Who needs a cluster that has no caretaker yet, written on its DaskCluster: so it is found when that process has been killed.

Nobody else would end it: Dask's operator asks the caretaker, and without one it never hears that a cluster is to end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from clusterhub.keeper.identity import Life, Process
from clusterhub_backends.kubernetes.manifest import STARTER_ANNOTATION
from clusterhub_backends.kubernetes.objects import Object

NOBODY: Mapping[str, Any] = {"metadata": {"annotations": {STARTER_ANNOTATION: None}}}
"""The change to a DaskCluster whose caretaker looks after it from now on."""


def ourselves() -> str:
    """This process, as it is written down where others can read it: the machine's id is confidential (machine-id(5))."""
    this = Process.this()
    return this.model_copy(update={"machine": _digest(this.machine)}).model_dump_json()


def us(version: str) -> Mapping[str, Any]:
    """The change to a DaskCluster of that resourceVersion that this process has taken over."""
    return {"metadata": {"resourceVersion": version, "annotations": {STARTER_ANNOTATION: ourselves()}}}


def starter_of(cluster: Object) -> Process | None:
    """Who is written on it; None where nobody is, or what another clusterhub has written."""
    try:
        told = Process.model_validate_json((cluster["metadata"].get("annotations") or {}).get(STARTER_ANNOTATION, ""))
    except ValidationError:
        return None
    here = Process.this().machine
    return told.model_copy(update={"machine": here}) if told.machine == _digest(here) else told


def gone(cluster: Object) -> str:
    """The proof, in a clause, that whoever needs it is gone; empty where there is none."""
    starter = starter_of(cluster)
    return (
        f"{starter}, which made it, is gone, and nobody else would end it"
        if starter is not None and starter.life() is Life.DEAD
        else ""
    )


def _digest(machine: str) -> str:
    return hashlib.sha256(f"clusterhub {machine}".encode()).hexdigest()[:16] if machine else ""
