"""What Kubernetes would be sent, word for word: manifests are compared with the files beside this one.

After a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/golden``, then read the difference before committing it. The files
are valid: ``kubectl apply --dry-run=server --validate=strict -f kubernetes-everything.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clusterhub import ClusterSpec
from clusterhub_backends.kubernetes.manifest import (
    autoscaler_manifest,
    cluster_manifest,
    hidden_secret_manifest,
    manifest_text,
    needs_secret,
    outside_manifest,
    secret_name,
)
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.unsupported import refused

HERE = Path(__file__).parent
IMAGE = "ghcr.io/dask/dask:2026.8.0-py3.11"
MANIFESTS: Mapping[str, Mapping[str, Any]] = {
    "kubernetes": {"workers": 4, "kubernetes": {"image": IMAGE}},
    "kubernetes-open": {
        "workers": 1,
        "network": {"tls": False},
        "lifecycle": {"idle_timeout": "never"},
        "kubernetes": {"image": IMAGE},
    },
    "kubernetes-everything": {
        "workers": {"minimum": 1, "maximum": 200},
        "worker": {"cores": 3.5, "memory": "16 GiB", "gpus": 1, "threads": 4},
        "environment": {
            "python": "/srv/conda/envs/notebook/bin/python",
            "directory": "/work",
            "variables": {"OMP_NUM_THREADS": "1", "API_TOKEN": "hunter2", "GREETING": "no $(HOME)", "SWITCH": "on"},
        },
        "storage": {"scratch": "/scratch"},
        "lifecycle": {"idle_timeout": "30m"},
        "kubernetes": {
            "namespace": "ocean",
            "context": "gke-ocean",
            "kubeconfig": "~/.kube/ocean",
            "image": "pangeo/pangeo-notebook:2026.11.01",
            "image_pull_policy": "IfNotPresent",
            "image_pull_secrets": ["registry-login"],
            "service_account": "dask",
            "node_selector": {"pool": "dask", "spot": "true"},
            "tolerations": [{"key": "dedicated", "value": "dask", "effect": "NoSchedule"}],
            "labels": {"team": "ocean"},
            "annotations": {"example.org/cost-center": "4711"},
            "priority_class": "batch-low",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "volume_mounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
            "pod": {
                "securityContext": {"runAsUser": 1000, "fsGroup": 100},
                "tolerations": [{"key": "spot", "operator": "Exists"}],
                "containers": [
                    {"securityContext": {"allowPrivilegeEscalation": False}, "env": [{"name": "TZ", "value": "UTC"}]},
                    {"name": "scheduler", "env": [{"name": "DASK_LOGGING__DISTRIBUTED", "value": "debug"}]},
                ],
            },
            "scheduler_pod": {"nodeSelector": {"spot": None, "pool": "core"}},
            "worker_pod": {
                "initContainers": [
                    {"name": "wait", "image": "busybox:1", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}
                ],
                "volumes": [{"name": "clusterhub-scratch", "emptyDir": {"sizeLimit": "100Gi"}}],
                "terminationGracePeriodSeconds": 25,
            },
            "service_type": "LoadBalancer",
            "requests": {"cores": 2, "memory": "12 GiB"},
            "scheduler": {"cores": 2, "memory": "4 GiB"},
            "route": "direct",
        },
    },
}


def text_of(case: str) -> str:
    """Everything that would be sent for it, in its order."""
    said = dict(MANIFESTS[case])
    options = KubernetesOptions.model_validate(said.pop("kubernetes"))
    spec = ClusterSpec.model_validate({"backend": "kubernetes", **said})
    assert not refused(spec, options)
    who = {"uid": "0123456789abcdef", "user": "ann"}
    secret = secret_name("golden") if needs_secret(spec, options) else None
    sent = [
        cluster_manifest(
            "golden", spec, options, **who, profile="cloud", named=True, kept=False, secret=secret, plan='{"a": 1}'
        )
    ]
    if secret is not None:
        sent.append(hidden_secret_manifest("golden", spec, options, **who))
    if (outside := outside_manifest("golden", options, **who)) is not None:
        sent.append(outside)
    if spec.workers.adapts:
        target = (spec.workers.minimum, spec.workers.maximum)
        sent.append(autoscaler_manifest("golden", *target, namespace=options.namespace))
    return manifest_text(*sent)


@pytest.mark.parametrize("case", sorted(MANIFESTS))
def test_manifests_are_what_they_were(case: str) -> None:
    file = HERE / f"{case}.yaml"
    text = text_of(case)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.exists(), "a new case: make its file with UPDATE_GOLDEN=1"
    assert text == file.read_text(encoding="utf-8")


def test_every_manifest_belongs_to_a_case() -> None:
    assert {path.stem for path in HERE.glob("*.yaml")} == set(MANIFESTS)


@pytest.mark.parametrize("case", sorted(MANIFESTS))
def test_no_manifest_that_is_shown_holds_a_secret(case: str) -> None:
    assert "hunter2" not in text_of(case)


def test_every_option_is_in_the_whole_example() -> None:
    assert set(MANIFESTS["kubernetes-everything"]["kubernetes"]) == set(KubernetesOptions.model_fields)
