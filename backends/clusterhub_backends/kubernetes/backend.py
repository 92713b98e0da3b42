"""The Kubernetes backend: what it offers and refuses, what it would send, and the clusters that a namespace has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clusterhub import (
    BackendUnavailable,
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

END_PATIENCE = 60.0
"""Seconds that the pods of a cluster may take to end."""
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
        from clusterhub_backends.kubernetes.deployment import CLUSTER
        from clusterhub_backends.kubernetes.manifest import secret_name

        name = str(ref.data["cluster"])
        async with _opened(options, ref) as api, asyncio.timeout(END_PATIENCE):
            await api.delete("daskautoscalers", name)
            await api.delete("daskclusters", name, wait=True)
            await api.delete("secrets", secret_name(name))
            while await api.list("pods", labels={CLUSTER: name}):
                await asyncio.sleep(0.5)

    async def discover(self, options: KubernetesOptions) -> Sequence[Sighting]:
        """The DaskClusters of this user in the namespace, and those that nobody has labelled."""
        from clusterhub_backends.kubernetes.deployment import CLUSTER, COMPONENT

        async with _opened(options) as api:
            clusters, workers = await asyncio.gather(
                api.list("daskclusters"), api.list("pods", labels={COMPONENT: "worker"})
            )
            ready: dict[str, int] = {}
            for pod in workers:
                if pod.get("status", {}).get("phase") == "Running":
                    of = str(pod["metadata"]["labels"].get(CLUSTER))
                    ready[of] = ready.get(of, 0) + 1
            return [
                _sighting(api, cluster, ready.get(str(cluster["metadata"]["name"]), 0))
                for cluster in clusters
                if _is_ours(cluster)
            ]


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


def _is_ours(cluster: Mapping[str, Any]) -> bool:
    from clusterhub_backends.kubernetes.manifest import USER_LABEL
    from clusterhub_backends.kubernetes.syntax import as_label_value
    from clusterhub_backends.kubernetes.user import user

    owner = cluster["metadata"].get("labels", {}).get(USER_LABEL)
    return owner is None or owner == as_label_value(user())


def _sighting(api: Api, cluster: Mapping[str, Any], connected: int) -> Sighting:
    from clusterhub_backends.kubernetes.manifest import KEPT_LABEL, PROFILE_ANNOTATION, USER_LABEL

    metadata = cluster["metadata"]
    labels, name = metadata.get("labels", {}), str(metadata["name"])
    phase = cluster.get("status", {}).get("phase")
    state = (
        "ending" if metadata.get("deletionTimestamp") else "running" if phase in ("Running", "Pending") else "starting"
    )
    data: dict[str, Any] = {"server": api.server, "namespace": api.namespace, "cluster": name}
    return Sighting(
        ref=Ref(backend="kubernetes", name=name, data=data),
        own_name=name,
        state=state,  # type: ignore[arg-type]  # one of three
        reason="" if USER_LABEL in labels else "made without clusterhub",
        profile=metadata.get("annotations", {}).get(PROFILE_ANNOTATION, ""),
        kept=labels.get(KEPT_LABEL, "true") == "true",
        connected=connected,
        created=datetime.fromisoformat(metadata["creationTimestamp"]).astimezone(UTC),
        where=f"{api.namespace} of {api.place}",
    )
