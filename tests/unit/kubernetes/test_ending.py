"""The end of a cluster: what still holds it is told, orphans are ended with proof, and whoever takes one over has it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterhub import ClusterhubError
from clusterhub_backends.kubernetes import ending
from clusterhub_backends.kubernetes.ending import HELD, WAITS, end_orphan, ended, stuck
from clusterhub_backends.kubernetes.manifest import STARTER_ANNOTATION
from clusterhub_backends.kubernetes.objects import CLUSTER
from clusterhub_backends.kubernetes.starter import ourselves

from .namespace import Namespace, dask_cluster

NOW = datetime(2026, 11, 26, 13, 0, tzinfo=UTC)
SINCE = "2026-11-26T12:50:00Z"
POD = {"metadata": {"name": "eddies-scheduler-1", "labels": {CLUSTER: "eddies"}}}


@pytest.fixture(scope="module")
def killed() -> str:
    """What a process has written that is gone."""
    code = "from clusterhub_backends.kubernetes.starter import ourselves; print(ourselves())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def held(*holders: str, since: str | None = SINCE) -> dict[str, Any]:
    return dask_cluster(deletionTimestamp=since, finalizers=list(holders))


# What is still there


async def test_it_has_ended_when_nothing_of_it_is_left_or_another_has_its_name():
    assert await ended(Namespace(), "eddies", "uid-eddies", 0) == ""  # type: ignore[arg-type]
    another = Namespace(daskclusters=[dask_cluster()], pods=[POD])
    assert await ended(another, "eddies", "an older one's", 0) == ""  # type: ignore[arg-type]


async def test_pods_that_do_not_end_are_named_with_what_shows_why():
    api = Namespace(daskclusters=[held(WAITS)], pods=[POD])
    told = await ended(api, "eddies", "uid-eddies", 0)  # type: ignore[arg-type]
    assert told == (
        "Kubernetes still ends 1 pod of it (eddies-scheduler-1);"
        " see: kubectl get pods -n ocean -l dask.org/cluster-name=eddies"
    )


async def test_an_operator_that_does_not_let_go_is_told_with_what_ends_it():
    told = await ended(Namespace(daskclusters=[held(HELD)]), "eddies", "uid-eddies", 0)  # type: ignore[arg-type]
    assert "until Dask's operator lets go of it" in told
    assert told.endswith("clusterhub gc")


# Proof that only the operator holds it


def test_what_has_waited_long_for_the_operator_alone_is_stuck():
    assert stuck(held(HELD), [], NOW).startswith("it was ended 10m ago, and only Dask's operator, which does not run,")
    assert stuck(held(HELD, WAITS), [held(HELD)], NOW)


@pytest.mark.parametrize(
    ("cluster", "scalers"),
    [
        (held(HELD, since=None), []),
        (held(HELD, since="2026-11-26T12:59:45Z"), []),
        (held(WAITS), []),
        (held(HELD, "example.org/backup"), []),
        (held(HELD), [dask_cluster(finalizers=[HELD])]),
        (held(HELD), [held(HELD, "example.org/backup")]),
    ],
    ids=["it lives", "it was ended just now", "Kubernetes still ends it", "somebody else holds it", "its autoscaler lives",
         "somebody else holds its autoscaler"],
)  # fmt: skip
def test_what_waits_for_anything_else_is_not(cluster, scalers):
    assert stuck(cluster, scalers, NOW) == ""


async def test_what_is_stuck_is_let_go_of_and_only_of_the_operator_s_hold():
    api = Namespace(daskclusters=[held(HELD)], daskautoscalers=[held(HELD)])
    assert await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert not api.things["daskclusters"]
    assert not api.things["daskautoscalers"]


async def test_while_a_pod_of_it_is_left_nobody_lets_go():
    api = Namespace(daskclusters=[held(HELD)], pods=[POD])
    assert not await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert api.things["daskclusters"][0]["metadata"]["finalizers"] == [HELD]


# Those whose starter was killed


async def test_one_whose_starter_is_gone_is_ended_with_its_secret(killed):
    secret = {"metadata": {"name": "eddies-clusterhub", "uid": "s", "ownerReferences": [{"uid": "uid-eddies"}]}}
    cluster = dask_cluster(annotations={STARTER_ANNOTATION: killed})
    api = Namespace(daskclusters=[cluster], pods=[POD], secrets=[secret])
    assert await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert api.deleted == ["daskclusters/eddies", "secrets/eddies-clusterhub"]


async def test_the_secret_of_another_of_its_name_stays(killed):
    secret = {"metadata": {"name": "eddies-clusterhub", "uid": "s", "ownerReferences": [{"uid": "another's"}]}}
    api = Namespace(daskclusters=[dask_cluster(annotations={STARTER_ANNOTATION: killed})], secrets=[secret])
    assert await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert api.deleted == ["daskclusters/eddies"]


@pytest.mark.parametrize("annotations", [{}, {STARTER_ANNOTATION: ourselves()}], ids=["a caretaker", "its starter"])
async def test_one_that_somebody_cares_for_is_left_alone(annotations):
    api = Namespace(daskclusters=[dask_cluster(annotations=annotations)])
    assert not await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert not await end_orphan(api, "no-such-cluster")  # type: ignore[arg-type]
    assert api.deleted == []


class TakenOver(Namespace):
    """Somebody else writes himself down after it was looked at."""

    async def delete(self, *asked: Any, **how: Any) -> bool:
        (cluster,) = self.things["daskclusters"]
        annotations = {STARTER_ANNOTATION: ourselves()}
        self.things["daskclusters"] = [dask_cluster(annotations=annotations, resourceVersion="2")]
        assert cluster["metadata"]["resourceVersion"] == how["version"]
        return await super().delete(*asked, **how)


async def test_whoever_takes_it_over_at_the_same_moment_has_it(killed):
    api = TakenOver(daskclusters=[dask_cluster(annotations={STARTER_ANNOTATION: killed})])
    assert not await end_orphan(api, "eddies")  # type: ignore[arg-type]
    assert api.deleted == []


class Restless(Namespace):
    """Something changes it all the time."""

    async def delete(self, *asked: Any, **how: Any) -> bool:
        (cluster,) = self.things["daskclusters"]
        cluster["metadata"]["resourceVersion"] += "0"
        return await super().delete(*asked, **how)


async def test_one_that_never_holds_still_is_left_alone_and_told(killed, monkeypatch):
    monkeypatch.setattr(ending, "LOOK", 0.001)
    api = Restless(daskclusters=[dask_cluster(annotations={STARTER_ANNOTATION: killed})])
    with pytest.raises(ClusterhubError, match="changed by others all the time, and was left alone; try again"):
        await end_orphan(api, "eddies")  # type: ignore[arg-type]
