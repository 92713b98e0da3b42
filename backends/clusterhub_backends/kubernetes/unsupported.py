"""What a profile can say, and no pod can be: told with what to say instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clusterhub import ClusterSpec, Feature
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.template import ADDRESS, WORKER_NAME, footprint, is_encrypted

_ENCRYPTION = ("DASK_DISTRIBUTED__COMM__TLS__", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION")


def refused(spec: ClusterSpec, options: KubernetesOptions) -> Mapping[str, str]:
    """Dotted keys, each with the reason why it cannot be honoured; empty where everything can be."""
    return dict([*_environment(spec), *_paths(spec), *_requests(spec, options)])


def _environment(spec: ClusterSpec) -> Iterator[tuple[str, str]]:
    if spec.environment.setup:
        yield (
            Feature.SETUP,
            "a pod starts Dask without a shell; put it into the image, or into an initContainers entry of"
            " kubernetes.worker_pod",
        )
    for name in spec.environment.variables:
        if name in (ADDRESS, WORKER_NAME) or (is_encrypted(spec) and name.upper().startswith(_ENCRYPTION)):
            yield f"{Feature.VARIABLES}.{name}", "workers find their scheduler, and its keys, by it; leave it out"


def _paths(spec: ClusterSpec) -> Iterator[tuple[str, str]]:
    for key, path in (
        (Feature.PYTHON, spec.environment.python),
        (Feature.DIRECTORY, spec.environment.directory),
        (Feature.SCRATCH, spec.storage.scratch),
    ):
        if path is None:
            continue
        if "$" in path or path.startswith("~"):
            yield key, "a pod has no shell in which $VAR and ~ would expand; write the path as it is in the container"
        elif not path.startswith("/") and (key != Feature.PYTHON or "/" in path):
            yield key, "write the whole path, as it is in the container"
        elif ":" in path and key == Feature.SCRATCH:
            yield key, "Kubernetes mounts nothing at a path with a colon"


def _requests(spec: ClusterSpec, options: KubernetesOptions) -> Iterator[tuple[str, str]]:
    """Kubernetes refuses pods that reserve more than they may use."""
    cores, memory = options.requests.cores, options.requests.memory
    if cores is not None and cores > spec.worker.cores:
        yield "kubernetes.requests.cores", f"{cores:g} is more than worker.cores, which is {spec.worker.cores:g}"
    if memory is not None and memory > (most := footprint(spec).memory):
        yield "kubernetes.requests.memory", f"{memory} is more than the {most.about()} that the pod of a worker may use"
