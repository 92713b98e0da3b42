"""What ``ls`` tells of clusters on Kubernetes: what is known, by whom it is known; and what is not known is not told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusterhub import Sighting, Workers
from clusterhub_backends.kubernetes import sight
from clusterhub_backends.kubernetes.ending import HELD
from clusterhub_backends.kubernetes.manifest import PROFILE_ANNOTATION, STARTER_ANNOTATION, USER_LABEL
from clusterhub_backends.kubernetes.objects import CLUSTER, COMPONENT
from clusterhub_backends.kubernetes.starter import ourselves

from .namespace import Namespace, dask_cluster

OURS = {USER_LABEL: "ann"}
FARES = {"connected": 2, "idle_for": 60.0, "ends_in": 540.0}


@pytest.fixture(autouse=True)
def _ann(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "user", lambda: "ann")


def scheduler(ready: bool = True, name: str = "eddies") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    labels = {CLUSTER: name, COMPONENT: "scheduler"}
    return {"metadata": {"name": f"{name}-scheduler-1", "labels": labels}, "status": {"conditions": conditions}}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch):
    """What the caretaker tells, or None where nobody answers; yields the pods that were asked."""
    asked: list[str] = []

    def says(life: Mapping[str, Any] | None) -> list[str]:
        async def told(api: Any, client: Any, pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
            asked.append(pod["metadata"]["name"])
            return life

        monkeypatch.setattr(sight, "told", told)
        return asked

    return says


async def only(**things: Any) -> Sighting:
    (found,) = await sight.sightings(Namespace(**things))  # type: ignore[arg-type]
    return found


async def test_of_one_that_runs_its_caretaker_tells_how_it_fares(answering):
    answering(FARES)
    cluster = dask_cluster(labels=OURS, annotations={PROFILE_ANNOTATION: "cloud"})
    found = await only(daskclusters=[cluster], pods=[scheduler()])
    assert (found.state, found.reason, found.profile, found.connected) == ("running", "", "cloud", 2)
    assert found.target == Workers.exactly(2)
    now = datetime.now(UTC)
    assert found.idle_since is not None
    assert found.ends is not None
    assert timedelta(seconds=55) < now - found.idle_since < timedelta(seconds=90)
    assert timedelta(seconds=500) < found.ends - now < timedelta(seconds=545)


async def test_a_caretaker_that_does_not_answer_is_told_and_nothing_is_guessed(answering):
    answering(None)
    found = await only(daskclusters=[dask_cluster(labels=OURS)], pods=[scheduler()])
    assert (found.state, found.reason) == ("running", "its scheduler does not answer")
    assert (found.connected, found.idle_since, found.ends) == (None, None, None)


async def test_what_is_wanted_is_what_kubernetes_was_last_told(answering):
    answering(FARES)
    group = {"metadata": {"name": "eddies-default"}, "spec": {"worker": {"replicas": 7}}}
    scaler = {"metadata": {"name": "eddies"}, "spec": {"cluster": "eddies", "minimum": 1, "maximum": 9}}
    mine = {"daskclusters": [dask_cluster(labels=OURS)], "pods": [scheduler()], "daskworkergroups": [group]}
    assert (await only(**mine)).target == Workers.exactly(7)
    assert (await only(**mine, daskautoscalers=[scaler])).target == Workers(minimum=1, maximum=9)


async def test_one_made_without_clusterhub_is_told_as_such_and_nobody_else_s_is_told_at_all(answering):
    answering({})
    theirs = dask_cluster("theirs", labels={USER_LABEL: "bob"})
    found = await only(daskclusters=[dask_cluster(), theirs], pods=[scheduler()])
    assert (found.own_name, found.reason, found.connected) == ("eddies", "made without clusterhub", None)


async def test_one_that_starts_is_told_with_who_starts_it_and_its_caretaker_is_not_asked(answering):
    asked = answering(FARES)
    pid = json.loads(ourselves())["pid"]
    cluster = dask_cluster(labels=OURS, annotations={STARTER_ANNOTATION: ourselves()})
    found = await only(daskclusters=[cluster], pods=[scheduler(ready=False)])
    assert (found.state, found.orphaned) == ("starting", "")
    assert found.reason.startswith(f"process {pid} on ")
    assert asked == []


async def test_one_that_a_process_elsewhere_started_is_told_with_what_ends_it(answering):
    answering(FARES)
    starter = json.dumps({**json.loads(ourselves()), "host": "elsewhere"})
    cluster = dask_cluster(labels=OURS, annotations={STARTER_ANNOTATION: starter})
    found = await only(daskclusters=[cluster], pods=[scheduler(ready=False)])
    assert found.orphaned == "", "it cannot be proven from here"
    assert "on elsewhere starts it, or did: see there; clusterhub down eddies ends it" in found.reason


async def test_one_whose_scheduler_is_not_ready_says_so(answering):
    answering(FARES)
    found = await only(daskclusters=[dask_cluster(labels=OURS)], pods=[scheduler(ready=False)])
    assert (found.connected, found.reason) == (None, "its scheduler's pod is not ready")


@pytest.mark.parametrize(("pods", "proven"), [([], True), ([scheduler()], False)], ids=["no pod left", "a pod left"])
async def test_one_that_ends_is_an_orphan_where_only_the_operator_holds_it(answering, pods, proven):
    asked = answering(FARES)
    cluster = dask_cluster(labels=OURS, deletionTimestamp="2026-11-26T12:50:00Z", finalizers=[HELD])
    found = await only(daskclusters=[cluster], pods=pods)
    assert found.state == "ending"
    assert bool(found.orphaned) == proven
    assert asked == []


async def test_where_there_is_none_nothing_is_told():
    assert await sight.sightings(Namespace()) == ()  # type: ignore[arg-type]
