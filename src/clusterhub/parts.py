"""Parts that backends are built of: what every control loop over a Dask scheduler needs, and nobody should write twice.

Importing this imports no Dask; making the parts does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clusterhub._dask import dashboard, draining
from clusterhub._dask.draining import Drain, hold, release
from clusterhub._dask.line import Line
from clusterhub._dask.scheduler import NotRun, SchedulerLink
from clusterhub.backend import Plan
from clusterhub.native.adaptation import Adaptation
from clusterhub.native.verdict import Idleness

if TYPE_CHECKING:
    from distributed import Scheduler

    from clusterhub._dask.caretaker import Caretaker

__all__ = [
    "Adaptation",
    "Caretaker",
    "Drain",
    "Idleness",
    "Line",
    "NotRun",
    "SchedulerLink",
    "dashboard",
    "draining",
    "hold",
    "release",
    "scheduler_class",
]


def scheduler_class(plan: Plan[Any]) -> type[Scheduler]:
    """The class of the scheduler to start for ``plan``.

    Where that has a ``dashboard_prefix``, it answers HTTP to nobody who does not know it, from its first moment on.
    """
    from clusterhub._dask.hosting import scheduler_class

    guarded: type[Scheduler] = scheduler_class(plan.dashboard_prefix)
    return guarded


def __getattr__(name: str) -> object:
    if name == "Caretaker":  # late: it is one of Dask's plugins
        from clusterhub._dask.caretaker import Caretaker

        return Caretaker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
