"""What only Kubernetes knows: the table ``kubernetes:`` of a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, field_serializer, model_validator

from clusterhub import Bytes, Frozen
from clusterhub.profile.secrets import HIDDEN, holds_secret_text, is_secret_entry, is_secret_name, redact_text
from clusterhub.spec import Cores
from clusterhub_backends.kubernetes import podspec, syntax
from clusterhub_backends.kubernetes.overlay import SCHEDULER, WORKER

OURS = ("dask.org/", "kubernetes.dask.org/", "clusterhub/", "kopf.zalando.org/", "sidecar.istio.io/inject")
"""What labels and annotations begin with that the operator or clusterhub sets itself, whatever else is written."""


def _table(
    key: Callable[[str], str], value: Callable[[str], str] | None, taken: tuple[str, ...] = ()
) -> Callable[[dict[str, str]], dict[str, str]]:
    """A validator of tables with such keys and values, that have no key beginning with one of ``taken``."""

    def checked(table: dict[str, str]) -> dict[str, str]:
        for name, content in table.items():
            key(name)
            if value is not None:
                value(content)
            if name.startswith(taken):
                raise ValueError(f"{name} is set by Dask's operator or by clusterhub; leave it out")
        return table

    return checked


def _texts(value: object) -> object:
    """Kubernetes refuses ``true`` and ``1`` there; which text is meant, only quotes say."""
    for name, content in value.items() if isinstance(value, Mapping) else ():
        if isinstance(content, bool | int | float):
            raise ValueError(f"{name} must be a text; put it in quotes")
    return value


def _one_or_more(value: object) -> object:
    """A mere text stands for a list of one, and Kubernetes' own ``{name: x}`` for x."""
    listed = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(listed, list | tuple):
        return listed
    return tuple(each["name"] if isinstance(each, Mapping) and each.keys() == {"name"} else each for each in listed)


def _overlay(ours: str | None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def checked(overlay: dict[str, Any]) -> dict[str, Any]:
        if found := list(podspec.problems(overlay, ours)):
            raise ValueError("; ".join(found))
        return overlay

    return checked


def _absolute(path: str) -> str:
    if not path.startswith("/") or ":" in path:
        raise ValueError("must be a path in the container that begins with / and holds no colon")
    return path


Name = Annotated[str, AfterValidator(syntax.dns_subdomain)]
Label = Annotated[str, AfterValidator(syntax.dns_label)]
Text = Annotated[str, Field(min_length=1)]
MountPath = Annotated[str, AfterValidator(_absolute), Field(examples=["/data"])]
Labels = Annotated[
    dict[str, str], BeforeValidator(_texts), AfterValidator(_table(syntax.label_key, syntax.label_value, OURS))
]
Selector = Annotated[
    dict[str, str], BeforeValidator(_texts), AfterValidator(_table(syntax.label_key, syntax.label_value))
]
Annotations = Annotated[dict[str, str], BeforeValidator(_texts), AfterValidator(_table(syntax.label_key, None, OURS))]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=str | tuple[str, ...]),
    Field(strict=False),
]
_POD_EXAMPLE = {"securityContext": {"runAsUser": 1000}, "containers": [{"env": [{"name": "TZ", "value": "UTC"}]}]}


class Toleration(Frozen):
    """A taint of nodes that the pods put up with, as in a pod."""

    key: Annotated[str, AfterValidator(syntax.label_key), Field(examples=["dedicated"])] | None = None
    """The taint's key; none, with the operator Exists, means all."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """``Equal``: the taint has this value. ``Exists``: whatever its value."""
    value: Annotated[str, AfterValidator(syntax.label_value), Field(examples=["dask"])] | None = None
    """The taint's value, for ``Equal``."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; none means all."""
    tolerationSeconds: Annotated[int, Field(ge=0)] | None = None
    """For ``NoExecute``: for how many seconds."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError("Exists asks for no value; leave value out, or write operator: Equal")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("write the key of the taint, or operator: Exists for all of them")
        if self.tolerationSeconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds is for effect: NoExecute")
        return self


class VolumeMount(Frozen):
    """Where a volume is seen in the containers of Dask, as in a pod."""

    name: Annotated[Label, Field(examples=["data"])]
    """The volume's name."""
    mountPath: MountPath
    """Where it is seen."""
    readOnly: bool = False
    """Whether nothing can be written to it."""
    subPath: Annotated[Text, Field(examples=["public"])] | None = None
    """The part of the volume that is seen; by default all of it."""


def _volume(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise ValueError("must have a name, which volume_mounts tell where to mount")
    if found := list(podspec.problems({"volumes": [value]})):
        raise ValueError("; ".join(found))
    sources = [key for key in value if key != "name"]
    if len(sources) != 1:
        raise ValueError(
            f"must have one source beside its name, as persistentVolumeClaim: {{claimName: …}}; this has {len(sources)}"
        )
    return value


Volume = Annotated[
    dict[str, JsonValue],
    AfterValidator(_volume),
    Field(examples=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]),
]


class Requests(Frozen):
    """What a worker's pod reserves on its node, apart from what it may use at most."""

    cores: Annotated[Cores, Field(examples=[0.5])] | None = None
    """CPU cores; by default ``worker.cores``."""
    memory: Annotated[Bytes, Field(examples=["8 GiB"])] | None = None
    """Memory of the pod, in bytes; by default all that it may use. With less, a full node may evict it."""


class SchedulerSize(Frozen):
    """The pod that Dask's scheduler runs in."""

    cores: Annotated[Cores, Field(examples=[1])] = 1
    """Its CPU cores, reserved and at most: the scheduler uses one, or little more."""
    memory: Annotated[Bytes, Field(examples=["4 GiB"])] = Bytes("2 GiB")
    """Its memory, in bytes, reserved and at most: a scheduler of a million tasks needs some GiB."""


class KubernetesOptions(Frozen):
    """What only Kubernetes knows, each in its native meaning."""

    namespace: Annotated[Label, Field(examples=["ocean"])] | None = None
    """The namespace that the cluster lives in; by default that of the context."""
    context: Annotated[Text, Field(examples=["gke-ocean"])] | None = None
    """The context of the kubeconfig; by default its current one."""
    kubeconfig: Annotated[Text, Field(examples=["~/.kube/ocean"])] | None = None
    """The kubeconfig; by default ``KUBECONFIG``, else ``~/.kube/config``, else the service account of the pod we are in.
    ``$VAR`` and ``~`` expand here."""
    image: (
        Annotated[str, AfterValidator(syntax.image), Field(examples=["pangeo/pangeo-notebook:2026.11.01"])] | None
    ) = None
    """The container image of scheduler and workers: any with Dask 2026.6 or newer. By default ``ghcr.io/dask/dask`` of the
    versions of distributed and Python here."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When nodes pull the image; by default Kubernetes decides by its tag."""
    image_pull_secrets: Annotated[Names, Field(examples=[["registry-login"]])] = ()
    """The Secrets that the image is pulled with, by name."""
    service_account: Annotated[Name, Field(examples=["dask"])] | None = None
    """The service account of the pods: what tasks may do there."""
    node_selector: Annotated[Selector, Field(examples=[{"pool": "dask"}])] = Field(default_factory=dict)
    """Labels that the nodes must have."""
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(strict=False, examples=[[{"key": "dedicated", "value": "dask", "effect": "NoSchedule"}]]),
    ] = ()
    """Taints of nodes that the pods put up with."""
    labels: Annotated[Labels, Field(examples=[{"team": "ocean"}])] = Field(default_factory=dict)
    """Labels of everything that the cluster is made of."""
    annotations: Annotated[Annotations, Field(examples=[{"example.org/cost-center": "4711"}])] = Field(
        default_factory=dict, repr=False
    )
    """Annotations of everything that the cluster is made of, its Service included."""
    priority_class: Annotated[Name, Field(examples=["batch-low"])] | None = None
    """The priority class of the pods."""
    volumes: Annotated[tuple[Volume, ...], Field(strict=False, repr=False)] = ()
    """Volumes of scheduler and workers, as in a pod."""
    volume_mounts: Annotated[
        tuple[VolumeMount, ...],
        Field(strict=False, examples=[[{"name": "data", "mountPath": "/data", "readOnly": True}]]),
    ] = ()
    """Where scheduler and workers see the volumes, as in a pod."""
    pod: Annotated[dict[str, JsonValue], AfterValidator(_overlay(None)), Field(repr=False, examples=[_POD_EXAMPLE])] = (
        Field(default_factory=dict)
    )
    """What else the pods of scheduler and workers have: a part of a pod's ``spec``, merged as ``kubectl patch`` does. A container
    without a name is the one that Dask runs in; null takes something out; tolerations are added."""
    scheduler_pod: Annotated[dict[str, JsonValue], AfterValidator(_overlay(SCHEDULER)), Field(repr=False)] = Field(
        default_factory=dict
    )
    """The same for the scheduler's pod alone, laid over ``pod``."""
    worker_pod: Annotated[dict[str, JsonValue], AfterValidator(_overlay(WORKER)), Field(repr=False)] = Field(
        default_factory=dict
    )
    """The same for the workers' pods alone, laid over ``pod``."""
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """How the scheduler is shown outside: by NodePort and LoadBalancer a Service of that type has Dask's own port, which lets in
    who has the keys, and not the dashboard's, which lets in everybody."""
    requests: Requests = Requests()
    scheduler: SchedulerSize = SchedulerSize()
    route: Literal["auto", "direct", "port-forward"] = "auto"
    """How the scheduler is reached from here: at its Service's own address, through the API server, or what works."""

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        volumes = [str(volume["name"]) for volume in self.volumes]
        if twice := sorted({name for name in volumes if volumes.count(name) > 1}):
            raise ValueError(f"volumes: {', '.join(twice)}: told twice")
        paths = [mount.mountPath for mount in self.volume_mounts]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"volume_mounts: {', '.join(twice)}: told twice")
        overlay: dict[str, Any] = self.pod
        known = {*volumes, *(volume["name"] for volume in overlay.get("volumes") or ())}
        for mount in self.volume_mounts:
            if mount.name not in known:
                raise ValueError(
                    f"volume_mounts: there is no volume {mount.name}; volumes has {', '.join(volumes) or 'none'}"
                )
        return self

    @field_serializer("pod", "scheduler_pod", "worker_pod", when_used="json")
    def _overlay_without_secrets(self, value: dict[str, JsonValue]) -> Any:
        return without_secrets(value)

    @field_serializer("annotations", when_used="json")
    def _annotations_without_secrets(self, value: dict[str, str]) -> Any:
        return without_secrets(value)


def without_secrets(value: Any) -> Any:
    """The part of a manifest as it may be shown: texts that names say are secrets are hidden, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(below, str) and is_secret_entry(value, key) else without_secrets(below)
            for key, below in value.items()
        }
    if isinstance(value, list | tuple):
        before = [None, *value]  # of the words of a command, one that names a secret is followed by it
        return [
            HIDDEN if isinstance(item, str) and _names_secret(word) else without_secrets(item)
            for word, item in zip(before, value, strict=False)
        ]
    return redact_text(value) if isinstance(value, str) else value


def _names_secret(word: object) -> bool:
    return isinstance(word, str) and word.startswith("-") and "=" not in word and is_secret_name(word.lstrip("-"))


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's name says that its value is a secret, or its value looks like one: a URL with a password."""
    return is_secret_name(name) or holds_secret_text(value)
