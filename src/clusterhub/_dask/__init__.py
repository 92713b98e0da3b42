"""The only room of the hub that imports distributed: its scheduler, its event loop, its security."""

from clusterhub._dask.draining import Drain
from clusterhub._dask.loop import LoopThread, in_spawned_child
from clusterhub._dask.scheduler import SchedulerLink
from clusterhub._dask.status import Status, coerce_status

__all__ = ["Drain", "LoopThread", "SchedulerLink", "Status", "coerce_status", "in_spawned_child"]
