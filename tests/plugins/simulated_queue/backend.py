"""The backend of the simulated queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from clusterhub import ClusterGone, ClusterSpec, Document, Feature, Frozen, Plan, Ref, Sighting, Standalone
from clusterhub.backend import Backend

if TYPE_CHECKING:
    from simulated_queue.cluster import SimulatedCluster

Fault = Literal["none", "bad-python", "never-connects", "rejects", "holds"]


class SimulatedOptions(Frozen):
    """The simulated queue's own words."""

    site: str = "here"
    """Which of several systems it is."""
    queue: str = "short"
    """The queue that jobs go to."""
    account: str | None = None
    """The account that pays."""
    password: SecretStr | None = None
    """A secret, to see that it is never shown."""
    slots: int = 100
    """Jobs that run at a time."""
    limit: int = 100
    """Jobs that a user may have."""
    delay: float = 0.02
    """Seconds between a free place and a running job."""
    startup_timeout: float = 30.0
    """Seconds after which a running job without its workers is missing."""
    fault: Fault = "none"
    """What goes wrong."""


class SimulatedBackend(Backend[SimulatedOptions]):
    """A queue without a machine."""

    name = "simulated"
    contract = 1
    options_type = SimulatedOptions
    unit_noun = "job"
    features = frozenset({Feature.NODE, Feature.WORKERS_PER_JOB, Feature.WALLTIME})

    def dask_config(self) -> Mapping[str, Any]:
        """What ``jobqueue.simulated`` says, in our words."""
        import dask

        found = dask.config.get("jobqueue.simulated", {})
        queue = found.get("queue")
        return {"simulated": {"queue": queue}} if queue else {}

    def plan(self, name: str, spec: ClusterSpec, options: SimulatedOptions) -> Plan[SimulatedOptions]:
        """A script and the arithmetic."""
        per_job = spec.packing.workers_per_job
        jobs = math.ceil(spec.workers.maximum / per_job)
        script = f"#!/usr/bin/env bash\n#SIM -N {name}\n#SIM -q {options.queue}\ndask worker --nworkers {per_job}\n"
        return Plan(
            name=name,
            backend=self.name,
            spec=spec,
            options=options,
            summary=f"{jobs} jobs of {per_job} workers, in 1 submission",
            documents=(Document(title="job script", text=script, language="bash"),),
        )

    async def start(self, plan: Plan[SimulatedOptions]) -> Standalone:
        """A scheduler in the system, and jobs in its queue."""
        from simulated_queue.deployment import SimulatedDeployment

        return await SimulatedDeployment.start(plan)

    async def attach(self, ref: Ref, options: SimulatedOptions) -> Standalone:
        """The same cluster once more."""
        from simulated_queue.deployment import SimulatedDeployment
        from simulated_queue.system import LIVING

        cluster = LIVING.get(str(ref.data.get("id")))
        if cluster is None or cluster.closed or cluster.plan.options.site != options.site:
            raise ClusterGone(f"there is no simulated cluster {ref.name}")
        return SimulatedDeployment(cluster)

    async def discover(self, options: SimulatedOptions) -> Sequence[Sighting]:
        """All that live at one site."""
        from simulated_queue.system import LIVING

        living = [cluster for cluster in LIVING.values() if not cluster.closed]
        return [cluster.sighting for cluster in living if cluster.plan.options.site == options.site]


def cluster_of(facade: Any) -> SimulatedCluster:
    """The cluster behind a facade, for tests that need to break something."""
    from simulated_queue.system import LIVING

    (found,) = [cluster for cluster in LIVING.values() if cluster.scheduler_address == facade.scheduler_address]
    return found
