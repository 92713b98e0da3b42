"""Every way in which a pod does not come is told in our words, with the key that decides it, and raised in time or not at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub import UnitState, WorkersFailed
from clusterhub.backend.units import NEEDS_REASON
from clusterhub_backends.kubernetes.objects import amount, deployment_of
from clusterhub_backends.kubernetes.pods import MISSING_AFTER, cause_of, scheduler_standing, units_of

from .recorded import SAMPLES, Recorded

IMAGE = "ghcr.io/dask/dask:2026.8.0-py3.11"
AT_ONCE, IN_TIME, NEVER = "at once", "in half a minute", "never"
PENDING, FAILED, RUNNING, DONE = UnitState.PENDING, UnitState.FAILED, UnitState.RUNNING, UnitState.DONE
TOLD: dict[str, tuple[UnitState, str, str, str]] = {
    "healthy": (RUNNING, "its worker has not connected yet", NEVER, ""),
    "prepared": (RUNNING, "its worker has not connected yet", NEVER, ""),
    "silent": (RUNNING, "its worker has not connected yet", NEVER, ""),
    "ending": (DONE, "is ending", NEVER, ""),
    # No node
    "cpus": (PENDING, "needs 1000 cores, no node has so many", IN_TIME, "worker.cores"),
    "memory": (PENDING, "needs 900 TiB of memory, no node has so much", IN_TIME, "worker.memory"),
    "gpus": (PENDING, "needs 8 GPUs, no node has so many", IN_TIME, "worker.gpus"),
    "selector": (PENDING, "finds no node with the labels that it asks for", IN_TIME, "kubernetes.node_selector"),
    "affinity": (PENDING, "finds no node with the labels that it asks for", IN_TIME, "kubernetes.node_selector"),
    "tainted": (
        PENDING,
        "finds no node that takes it: they have taints that it does not tolerate",
        IN_TIME,
        "kubernetes.tolerations",
    ),
    "cordoned": (PENDING, "finds its nodes closed to new pods", IN_TIME, ""),
    "no-claim": (PENDING, "volume claim no-claim does not exist", IN_TIME, "kubernetes.volumes"),
    "preempting": (PENDING, "waits while pods of lower priority are ended for it on lab", NEVER, ""),
    # No image
    "pull-none": (
        PENDING,
        "image localhost:5000/no-such:1 cannot be pulled: there is none of that name",
        AT_ONCE,
        "kubernetes.image",
    ),
    "pull-private": (
        PENDING,
        "image localhost:5000/private:1 cannot be pulled: its registry wants to know who asks",
        AT_ONCE,
        "kubernetes.image",
    ),
    "pull-busy": (
        PENDING,
        "image localhost:5000/busy:1 cannot be pulled: its registry has served too many, and serves no more for now",
        IN_TIME,
        "kubernetes.image",
    ),
    "pull-host": (
        PENDING,
        "image registry.invalid/no-such-image:1 cannot be pulled: its registry cannot be reached from the node",
        IN_TIME,
        "kubernetes.image",
    ),
    "image-name": (
        PENDING,
        "image ghcr.io/Dask/DASK:1 cannot be meant: repository name (Dask/DASK) must be lowercase",
        AT_ONCE,
        "kubernetes.image",
    ),
    # Not what it was to be made of
    "no-secret-env": (
        PENDING,
        "is given variables from Secret nothing-here, which does not exist",
        IN_TIME,
        "kubernetes.pod",
    ),
    "no-secret-volume": (
        PENDING,
        "cannot be given volume v: Secret nothing-here does not exist",
        IN_TIME,
        "kubernetes.volumes",
    ),
    "no-account": (PENDING, "service account nobody-here does not exist", AT_ONCE, "kubernetes.service_account"),
    "no-priority": (PENDING, "priority class none-such does not exist", AT_ONCE, "kubernetes.priority_class"),
    "bounds": (
        PENDING,
        "is refused: in this namespace a container may have at most 500 MiB of memory, it asks for 600 MiB of memory",
        AT_ONCE,
        "worker.memory",
    ),
    "pod-security": (
        PENDING,
        "is refused: the namespace lets in only pods that are restricted",
        AT_ONCE,
        "kubernetes.pod",
    ),
    # Ended
    "crash": (FAILED, "ended with exit code 1, each time it is started", AT_ONCE, ""),
    "ends-well": (FAILED, "ended by itself, each time it is started", AT_ONCE, ""),
    "no-command": (FAILED, f"image {IMAGE} has no command dsk", AT_ONCE, "kubernetes.image"),
    "oom": (FAILED, "out of memory: it outgrew its 600 MiB", AT_ONCE, "worker.memory"),
    "unprepared": (
        FAILED,
        "container fetch: ended with exit code 1, each time it is started",
        AT_ONCE,
        "kubernetes.pod",
    ),
    "lost": (FAILED, "is on node lab, which does not answer any more", NEVER, ""),
}
"""For one worker that did not come: its state, why, when that is raised, and the key that decides it."""
OTHERS = {"busy", "preempted", "quota", "evicted", "lost-soon", "sched-pull"}
"""Samples of more than one pod, each with a test of its own."""


def test_every_sample_has_its_test() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == {*TOLD, *OTHERS}


@pytest.mark.parametrize("name", TOLD)
def test_a_pod_that_does_not_come_says_why(name: str) -> None:
    [unit] = Recorded.of(name).units(wanted=0)
    state, reason, _, _ = TOLD[name]
    assert (unit.state, unit.reason) == (state, reason)
    if state in (PENDING, FAILED) and name != "preempting":
        assert unit.source, "the system's own words are there as well"


@pytest.mark.parametrize("name", TOLD)
def test_a_cause_is_raised_at_once_or_when_it_had_half_a_minute_to_pass(name: str) -> None:
    sample = Recorded.of(name)
    _, reason, when, because = TOLD[name]
    cause, late = sample.cause(), sample.later(26).cause()
    assert (cause is not None, late is not None) == (when == AT_ONCE, when != NEVER)
    if late is not None:
        assert reason in late.summary
        assert late.because == because
        assert late.next_step
        assert "cannot start: " in str(WorkersFailed(late, cluster="eddies"))


@pytest.mark.parametrize("name", ["crash", "ends-well", "oom", "no-command"])
def test_what_ended_is_a_unit_with_its_failure_and_its_exit_code(name: str) -> None:
    [unit] = Recorded.of(name).units()
    assert unit.failure is not None
    assert unit.failure.unit == unit.name, "whose log belongs to it"
    assert unit.failure.exit_code == {"crash": 1, "ends-well": 0, "oom": 137, "no-command": 128}[name]


def test_what_has_not_begun_is_not_said_to_have_ended() -> None:
    cause = Recorded.of("cpus").later(26).cause()
    assert cause is not None
    assert "ended" not in str(WorkersFailed(cause, cluster="eddies"))


# Images, volumes


def test_an_image_that_is_backed_off_from_is_told_by_its_last_failure() -> None:
    sample = Recorded.of("pull-none")
    [container] = sample.pod["status"]["containerStatuses"]
    container["state"] = {
        "waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "localhost:5000/no-such:1"'}
    }
    [unit] = sample.units()
    assert unit.reason == TOLD["pull-none"][1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("pull access denied, may require authorization", "there is none of that name, or it is private"),
        ("no match for platform in manifest: not found", "there is none for the processors of its node"),
        ("write /var/lib/x: no space left on device", "the disk of its node is full"),
        ("net/http: TLS handshake timeout", ""),
    ],
)
def test_the_nodes_words_about_an_image_are_read(words: str, why: str) -> None:
    sample = Recorded.of("pull-none")
    [container] = sample.pod["status"]["containerStatuses"]
    container["state"]["waiting"]["message"] = f'failed to pull and unpack image "localhost:5000/no-such:1": {words}'
    [unit] = sample.units()
    assert unit.reason == "image localhost:5000/no-such:1 cannot be pulled" + (f": {why}" if why else "")


def test_a_large_image_is_waited_for() -> None:
    sample = Recorded.of("sched-pull")
    [unit] = sample.units()
    assert unit.reason == "waits while its image is being pulled"
    assert sample.later(600).cause() is None


def test_keys_that_are_gone_are_called_keys() -> None:
    sample = Recorded.of("no-secret-volume")
    for event in sample.events:
        event["message"] = event["message"].replace('volume "v"', 'volume "clusterhub-keys"')
    [unit] = sample.units()
    assert unit.reason == "is not given its keys: their Secret is gone"


# Namespaces


def test_a_quota_that_is_used_up_is_told_in_figures() -> None:
    sample = Recorded.of("quota")
    units = sample.units(wanted=3)
    assert [unit.state for unit in units] == [RUNNING, PENDING, PENDING]
    for unit in units[1:]:
        assert unit.reason == (
            "is over the quota team of the namespace: asks for 0.1 cores, 0.2 cores of 0.25 cores in use"
        )
    cause = sample.later(26).cause(wanted=3)
    assert cause is not None
    assert cause.because == "worker.cores"


def test_an_event_tells_of_a_quota_before_the_deployment_does() -> None:
    sample = Recorded.of("quota")
    for deployment in sample.deployments:
        deployment["status"]["conditions"] = []
    assert sum("over the quota team" in unit.reason for unit in sample.units(wanted=3)) == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("failed quota: team: must specify limits.cpu for: istio-proxy", "must say limits.cpu for: istio-proxy, which"),
        ('admission webhook "rules.example.org" denied the request: no centre', "(webhook rules.example.org): no centre"),
        ("ValidatingAdmissionPolicy 'small' with binding 'b' denied request: too large", "rules (policy small): too large"),
        ("maximum cpu usage per Pod is 2, but limit is 4", "a pod may have at most 2 cores, it asks for 4 cores"),
        ("minimum memory usage per Container is 1Gi, but request is 300Mi", "a container must ask for at least 1 GiB of memory"),
        ('Internal error occurred: failed calling webhook "x": connection refused', "a webhook of the cluster does not answer"),
        ("something nobody has heard of", "cannot be made"),
    ],
)  # fmt: skip
def test_refusals_of_pods_are_read(message: str, reason: str) -> None:
    sample = Recorded.of("bounds")
    for deployment in sample.deployments:
        deployment["status"]["conditions"][0]["message"] = f'pods "x-" is forbidden: {message}'
    [unit] = sample.units()
    assert reason in unit.reason
    assert message in unit.source


# Ends


def test_a_container_that_was_of_use_and_ended_is_started_again_and_no_failed_start() -> None:
    sample = Recorded.of("oom")
    [container] = sample.pod["status"]["containerStatuses"]
    container["state"]["terminated"]["startedAt"] = "2026-11-25T22:00:00Z"
    [unit] = sample.units(came={deployment_of(sample.pod)})
    assert (unit.state, unit.reason) == (UnitState.LOST, "out of memory: it outgrew its 600 MiB")
    assert sample.later(60).cause() is None


def test_an_evicted_pod_is_told_of_until_another_has_taken_its_place() -> None:
    sample = Recorded.of("evicted")
    gone, new = sample.units()
    assert (gone.state, gone.reason) == (FAILED, "was evicted for local storage: it used more than it may")
    assert new.state is RUNNING
    assert sample.cause() is None
    [name] = {deployment_of(pod) for pod in sample.pods}
    address = f"tls://{next(pod for pod in sample.pods if pod['metadata']['name'] == new.name)['status']['podIPs'][0]['ip']}:1"
    [unit] = sample.units({name: address})
    assert (unit.name, unit.state, unit.workers) == (new.name, UnitState.CONNECTED, (address,))


def test_pods_that_are_evicted_again_and_again_are_a_cause() -> None:
    sample = Recorded.of("evicted")
    evicted = next(pod for pod in sample.pods if pod["status"]["phase"] == "Failed")
    for number in range(2):
        another = copy.deepcopy(evicted)
        another["metadata"]["name"] += str(number)
        sample.pods.append(another)
    cause = sample.cause()
    assert cause is not None
    assert (cause.count, cause.because) == (3, "kubernetes.pod")


def test_a_pod_that_others_displaced_says_so() -> None:
    units = Recorded.of("preempted").units(wanted=2)
    assert "was ended for pods of higher priority" in [unit.reason for unit in units]


def test_a_pod_that_leaves_a_lost_node_says_so_and_its_successor_waits() -> None:
    reasons = [unit.reason for unit in Recorded.of("lost-soon").units()]
    assert "was sent away from its node, which is not well or is being emptied" in reasons
    assert len(reasons) == 2


@pytest.mark.parametrize("came", [False, True])
def test_a_pod_that_runs_and_whose_worker_is_not_to_be_seen_is_missing_after_a_minute_or_lost(came: bool) -> None:
    sample = Recorded.of("silent").later(MISSING_AFTER)
    who = {deployment_of(sample.pod)} if came else set()
    [unit] = sample.units(came=who)
    assert unit.state is (UnitState.LOST if came else UnitState.MISSING)
    cause = sample.cause(came=who)
    assert (cause is None) == came
    if cause is not None:
        assert cause.summary == "one runs, but its worker never came"
        assert cause.unit == unit.name


# All of them


def test_a_worker_is_found_by_the_name_of_its_deployment_also_where_that_of_its_pod_is_cut() -> None:
    name = f"{'x' * 34}-default-worker-0123456789"
    pod = {
        "metadata": {
            "name": f"{name}-5d874b4c88"[:58] + "abcde",
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{name}-5d874b4c88"}],
        }
    }
    assert deployment_of(pod) == name
    assert deployment_of({"metadata": {"name": "a-default-worker-0-5d874b4c88-abcde"}}) == "a-default-worker-0"


def test_connected_workers_are_units_with_their_address_and_their_node() -> None:
    sample = Recorded.of("healthy")
    name = deployment_of(sample.pod)
    [unit] = sample.units({name: "tls://198.18.100.9:1234"}, stays={name: "has results of its own"})
    assert (unit.state, unit.where, unit.workers) == (UnitState.CONNECTED, "lab", ("tls://198.18.100.9:1234",))
    assert unit.reason == "has results of its own"


def test_workers_that_the_operator_has_not_made_are_units_too() -> None:
    units = Recorded.of("healthy").units(wanted=3)
    assert [unit.reason for unit in units[1:]] == ["Dask's operator has not made it yet"] * 2


def test_where_all_are_connected_there_is_no_cause() -> None:
    sample = Recorded.of("crash")
    assert sample.cause() is not None
    assert sample.cause({"another": "tls://10.0.0.1:1"}, wanted=1) is None


@pytest.mark.parametrize(
    ("name", "summary", "because"),
    [
        ("sched-pull", "the scheduler's pod: image localhost:5000/no-such:1 cannot be pulled: there is", "kubernetes.image"),
        ("bounds", "the scheduler's pod is refused: in this namespace", "kubernetes.scheduler"),
        ("pod-security", "the scheduler's pod is refused: the namespace lets in", "kubernetes.pod"),
    ],
)  # fmt: skip
def test_the_scheduler_is_judged_by_the_same_rules(name: str, summary: str, because: str) -> None:
    failure = Recorded.of(name).scheduler()
    assert failure is not None
    assert failure.summary.startswith(summary)
    assert failure.because == because


def test_a_scheduler_that_comes_up_has_no_trouble() -> None:
    sample = Recorded.of("healthy")
    assert sample.later(600).scheduler() is None
    assert scheduler_standing(sample.pods, sample.deployments, sample.events, sample.now) == ""
    assert scheduler_standing([], [], [], sample.now) == "its pod has not been made yet"
    pulls = Recorded.of("sched-pull")
    standing = scheduler_standing(pulls.pods, pulls.deployments, pulls.events, pulls.now)
    assert standing == "its pod: image localhost:5000/no-such:1 cannot be pulled: there is none of that name, for 7s"


# Anything


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", 0.1), ("2", 2), ("1.5", 1.5), ("300Mi", 300 * 2**20), ("1k", 1000), ("1e3", 1000), ("5E", 5e18), (4, 4)],
)
def test_quantities_of_kubernetes_are_numbers(text: object, number: float) -> None:
    assert amount(text) == pytest.approx(number)


class Counted(list[Any]):
    """A list that knows how often it was read from its start."""

    read = 0

    def __iter__(self) -> Any:
        self.read += 1
        return super().__iter__()


def test_however_many_pods_wait_the_events_are_gone_through_once_for_all() -> None:
    """A thousand workers that wait for nodes have some thousands of events."""
    sample = Recorded.of("cpus")
    pod, event = sample.pod, sample.events[0]
    pods, events = [], Counted()
    for number in range(200):
        metadata = pod["metadata"] | {"uid": str(number), "name": f"{pod['metadata']['name']}{number}"}
        pods.append({**pod, "metadata": metadata})
        events.append({**event, "involvedObject": {"uid": str(number)}})
    told = units_of(pods, [], events, {}, 1, sample.now)
    assert (len(told), events.read) == (200, 1)
    cause_of(pods, [], events, {}, len(pods), sample.now)
    assert events.read == 2


def _thinned(value: Any, draw: Any) -> Any:
    """The value with some of its parts missing."""
    if isinstance(value, dict):
        return {key: _thinned(below, draw) for key, below in value.items() if draw(st.integers(0, 9)) > 0}
    if isinstance(value, list):
        return [_thinned(below, draw) for below in value]
    return value


@given(st.data(), st.sampled_from(sorted([*TOLD, *OTHERS])))
def test_whatever_is_missing_of_what_kubernetes_tells_units_have_their_reasons(data: st.DataObject, name: str) -> None:
    sample = Recorded.of(name)
    for thing in (*sample.pods, *sample.deployments):
        for part in ("status", "spec"):
            if part in thing:
                thing[part] = _thinned(thing[part], data.draw)
    for event in sample.events:
        event |= _thinned({key: event.pop(key) for key in list(event) if key != "involvedObject"}, data.draw)
    for unit in sample.later(data.draw(st.sampled_from([0, 26, 600]))).units(wanted=3):
        assert unit.reason or unit.state not in NEEDS_REASON
    sample.cause(wanted=3)
    sample.scheduler()
