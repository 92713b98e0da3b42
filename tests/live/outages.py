"""Whether a cluster can be asked, for stories of outages."""

from __future__ import annotations

from clusterhub import ClusterGone
from clusterhub.cluster import Cluster


def answers(cluster: Cluster) -> bool:
    """Whether it can be asked now. Raises ClusterGone where it never can again."""
    try:
        cluster.report()
    except ClusterGone as gone:
        if gone.final:
            raise
        return False
    return True
