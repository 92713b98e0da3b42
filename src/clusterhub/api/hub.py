"""``hub://NAME``: the comm scheme by which code that only knows Dask finds a living cluster, keys included."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from clusterhub._dask.hub_comm import Hub
from clusterhub.api import elsewhere
from clusterhub.api.attaching import Located
from clusterhub.errors import ClusterGone, ConfigError
from clusterhub.keeper.finding import living_record
from clusterhub.keeper.records import Store
from clusterhub.keeper.wire import plan_from

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster

REMEMBERED = 10.0
"""Seconds for which a cluster elsewhere is not asked whether it is still there: a client opens several connections at once, and
asks for each; and one that lost its own tries again for 30 s."""

Address = tuple[str, dict[str, Any]]


class LivingHub(Hub):
    """Resolves names through the records of this user, and where there is none, through the systems that clusters live in."""

    def __init__(self) -> None:
        self._attached: dict[str, tuple[float, Cluster]] = {}
        """Those elsewhere, since when: the way to a scheduler may be one of ours, as a forwarded port, which has to stay open."""
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def resolve(self, name: str) -> Address:
        """The address of the cluster called ``name``, and what a connection to it needs.

        Raises ConfigError for a name that nobody knows, ClusterGone for a cluster that has ended; and ConnectionError, which
        Dask tries again, for one that is only starting.
        """
        try:
            record = living_record(Store.here(), name)
        except (ConfigError, ClusterGone) as error:
            if (found := self._elsewhere(name, error)) is not None:
                return found
            raise
        if record.state == "starting":
            raise ConnectionError(f"cluster {name} is starting")
        if record.state == "ending":
            raise ClusterGone(f"cluster {name} is ending")
        tls = plan_from(record.plan).tls
        arguments = tls.security().get_connection_args("client") if tls is not None else {}
        return record.address, dict(arguments)

    def _elsewhere(self, name: str, otherwise: ConfigError | ClusterGone) -> Address | None:
        """None where there is nowhere else to look. Of several who ask at once one does."""
        with self._asking[name]:
            cluster = self._still_there(name) or self._found(name, otherwise)
            if cluster is None:
                return None
            security = cluster.security
            arguments = security.get_connection_args("client") if security is not None else {}
            return cluster.scheduler_address, dict(arguments)

    def _still_there(self, name: str) -> Cluster | None:
        asked, cluster = self._attached.get(name, (0.0, None))
        if cluster is None or time.monotonic() < asked + REMEMBERED:
            return cluster
        try:
            cluster.report()
        except ClusterGone:
            del self._attached[name]
            cluster.close()
            return None
        self._attached[name] = time.monotonic(), cluster
        return cluster

    def _found(self, name: str, otherwise: ConfigError | ClusterGone) -> Cluster | None:
        sought = elsewhere.sought(name, otherwise)
        if sought is None:
            return None
        found = sought.found()
        if found.sighting.state == "starting":
            raise ConnectionError(f"cluster {name} is starting")
        cluster = Located(found).attach()
        self._attached[name] = time.monotonic(), cluster
        return cluster
