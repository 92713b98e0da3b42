"""A batch backend whose queue is simulated and whose Dask scheduler and workers are real.

It lets the facade, ``report()``, ``wait()`` and the conformance suite meet delay, pending reasons, rejection, full queues,
arrays, loss, MISSING and FAILED with no batch system at hand. Unlike LocalCluster's, its units hold two workers.
"""

from simulated_queue.backend import SimulatedBackend, SimulatedOptions, deployment_of

__all__ = ["SimulatedBackend", "SimulatedOptions", "deployment_of"]
