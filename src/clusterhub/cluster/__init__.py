"""What users hold: `AsyncCluster`, with all the logic, and `Cluster`, its thin blocking front."""

from clusterhub.cluster.asynchronous import AsyncCluster, Opening
from clusterhub.cluster.blocking import Cluster

__all__ = ["AsyncCluster", "Cluster", "Opening"]
