"""Overlays: what kubectl patch would do with them, as far as people meet it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clusterhub_backends.kubernetes.overlay import KEYS, SCHEDULER, WORKER, identity, laid_over

POD: dict[str, Any] = {
    "containers": [
        {
            "name": "worker",
            "image": "dask",
            "args": ["dask", "worker"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
            "ports": [{"name": "dns", "containerPort": 53}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        }
    ],
    "volumes": [{"name": "keys", "secret": {"secretName": "eddies", "defaultMode": 256}}],
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "login"}],
    "terminationGracePeriodSeconds": 5,
}


def over(overlay: Any, pod: Any = POD, ours: str = WORKER) -> dict[str, Any]:
    return laid_over(pod, overlay, ours)


def ours(overlay: Any) -> dict[str, Any]:
    """What becomes of Dask's own container."""
    [container] = over({"containers": [overlay]})["containers"]
    return container


# By their names


def test_a_container_without_a_name_is_ours():
    assert ours({"image": "mine"}) == {**POD["containers"][0], "image": "mine"}
    assert ours({"name": "worker", "image": "mine"})["image"] == "mine"


def test_a_container_of_the_other_kind_of_pod_is_left_out():
    overlay = {"containers": [{"name": "scheduler", "image": "mine"}]}
    assert over(overlay) == POD
    scheduler = {"containers": [{"name": "scheduler", "image": "dask"}]}
    assert over(overlay, scheduler, SCHEDULER)["containers"] == [{"name": "scheduler", "image": "mine"}]


def test_a_container_of_another_name_comes_after_ours():
    sidecar = {"name": "proxy", "image": "proxy"}
    assert over({"containers": [sidecar]})["containers"] == [*POD["containers"], sidecar]


def test_variables_are_told_apart_by_name():
    assert ours({"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]})["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": "4"},
    ]


def test_a_variable_from_elsewhere_takes_the_place_of_its_value():
    """Both together Kubernetes would refuse."""
    field = {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    assert ours({"env": [field]})["env"][0] == field


def test_a_volume_of_another_kind_takes_the_place_of_the_one_of_its_name():
    assert over({"volumes": [{"name": "keys", "emptyDir": {}}]})["volumes"] == [{"name": "keys", "emptyDir": {}}]
    same = {"name": "keys", "secret": {"defaultMode": 288}}
    [merged] = over({"volumes": [same]})["volumes"]
    assert merged == {"name": "keys", "secret": {"secretName": "eddies", "defaultMode": 288}}


def test_mounts_are_told_apart_by_where_they_are():
    mounts = ours({"volumeMounts": [{"mountPath": "/keys", "readOnly": False}, {"mountPath": "/d", "name": "d"}]})
    assert mounts["volumeMounts"] == [
        {"name": "keys", "mountPath": "/keys", "readOnly": False},
        {"mountPath": "/d", "name": "d"},
    ]


def test_one_port_may_be_open_for_two_protocols():
    ports = ours({"ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "name": "x"}]})["ports"]
    assert ports == [{"name": "x", "containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]


def test_pull_secrets_are_added_once():
    secrets = over({"imagePullSecrets": [{"name": "login"}, {"name": "other"}]})["imagePullSecrets"]
    assert secrets == [{"name": "login"}, {"name": "other"}]


def test_tolerations_are_added_once():
    other = {"key": "b", "operator": "Exists"}
    merged = over({"tolerations": [*POD["tolerations"], other, other]})
    assert merged["tolerations"] == [*POD["tolerations"], other]


# Maps, lists, null


def test_tables_merge_at_any_depth():
    limits = ours({"resources": {"limits": {"memory": "2Gi", "nvidia.com/gpu": "1"}}})["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"}


def test_other_lists_replace():
    assert ours({"args": ["sleep"]})["args"] == ["sleep"]


def test_null_takes_something_out():
    assert "resources" not in ours({"resources": None})
    assert ours({"resources": {"limits": {"cpu": None}}})["resources"] == {"limits": {"memory": "1Gi"}}
    assert "terminationGracePeriodSeconds" not in over({"terminationGracePeriodSeconds": None})
    assert over({"nodeName": None}) == POD


def test_an_item_can_be_taken_out():
    assert ours({"env": [{"name": "A", "$patch": "delete"}]})["env"] == [{"name": "B", "value": "2"}]
    assert over({"volumes": [{"name": "none", "$patch": "delete"}]}) == POD


# Anything

NAMES = st.sampled_from(["a", "b", "c"])
PORTS = st.fixed_dictionaries(
    {"containerPort": st.sampled_from([53, 80])}, optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": NAMES}
)
SCALARS = st.sampled_from(["x", "y", 1, True])
TABLES = st.recursive(
    st.dictionaries(NAMES, st.none() | SCALARS, max_size=2),
    lambda below: st.dictionaries(NAMES, st.none() | SCALARS | below, max_size=2),
    max_leaves=4,
)
DELETED = {"$patch": st.just("delete")}
ENV = st.fixed_dictionaries({"name": NAMES}, optional={"value": SCALARS, "valueFrom": TABLES, **DELETED})
VOLUMES = st.fixed_dictionaries({"name": NAMES}, optional={"emptyDir": TABLES, "secret": TABLES, **DELETED})
MOUNTS = st.fixed_dictionaries({"mountPath": NAMES}, optional={"name": NAMES, "readOnly": st.booleans(), **DELETED})


def lists(items: Any) -> Any:
    return st.lists(items, max_size=3)


CONTAINERS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["scheduler", "worker", "proxy"]),
        "args": lists(SCALARS),
        "env": lists(ENV) | st.none(),
        "volumeMounts": lists(MOUNTS),
        "ports": lists(PORTS),
        "resources": TABLES | st.none(),
        **DELETED,
    },
)
OVERLAYS = st.fixed_dictionaries(
    {},
    optional={
        "containers": lists(CONTAINERS),
        "volumes": lists(VOLUMES),
        "tolerations": lists(TABLES),
        "securityContext": TABLES,
        "nodeName": SCALARS | st.none(),
    },
)
COMPONENTS = st.sampled_from([SCHEDULER, WORKER])


@given(OVERLAYS, COMPONENTS)
def test_laying_nothing_over_a_pod_changes_nothing(first: Any, component: str):
    pod = over(first, POD, component)
    assert over({}, pod, component) == pod
    assert over({"containers": []}, pod, component) == pod


@given(OVERLAYS, COMPONENTS)
def test_laying_the_same_over_it_again_changes_nothing(overlay: Any, component: str):
    """But for an overlay that deletes what it adds: there the order of its entries may change."""
    assume(not any("$patch" in str(overlay.get(key)) and overlay.get(key) for key in overlay))
    once = over(overlay, POD, component)
    assert over(overlay, once, component) == once


@given(OVERLAYS, COMPONENTS)
def test_neither_the_pod_nor_the_overlay_is_changed(overlay: Any, component: str):
    pod, before = copy.deepcopy(POD), copy.deepcopy(overlay)
    over(overlay, pod, component)
    assert (pod, overlay) == (POD, before)


@given(OVERLAYS, COMPONENTS)
def test_nothing_is_there_twice(overlay: Any, component: str):
    def check(value: Any) -> None:
        for key, below in value.items() if isinstance(value, dict) else ():
            if key in KEYS and isinstance(below, list):
                found = [identity(key, item) for item in below]
                assert len(set(found)) == len(found), key
            for each in below if isinstance(below, list) else [below]:
                check(each)

    check(over(overlay, POD, component))


@pytest.mark.parametrize("field", sorted(KEYS))
def test_a_list_that_was_not_there_is_made(field: str):
    assert over({field: [{KEYS[field]: "new"}]}, {})[field] == [{KEYS[field]: "new"}]
