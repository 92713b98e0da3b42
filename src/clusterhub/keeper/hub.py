"""``hub://NAME``: the comm scheme by which code that only knows Dask finds a living cluster, keys included."""

from __future__ import annotations

from typing import Any

from clusterhub._dask.hub_comm import Hub
from clusterhub.errors import ClusterGone
from clusterhub.keeper.finding import living_record
from clusterhub.keeper.records import Store
from clusterhub.keeper.wire import plan_from


class RecordedHub(Hub):
    """Resolves names through the records of this user."""

    def resolve(self, name: str) -> tuple[str, dict[str, Any]]:
        """The address of the cluster called ``name``, and what a connection to it needs.

        Raises ConfigError for a name that nobody knows, ClusterGone for a cluster that has ended; and ConnectionError, which
        Dask tries again, for one that is only starting.
        """
        record = living_record(Store.here(), name)
        if record.state == "starting":
            raise ConnectionError(f"cluster {name} is starting")
        if record.state == "ending":
            raise ClusterGone(f"cluster {name} is ending")
        tls = plan_from(record.plan).tls
        arguments = tls.security().get_connection_args("client") if tls is not None else {}
        return record.address, dict(arguments)
