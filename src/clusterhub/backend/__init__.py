"""The contract between the hub and a backend: what a backend promises, and the words in which it tells what it sees.

A backend is two things. A :class:`Backend` is stateless and mostly pure: it turns a spec into a :class:`Plan` (what would
be sent) and starts plans. A :class:`Deployment` is one living cluster: it keeps the target it was last told, and tells
the truth about its units. ``clusterhub.native.NativeDeployment`` is a ready-made one for any object of Dask's own
cluster interface; ``clusterhub.testing`` holds the suite that a backend passes to be called one.
"""

from __future__ import annotations

from clusterhub.backend.base import CONTRACT, Backend, left_by, refuse_unsupported
from clusterhub.backend.converting import Conversion, Said, TakesJobqueue
from clusterhub.backend.deployment import Deployment, HostsScheduler, Remarks
from clusterhub.backend.elsewhere import (
    Holdable,
    Sighting,
    Standalone,
    SupportsAttach,
    SupportsCollection,
    SupportsEnd,
)
from clusterhub.backend.features import NEUTRAL, Feature, asked_features
from clusterhub.backend.keeping import KeeperCommand, SubmitsKeeper, SupportsCleanup
from clusterhub.backend.plans import Document, Leaf, NoOptions, O, Plan, Ref
from clusterhub.backend.units import ALIVE, NEEDS_REASON, Allocation, Finding, Footprint, Mark, Unit, UnitState

__all__ = [
    "ALIVE",
    "CONTRACT",
    "NEEDS_REASON",
    "NEUTRAL",
    "Allocation",
    "Backend",
    "Conversion",
    "Deployment",
    "Document",
    "Feature",
    "Finding",
    "Footprint",
    "Holdable",
    "HostsScheduler",
    "KeeperCommand",
    "Leaf",
    "Mark",
    "NoOptions",
    "O",
    "Plan",
    "Ref",
    "Remarks",
    "Said",
    "Sighting",
    "Standalone",
    "SubmitsKeeper",
    "SupportsAttach",
    "SupportsCleanup",
    "SupportsCollection",
    "SupportsEnd",
    "TakesJobqueue",
    "Unit",
    "UnitState",
    "asked_features",
    "left_by",
    "refuse_unsupported",
]
