"""Why no node takes a pod is told in our words, and raised where waiting does not help."""

from __future__ import annotations

import pytest

from clusterhub import UnitState
from clusterhub_backends.kubernetes.objects import deployment_of
from clusterhub_backends.kubernetes.scheduling import SCALE_UP_PATIENCE

from .recorded import Recorded


def test_a_node_that_is_ordered_is_waited_for() -> None:
    sample = Recorded.of("cpus")
    sample.says("TriggeredScaleUp", "pod triggered scale-up: [{pool 1->2 (max: 5)}]")
    [unit] = sample.units()
    assert unit.reason == "needs 1000 cores, no node has so many; the cluster is adding a node"
    assert "1->2" in unit.source
    assert sample.later(120).cause() is None
    assert sample.later(SCALE_UP_PATIENCE).cause() is not None, "it never came"


def test_an_autoscaler_that_takes_its_order_back_is_not_waited_for() -> None:
    sample = Recorded.of("cpus")
    sample.says("TriggeredScaleUp", ago=20)
    sample.says("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", ago=5)
    assert sample.later(26).cause() is not None


def one_waits(message: str) -> tuple[Recorded, dict[str, str]]:
    """A cluster of two, of which one runs and has connected, and the other waits for these reasons."""
    sample = Recorded.of("busy")
    pending, running = sorted(sample.units(wanted=2), key=lambda unit: unit.state)
    pods = {each["metadata"]["name"]: each for each in sample.pods}
    pods[pending.name]["status"]["conditions"][0]["message"] = message
    return sample, {deployment_of(pods[running.name]): "tls://10.0.0.1:1"}


def recorded(name: str) -> str:
    """The scheduler's sentence in that sample."""
    return str(Recorded.of(name).pod["status"]["conditions"][0]["message"])


@pytest.mark.parametrize(
    "message",
    [
        recorded("tainted"),
        recorded("cordoned"),
        "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
        "0/3 nodes are available: 3 Too many pods.",
        "no nodes available to schedule pods",
    ],
)
def test_nodes_that_take_nothing_for_a_while_fail_nobody_who_has_workers(message: str) -> None:
    """After an outage of the API server they are tainted until they have been heard of for a minute."""
    sample, workers = one_waits(message)
    assert sample.later(26).cause(wanted=2) is not None
    assert sample.later(120).cause(workers, wanted=2) is None


def test_a_taint_that_is_named_and_is_somebodys_own_is_a_cause_whoever_runs() -> None:
    sample, workers = one_waits("0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}.")
    cause = sample.later(26).cause(workers, wanted=2)
    assert cause is not None
    assert cause.because == "kubernetes.tolerations"


def test_a_busy_cluster_fails_nobody_who_has_workers() -> None:
    sample = Recorded.of("busy")
    pending, running = sorted(sample.units(wanted=2), key=lambda unit: unit.state)
    assert pending.reason == "needs 9 cores, no node has them free"
    assert running.state is UnitState.RUNNING
    assert sample.later(26).cause(wanted=2) is not None
    [name] = [deployment_of(pod) for pod in sample.pods if pod["metadata"]["name"] == running.name]
    assert sample.later(26).cause({name: "tls://10.0.0.1:1"}, wanted=2) is None


@pytest.mark.parametrize(
    ("message", "reason", "because"),
    [
        (
            "0/5 nodes are available: 2 Insufficient memory, 3 node(s) had untolerated taint {dedicated: gpu}. preemption: 0/5"
            " nodes are available: 2 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling.",
            "needs 300 MiB of memory, no node has it free",
            "worker.memory",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.",
            "needs 0.1 cores and 300 MiB of memory, no node has them free",
            "worker.cores",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}. preemption: …",
            "finds no node that takes it: they are kept for others, by the taint dedicated: gpu",
            "kubernetes.tolerations",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            "finds its nodes not ready",
            "",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.",
            "finds no node with the labels that it asks for",
            "kubernetes.node_selector",
        ),
        ("0/3 nodes are available: 3 Too many pods.", "finds every node full: they have as many pods as they may", ""),
        ("no nodes available to schedule pods", "finds no node at all: the cluster has none", ""),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "its volume claims have no volume yet",
            "kubernetes.volumes",
        ),
        ("0/3 nodes are available: 3 gizmo(s) were upset.", "finds no node that takes it", "kubernetes.pod"),
    ],
)
def test_the_schedulers_sentence_is_read(message: str, reason: str, because: str) -> None:
    sample = Recorded.of("oom")
    sample.pod["spec"].pop("nodeName")
    sample.pod["status"] = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastTransitionTime": sample.now.isoformat(),
            }
        ],
    }
    [unit] = sample.units()
    assert (unit.state, unit.reason, unit.source) == (UnitState.PENDING, reason, message)
    cause = sample.later(26).cause()
    assert cause is not None
    assert cause.because == because


def test_a_pod_that_a_queue_holds_back_waits_for_ever() -> None:
    sample = Recorded.of("cpus")
    [condition] = sample.pod["status"]["conditions"]
    condition |= {"reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}
    [unit] = sample.units()
    assert unit.reason.startswith("is held back")
    assert sample.later(3600).cause() is None
