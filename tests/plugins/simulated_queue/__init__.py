"""A batch backend whose queue is simulated and whose Dask scheduler and workers are real.

It lets the facade, ``report()``, ``wait()`` and the conformance suite meet delay, pending reasons, rejection, full queues,
arrays, loss, MISSING and FAILED with no batch system at hand. Unlike LocalCluster's, its units hold two workers, and its
clusters live in a system that knows of them: they are kept, let go of and found again, within this process.
"""

from simulated_queue.backend import SimulatedBackend, SimulatedOptions, cluster_of
from simulated_queue.system import ask

__all__ = ["SimulatedBackend", "SimulatedOptions", "ask", "cluster_of"]
