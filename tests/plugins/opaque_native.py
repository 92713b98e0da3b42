"""A backend on a cluster object of which only `scale(n)` is known, as of GatewayCluster and KubeCluster.

It is a LocalCluster behind a wall: no plan, no workers by name, a text for a status. Told a smaller number it ends workers of
its own choice, with their results, as such managers do; and it replaces nothing.
"""

from __future__ import annotations

from typing import Any

from clusterhub import Deployment, Document, Feature, NativeDeployment, NoOptions, Plan
from clusterhub.backend import Backend


class OpaqueCluster:
    """A LocalCluster that shows no more than dask-gateway's clusters do."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def _started(self) -> OpaqueCluster:
        await self._inner
        return self

    def __await__(self) -> Any:
        return self._started().__await__()

    @property
    def scheduler_address(self) -> str:
        return str(self._inner.scheduler_address)

    @property
    def status(self) -> str:
        return str(self._inner.status.name)

    async def scale(self, n: int) -> None:
        # A manager of this kind sees which of its pods are gone, and has `n` again.
        living = {str(info["name"]) for info in self._inner.scheduler.identity()["workers"].values()}
        for name in [
            name for name in self._inner.worker_spec if str(name) not in living and name in self._inner.workers
        ]:
            del self._inner.worker_spec[name]
        await self._inner._correct_state()
        self._inner.scale(n)
        await self._inner._correct_state()

    async def close(self) -> None:
        await self._inner.close()


class OpaqueBackend(Backend[NoOptions]):
    """Workers of this machine, behind a wall."""

    name = "opaque"
    contract = 1
    options_type = NoOptions
    unit_noun = "pod"
    features = frozenset({Feature.IDLE_TIMEOUT, Feature.MAX_AGE})

    def plan(self, name: str, spec: Any, options: NoOptions) -> Plan[NoOptions]:
        """Its size."""
        document = Document(title="request", text=str(spec.workers))
        return Plan(name=name, backend=self.name, spec=spec, options=options, summary="pods", documents=(document,))

    async def start(self, plan: Plan[NoOptions]) -> Deployment:
        """Start it, behind its wall."""
        from distributed import LocalCluster

        inner = LocalCluster(
            n_workers=plan.spec.workers.minimum,
            threads_per_worker=plan.spec.worker.nthreads,
            memory_limit=int(plan.spec.worker.memory),
            dashboard_address="127.0.0.1:0",
            asynchronous=True,
        )
        return await NativeDeployment.of(OpaqueCluster(inner), plan)
