"""The table ``kubernetes`` of a profile: Kubernetes' own rules, known before anything is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clusterhub.spec import field_docstrings
from clusterhub_backends.kubernetes import syntax
from clusterhub_backends.kubernetes.options import (
    KubernetesOptions,
    Requests,
    SchedulerSize,
    Toleration,
    VolumeMount,
)

SECRET = "hunter2xyz"


def options(**said: Any) -> KubernetesOptions:
    return KubernetesOptions.model_validate(said)


def refused(**said: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        options(**said)
    return str(caught.value)


# Names, labels, images


@pytest.mark.parametrize("name", ["ocean", "team-7", "7seas", "a" * 63])
def test_a_namespace_is_a_dns_label(name: str):
    assert options(namespace=name).namespace == name


@pytest.mark.parametrize("name", ["Ocean", "a_b", "-a", "a-", "a.b", "", "a" * 64, "océan", "a\n"])
def test_what_is_no_dns_label_is_no_namespace(name: str):
    assert "1 to 63 lower-case letters" in refused(namespace=name)


def test_most_names_may_have_dots():
    assert options(service_account="dask.team", priority_class="batch.low").service_account == "dask.team"
    assert "each part between dots" in refused(service_account="dask..team")
    assert "1 to 253" in refused(priority_class="a" * 254)


@pytest.mark.parametrize(
    "image",
    [
        "python", "pangeo/pangeo-notebook:2026.11.01", "ghcr.io/dask/dask:2026.8.0-py3.11", "localhost:5000/a/b_c:X",
        "Registry.example.org/a@sha256:" + "0" * 64, "[::1]:5000/a",
    ],
)  # fmt: skip
def test_an_image_is_named_as_kubelets_read_it(image: str):
    assert options(image=image).image == image


@pytest.mark.parametrize(
    "image", ["Pangeo/Notebook", "a b", "a:", "a:b:c", "https://ghcr.io/dask", "", "a@sha256:0", "a/"]
)
def test_what_no_kubelet_reads_is_no_image(image: str):
    assert "no name of an image" in refused(image=image)


def test_labels_are_checked_in_key_and_value():
    good = {"app": "x", "example.org/team": "Ocean_1.2", "empty": ""}
    assert options(labels=good).labels == good
    assert "no key of labels" in refused(labels={"a b": "x"})
    assert "no key of labels" in refused(labels={"a/": "x"})
    assert "each part between dots" in refused(labels={"a/b/c": "x"})
    assert "each part between dots" in refused(labels={"Example.org/b": "x"})
    assert "no value of labels" in refused(labels={"a": "x y"})
    assert "no value of labels" in refused(node_selector={"a": "x" * 64})


def test_annotations_may_hold_any_text():
    assert options(annotations={"example.org/note": "all, of it: {}"}).annotations["example.org/note"]
    assert "no key of labels" in refused(annotations={"a b": "x"})


@pytest.mark.parametrize("value", [True, 1, 1.5])
def test_what_looks_like_a_text_and_is_none_is_told_of(value: Any):
    assert "spot must be a text; put it in quotes" in refused(node_selector={"spot": value})


@pytest.mark.parametrize("key", ["dask.org/cluster-name", "clusterhub/kept", "sidecar.istio.io/inject"])
def test_what_the_operator_or_we_set_cannot_be_said_otherwise(key: str):
    assert "leave it out" in refused(labels={key: "x"})


@pytest.mark.parametrize("amount", ["500m", "2", 2, 0.5, "16Gi", "1.5G", "1e3", "100k"])
def test_quantities_of_kubernetes(amount: Any):
    limits = {"memory": amount}
    assert options(pod={"containers": [{"resources": {"limits": limits}}]}).pod["containers"]


@pytest.mark.parametrize("amount", ["16 GiB", "16GB", "lots", "1KI", "", True, [1]])
def test_what_is_no_quantity_is_told_with_its_place(amount: Any):
    told = refused(pod={"containers": [{"resources": {"limits": {"memory": amount}}}]})
    assert "containers[0].resources.limits.memory" in told
    assert "no quantity of Kubernetes" in told


@given(st.text(max_size=90))
def test_any_text_stands_for_itself_as_a_label(text: str):
    value = syntax.as_label_value(text)
    assert syntax.label_value(value) == value
    assert value == text or len(value) >= 8


def test_different_users_have_different_labels():
    users = ["ann", "ann@example.org", "ann-example.org", "ann/example.org", "É", "é", "x" * 70, "x" * 71]
    assert len({syntax.as_label_value(user) for user in users}) == len(users)
    assert syntax.as_label_value("ann") == "ann"


# Lists


def test_pull_secrets_may_be_one_or_as_in_a_pod():
    for said in ("login", ["login"], [{"name": "login"}]):
        assert options(image_pull_secrets=said).image_pull_secrets == ("login",)


def test_tolerations_are_as_in_a_pod():
    said = {"key": "dedicated", "value": "dask", "effect": "NoSchedule"}
    assert options(tolerations=[said]).tolerations == (Toleration(**said),)
    assert options(tolerations=[{"operator": "Exists"}]).tolerations[0].key is None


@pytest.mark.parametrize(
    ("toleration", "told"),
    [
        ({"operator": "Exists", "key": "a", "value": "b"}, "Exists asks for no value"),
        ({"value": "b"}, "write the key of the taint"),
        ({"key": "a", "tolerationSeconds": 5}, "is for effect: NoExecute"),
        ({"key": "a", "effect": "NoWay"}, "NoSchedule"),
    ],
)
def test_a_toleration_that_says_nothing_is_refused(toleration: Any, told: str):
    assert told in refused(tolerations=[toleration])


def test_a_mount_names_its_volume():
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    said = options(volumes=[data], volume_mounts=[{"name": "data", "mountPath": "/data"}])
    assert said.volume_mounts == (VolumeMount(name="data", mountPath="/data"),)
    assert "there is no volume dta; volumes has data" in refused(
        volumes=[data], volume_mounts=[{"name": "dta", "mountPath": "/data"}]
    )
    assert options(pod={"volumes": [data]}, volume_mounts=[{"name": "data", "mountPath": "/data"}]).volumes == ()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"volumes": [{"name": "a"}]}, "must have one source"),
        ({"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "this has 2"),
        ({"volumes": [{"emptyDir": {}}]}, "must have a name"),
        ({"volumes": [{"name": "A", "emptyDir": {}}]}, "lower-case"),
        ({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1 GiB"}}]}, "no quantity"),
        ({"volumes": [{"name": "a", "emptyDir": {}}] * 2}, "told twice"),
        ({"volume_mounts": [{"name": "a", "mountPath": "data"}]}, "begins with /"),
    ],
)
def test_volumes_that_no_pod_can_have(said: Any, told: str):
    assert told in refused(**said)


# Overlays


@pytest.mark.parametrize(
    ("overlay", "told"),
    [
        ({"spec": {}}, "without spec itself"),
        ({"metadata": {"labels": {}}}, "kubernetes.labels"),
        ({"node_selector": {}}, "did you mean nodeSelector?"),
        ({"tolleration": []}, "did you mean tolerations?"),
        ({"restartPolicy": "Never"}, "nothing but Always"),
        ({"activeDeadlineSeconds": 5}, "lifecycle.max_age"),
        ({"containers": {"name": "worker"}}, "containers: must be a list of tables"),
        ({"containers": [{"env": {"A": "b"}}]}, "containers[0].env: must be a list of tables"),
        ({"containers": [{"env": [{"name": "A", "value": 1}]}]}, "containers[0].env[0].value: must be a text"),
        ({"containers": [{"env": [{"value": "x"}]}]}, "must have a name"),
        ({"containers": [{"volumeMounts": [{"name": "x"}]}]}, "must have a mountPath"),
        ({"containers": [{"name": "wroker"}]}, "needs an image; to change the one of Dask leave its name out"),
        ({"initContainers": [{"image": "x"}]}, "initContainers[0]: must have a name"),
        ({"tolerations": {}}, "tolerations: must be a list"),
        ({"containers": [{"$patch": "replace"}]}, "only $patch: delete"),
        ({"$setElementOrder/containers": []}, "only $patch: delete"),
    ],
)
def test_an_overlay_that_no_pod_can_be_is_refused(overlay: Any, told: str):
    assert told in refused(pod=overlay)


def test_everything_wrong_with_an_overlay_is_told_at_once():
    told = refused(pod={"spec": {}, "containers": [{"env": [{"name": "A", "value": 1}]}]})
    assert "without spec itself" in told
    assert "put it in quotes" in told


def test_the_other_container_is_not_in_an_overlay_of_one_pod():
    told = refused(worker_pod={"containers": [{"name": "scheduler"}]})
    assert "scheduler is not in these pods" in told
    assert "scheduler_pod" in told
    both = {"containers": [{"name": "scheduler"}, {"name": "worker"}, {"name": "sidecar", "image": "x"}]}
    assert options(pod=both).pod == both


# As a whole


def test_a_profile_that_says_nothing_is_good():
    assert options() == KubernetesOptions(requests=Requests(), scheduler=SchedulerSize())


def test_what_is_dumped_holds_no_secret_and_reads_back():
    said = options(
        pod={"containers": [{"env": [{"name": "API_TOKEN", "value": SECRET}, {"name": "TZ", "value": "UTC"}]}]},
        worker_pod={"containers": [{"args": ["--password", SECRET, f"https://me:{SECRET}@example.org"]}]},
        annotations={"example.org/token": SECRET},
        image_pull_secrets=["login"],
        tolerations=[{"operator": "Exists"}],
        volumes=[{"name": "a", "secret": {"secretName": "a"}}],
    )
    text = said.model_dump_json()
    assert SECRET not in text
    assert "UTC" in text
    assert KubernetesOptions.model_validate_json(text).image_pull_secrets == ("login",)
    assert SECRET not in repr(said)


def test_every_option_is_described_and_has_a_schema():
    schema = KubernetesOptions.model_json_schema()
    for name, below in {"KubernetesOptions": schema, **schema["$defs"]}.items():
        for field, content in below.get("properties", {}).items():
            assert "description" in content or "$ref" in content, (name, field)
    assert set(field_docstrings(KubernetesOptions)) >= {"namespace", "pod", "volumes", "service_type"}
    json.dumps(schema)
