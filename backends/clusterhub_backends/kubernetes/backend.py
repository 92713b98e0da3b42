"""The Kubernetes backend: what it offers and refuses, what it would send, and the clusters that a namespace has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from clusterhub import (
    BackendUnavailable,
    ClusterhubError,
    ClusterSpec,
    Document,
    Feature,
    Finding,
    Footprint,
    Plan,
    Ref,
    Sighting,
    Standalone,
    Workers,
)
from clusterhub.backend import Backend
from clusterhub_backends.kubernetes.options import KubernetesOptions

if TYPE_CHECKING:
    from clusterhub_backends.kubernetes.api import Api

PLANNED_UID = "0" * 32
"""What stands in a plan for the uid that a cluster is given when it is started."""


class KubernetesBackend(Backend[KubernetesOptions]):
    """Clusters in a namespace of Kubernetes, as DaskClusters."""

    name = "kubernetes"
    contract = 1
    options_type = KubernetesOptions
    unit_noun = "pod"
    features = frozenset(
        {
            Feature.GPUS,
            Feature.PYTHON,
            Feature.DIRECTORY,
            Feature.VARIABLES,
            Feature.TLS,
            Feature.SCRATCH,
            Feature.IDLE_TIMEOUT,
            Feature.MAX_AGE,
            Feature.LINGER,
        }
    )

    def load(self) -> None:
        """Import kr8s. Raises BackendUnavailable with the line that installs it."""
        try:
            import kr8s  # noqa: F401
        except ImportError as error:
            raise BackendUnavailable(f'not installed: pip install "clusterhub[kubernetes]" ({error})') from error

    def unconfigured(self, options: KubernetesOptions) -> str | None:
        """That there is no kubeconfig, or no such context in it, and that this is no pod either."""
        from clusterhub_backends.kubernetes.login import way

        try:
            way(options.kubeconfig, options.context, options.namespace)
        except BackendUnavailable as error:
            return str(error)
        return None

    def refusals(self, spec: ClusterSpec, options: KubernetesOptions) -> Mapping[str, str]:
        """What no pod can be."""
        from clusterhub_backends.kubernetes.unsupported import refused

        return refused(spec, options)

    def footprint(self, spec: ClusterSpec) -> Footprint:
        """A pod of one worker."""
        from clusterhub_backends.kubernetes.template import footprint

        return footprint(spec)

    def problems(self, spec: ClusterSpec, options: KubernetesOptions) -> Iterable[Finding | str]:
        """The API server, our rights there, the operator, and what the pods need."""
        from clusterhub_backends.kubernetes.doctor import findings

        return findings(spec, options)

    def plan(self, name: str, spec: ClusterSpec, options: KubernetesOptions) -> Plan[KubernetesOptions]:
        """The manifests that would be sent, the Secret with its contents hidden."""
        from clusterhub_backends.kubernetes.manifest import (
            autoscaler_manifest,
            cluster_manifest,
            hidden_secret_manifest,
            manifest_text,
            needs_secret,
            outside_manifest,
            secret_name,
        )
        from clusterhub_backends.kubernetes.user import user

        who, secret = user(), needs_secret(spec, options)
        cluster = cluster_manifest(
            name, spec, options, uid=PLANNED_UID, user=who, profile="", named=False, kept=False,
            secret=secret_name(name) if secret else None,
        )  # fmt: skip
        documents = [Document(title="DaskCluster manifest", text=manifest_text(cluster), language="yaml")]
        if secret:
            hidden = hidden_secret_manifest(name, spec, options, uid=PLANNED_UID, user=who)
            documents.insert(0, Document(title="Secret manifest", text=manifest_text(hidden), language="yaml"))
        outside = outside_manifest(name, options, uid=PLANNED_UID, user=who)
        if outside is not None:
            documents.append(Document(title="Service manifest", text=manifest_text(outside), language="yaml"))
        if spec.workers.adapts:
            scaler = autoscaler_manifest(name, spec.workers.minimum, spec.workers.maximum, namespace=options.namespace)
            documents.append(Document(title="DaskAutoscaler manifest", text=manifest_text(scaler), language="yaml"))
        worker = spec.worker
        gpus = f", {worker.gpus} GPUs" if worker.gpus else ""
        return Plan(
            name=name,
            backend=self.name,
            spec=spec,
            options=options,
            summary=f"workers as pods: {spec.workers}, of {worker.cores:g} cores, {worker.memory}{gpus} each; and one of the"
            " scheduler",
            documents=tuple(documents),
        )

    async def start(self, plan: Plan[KubernetesOptions]) -> Standalone:
        """A new cluster; nothing is left of it where its start fails."""
        from clusterhub_backends.kubernetes.deployment import KubernetesDeployment

        return await KubernetesDeployment.start(plan)

    async def attach(self, ref: Ref, options: KubernetesOptions) -> Standalone:
        """The living cluster behind ``ref``, also one that was made without clusterhub."""
        from clusterhub_backends.kubernetes.deployment import KubernetesDeployment

        plain = self.plan(ref.name, ClusterSpec(backend=self.name, workers=Workers.exactly(0)), options)
        return await KubernetesDeployment.attached(ref, options, plain)

    async def end(self, ref: Ref, options: KubernetesOptions) -> None:
        """Delete the cluster behind ``ref``, in whatever state it is, and return when its pods have ended."""
        from clusterhub_backends.kubernetes.ending import END_PATIENCE, delete_secret, ended

        name = str(ref.data["cluster"])
        async with _opened(options, ref) as api:
            if (cluster := await api.get("daskclusters", name)) is None:
                return
            uid = str(cluster["metadata"]["uid"])
            await api.delete("daskautoscalers", name)
            await api.delete("daskclusters", name, uid=uid, wait=True)
            if left := await ended(api, name, uid, END_PATIENCE):
                raise ClusterhubError(f"{name} was told to end: {left}")
            await delete_secret(api, name, uid)

    async def discover(self, options: KubernetesOptions) -> Sequence[Sighting]:
        """The DaskClusters of this user in the namespace, and those that nobody has labelled."""
        from clusterhub_backends.kubernetes.sight import sightings

        async with _opened(options) as api:
            return await sightings(api)

    async def end_orphan(self, ref: Ref, options: KubernetesOptions) -> bool:
        """End the cluster behind ``ref`` if it is still proven to be an orphan; whether it did, once its pods have ended."""
        from clusterhub_backends.kubernetes.ending import end_orphan

        async with _opened(options, ref) as api:
            return await end_orphan(api, str(ref.data["cluster"]))


class _opened:
    """The line to the API server, closed in the end."""

    def __init__(self, options: KubernetesOptions, ref: Ref | None = None) -> None:
        self._options = options
        self._namespace = str(ref.data.get("namespace") or "") if ref is not None else ""

    async def __aenter__(self) -> Api:
        from clusterhub_backends.kubernetes.api import Api

        options = self._options
        self._api = await Api.of(options.kubeconfig, options.context, self._namespace or options.namespace)
        return self._api

    async def __aexit__(self, *error: object) -> None:
        await self._api.close()
