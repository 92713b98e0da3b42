"""The pods of a cluster: what runs in them, with how much of everything, and what their users have laid over that."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from clusterhub import Bytes, ClusterSpec, Footprint
from clusterhub_backends.kubernetes.options import KubernetesOptions, is_secret
from clusterhub_backends.kubernetes.overlay import SCHEDULER, WORKER, laid_over

COMM_PORT, DASHBOARD_PORT = 8786, 8787
COMM, DASHBOARD = "tcp-comm", "http-dashboard"
"""How the ports are called; the operator looks for the scheduler by these names."""
KEYS_VOLUME, KEYS_PATH = "clusterhub-keys", "/etc/clusterhub/keys"
CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
"""The files of the keys, in the Secret and in the pods."""
KEYS_MODE = 0o444
"""The volume is seen by Dask's own containers alone, and whoever runs in them may have the keys anyway. With less, only root
could read them: giving them to the image's own user takes ``fsGroup``, which changes the owner of every other volume too."""
SCRATCH_VOLUME = "clusterhub-scratch"
NANNY = 96 * 2**20
"""Bytes of the nanny beside each worker, which Dask does not count: 60 MB measured, and room. Without it the kernel would end the
pod before Dask restarts its worker at 95 %."""
GRACE = {SCHEDULER: 10, WORKER: 5}
"""Seconds from SIGTERM to SIGKILL. Whoever is ended on purpose has been drained before; a worker that never found its scheduler
does not heed SIGTERM."""
GPU = "nvidia.com/gpu"
ADDRESS, WORKER_NAME = "DASK_SCHEDULER_ADDRESS", "DASK_WORKER_NAME"
_REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*\$\(")
"""Of a text that is put together from other variables; those of a Secret are not, and the secret is in the others."""
_ROLES = ("SCHEDULER", "WORKER", "CLIENT")


def default_image() -> str:
    """The public image of Dask with the versions of distributed and Python that run here."""
    release = version("distributed").partition("+")[0]  # a tag cannot carry what an unreleased version has after it
    return f"ghcr.io/dask/dask:{release}-py{sys.version_info.major}.{sys.version_info.minor}"


def footprint(spec: ClusterSpec) -> Footprint:
    """What one worker's pod may use."""
    return Footprint(Bytes(spec.worker.memory + NANNY), spec.worker.memory)


def is_encrypted(spec: ClusterSpec) -> bool:
    """Whether the cluster speaks TLS: its traffic leaves this machine, so only ``false`` says no."""
    return spec.network.tls is not False


def pods(name: str, spec: ClusterSpec, options: KubernetesOptions, secret: str | None) -> dict[str, dict[str, Any]]:
    """The pod specs of the scheduler and of a worker; ``secret`` is the Secret with their keys. Secrets that were told in
    clear are in them as they were told: see :func:`withheld`."""
    made = {SCHEDULER: _scheduler(spec, options), WORKER: _worker(name, spec, options)}
    for component, pod in made.items():
        if secret is not None and is_encrypted(spec):
            _give_keys(pod, secret)
        own: dict[str, Any] = options.scheduler_pod if component == SCHEDULER else options.worker_pod
        made[component] = laid_over(laid_over(pod, options.pod, component), own, component)
    return made


def withheld(
    made: Mapping[str, dict[str, Any]], secret: str | None
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The pod specs with every variable that is a secret taken from the Secret, and those variables by their key there."""
    found: dict[str, str] = {}
    result = {}
    for component, pod in made.items():
        result[component] = dict(pod)
        for field in ("initContainers", "containers"):
            if field in pod:
                result[component][field] = [_withheld(component, each, secret, found) for each in pod[field]]
    return result, found


def _withheld(
    component: str, container: Mapping[str, Any], secret: str | None, found: dict[str, str]
) -> dict[str, Any]:
    result = dict(container)
    if "env" in container:
        result["env"] = []
    for entry in container.get("env") or ():
        value = entry.get("value")
        if isinstance(value, str) and is_secret(entry["name"], value) and not _REFERENCE.search(value):
            key = f"{component}.{container['name']}.{entry['name']}"
            found[key] = _unescaped(value)
            entry = {"name": entry["name"], "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        result["env"].append(entry)
    return result


# What they have in common


def _pod(component: str, options: KubernetesOptions, container: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "containers": [container],
        # Else a Service of any name in the namespace could set variables that Dask reads as its config: DASK_…
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE[component],
    }
    if options.service_account is not None:
        pod["serviceAccountName"] = options.service_account
    if options.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
    if options.priority_class is not None:
        pod["priorityClassName"] = options.priority_class
    if options.node_selector:
        pod["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        pod["tolerations"] = [each.model_dump(exclude_none=True) for each in options.tolerations]
    if options.volumes:
        pod["volumes"] = [dict(volume) for volume in options.volumes]
    return pod


def _container(component: str, options: KubernetesOptions, **more: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": component, "image": options.image or default_image()}
    if options.image_pull_policy is not None:
        container["imagePullPolicy"] = options.image_pull_policy
    container |= more
    if options.volume_mounts:
        container["volumeMounts"] = [each.model_dump(exclude_defaults=True) for each in options.volume_mounts]
    return container


def _command(spec: ClusterSpec, *words: str) -> list[str]:
    """Given as ``args``: the image's own entrypoint may be what makes its environment."""
    return ([spec.environment.python, "-m", "dask"] if spec.environment.python is not None else ["dask"]) + list(words)


def _give_keys(pod: dict[str, Any], secret: str) -> None:
    files = {"CA_FILE": CA} | {
        f"{role}__{what}": file for role in _ROLES for what, file in (("CERT", CERT), ("KEY", KEY))
    }
    [container] = pod["containers"]
    container["env"] = [
        *container.get("env", ()),
        {"name": "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "value": "True"},
        *(
            {"name": f"DASK_DISTRIBUTED__COMM__TLS__{key}", "value": f"{KEYS_PATH}/{file}"}
            for key, file in files.items()
        ),
    ]
    container.setdefault("volumeMounts", []).append({"name": KEYS_VOLUME, "mountPath": KEYS_PATH, "readOnly": True})
    items = [{"key": file, "path": file} for file in (CA, CERT, KEY)]
    source = {"secretName": secret, "defaultMode": KEYS_MODE, "items": items}
    pod.setdefault("volumes", []).append({"name": KEYS_VOLUME, "secret": source})


# Each of them


def _scheduler(spec: ClusterSpec, options: KubernetesOptions) -> dict[str, Any]:
    size = {"cpu": cpu(options.scheduler.cores), "memory": amount(options.scheduler.memory)}
    protocol = "tls" if is_encrypted(spec) else "tcp"
    container = _container(
        SCHEDULER,
        options,
        args=_command(
            spec,
            "scheduler",
            "--protocol",
            protocol,
            "--port",
            str(COMM_PORT),
            "--dashboard-address",
            f":{DASHBOARD_PORT}",
        ),
        resources={"limits": size, "requests": dict(size)},
        ports=[
            {"name": COMM, "containerPort": COMM_PORT, "protocol": "TCP"},
            {"name": DASHBOARD, "containerPort": DASHBOARD_PORT, "protocol": "TCP"},
        ],
        # No liveness: a scheduler that takes in a large graph is silent for long, and to restart it would lose everything.
        readinessProbe={
            "httpGet": {"path": "/health", "port": DASHBOARD},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 30,
        },
    )
    return _pod(SCHEDULER, options, container)


def _worker(name: str, spec: ClusterSpec, options: KubernetesOptions) -> dict[str, Any]:
    scratch = spec.storage.scratch
    words = ["worker", "--name", f"$({WORKER_NAME})", "--nthreads", str(spec.worker.nthreads)]
    words += ["--memory-limit", str(int(spec.worker.memory))]
    # What a worker serves by HTTP asks nobody who he is.
    words += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    words += ["--local-directory", scratch] if scratch is not None else []
    more: dict[str, Any] = {"args": _command(spec, *words)}
    if spec.environment.directory is not None:
        more["workingDir"] = spec.environment.directory
    # The short name: which domain the cluster has is its own matter, and "cluster.local" only usual.
    protocol = "tls" if is_encrypted(spec) else "tcp"
    address = f"{protocol}://{name}-scheduler:{COMM_PORT}"
    variables = [{"name": key, "value": _escaped(value)} for key, value in spec.environment.variables.items()]
    more["env"] = [{"name": ADDRESS, "value": address}, *variables]
    more["resources"] = _resources(spec, options)
    pod = _pod(WORKER, options, _container(WORKER, options, **more))
    if scratch is not None and not any(_is_below(scratch, mount.mountPath) for mount in options.volume_mounts):
        pod.setdefault("volumes", []).append({"name": SCRATCH_VOLUME, "emptyDir": {}})
        pod["containers"][0].setdefault("volumeMounts", []).append({"name": SCRATCH_VOLUME, "mountPath": scratch})
    return pod


def _resources(spec: ClusterSpec, options: KubernetesOptions) -> dict[str, Any]:
    limits = {"cpu": cpu(spec.worker.cores), "memory": amount(footprint(spec).memory)}
    gpus = {GPU: str(spec.worker.gpus)} if spec.worker.gpus else {}
    requests = dict(limits)
    if options.requests.cores is not None:
        requests["cpu"] = cpu(options.requests.cores)
    if options.requests.memory is not None:
        requests["memory"] = amount(options.requests.memory)
    return {"limits": limits | gpus, "requests": requests | gpus}


def _is_below(path: str, mount: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{mount.rstrip('/')}/")


def _escaped(value: str) -> str:
    """The text such that it arrives as it is: Kubernetes puts variables in for ``$(NAME)`` and reads ``$$`` as ``$``."""
    return value.replace("$", "$$") if "$(" in value or "$$" in value else value


def _unescaped(value: str) -> str:
    """What a variable with that text would be, where the text is taken from a Secret, in which nothing is put in."""
    return value.replace("$$", "$") if "$$" in value else value


def cpu(cores: float) -> str:
    """That many cores as a quantity, in thousandths, which are the least that there is."""
    thousandths = math.ceil(round(cores * 1000, 6))
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def amount(size: int) -> str:
    """That many bytes as a quantity, exactly."""
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(int(size))
