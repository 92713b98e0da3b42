"""The backend of the simulated queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from clusterhub import ClusterGone, ClusterSpec, Deployment, Document, Feature, Frozen, Plan, Ref
from clusterhub.backend import Backend

if TYPE_CHECKING:
    from simulated_queue.deployment import SimulatedDeployment

Fault = Literal["none", "bad-python", "never-connects", "rejects", "holds"]


class SimulatedOptions(Frozen):
    """The simulated queue's own words."""

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

    async def start(self, plan: Plan[SimulatedOptions]) -> Deployment:
        """A scheduler here, jobs in the queue."""
        from simulated_queue.deployment import SimulatedDeployment

        return await SimulatedDeployment.start(plan)

    async def attach(self, ref: Ref) -> Deployment:
        """The same cluster once more: it lives in this process."""
        from simulated_queue.deployment import LIVING

        if ref.name not in LIVING:
            raise ClusterGone(f"there is no simulated cluster {ref.name}")
        return LIVING[ref.name].shared()

    async def discover(self) -> Sequence[Ref]:
        """All that live in this process."""
        from simulated_queue.deployment import LIVING

        return [deployment.ref for deployment in LIVING.values()]


def deployment_of(cluster: Any) -> SimulatedDeployment:
    """The deployment behind a cluster, for tests that need to break something."""
    from simulated_queue.deployment import LIVING

    return LIVING[cluster.name]
