"""What is sent to Kubernetes: what every word of a profile becomes, what is refused, and where secrets are."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

import clusterhub_backends.kubernetes.manifest as manifest
from clusterhub import ClusterSpec, ConfigError, Plan
from clusterhub.backend import Leaf
from clusterhub.profile.secrets import HIDDEN
from clusterhub_backends.kubernetes import template
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.unsupported import refused

SECRET = "hunter2xyz"
WHO = {"uid": "0123", "user": "ann"}


def spec(**said: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"backend": "kubernetes", "workers": 2, **said})


def cluster(
    options: Any = None, name: str = "eddies", plan: str = "", secret: str | None = "eddies-clusterhub", **said: Any
) -> Any:
    return manifest.cluster_manifest(
        name, spec(**said), KubernetesOptions.model_validate(options or {}), **WHO,
        profile="cloud", named=True, kept=False, secret=secret, plan=plan,
    )  # fmt: skip


def pod(component: str, options: Any = None, **said: Any) -> Any:
    return cluster(options, **said)["spec"][component]["spec"]


def container(component: str, options: Any = None, **said: Any) -> Any:
    return pod(component, options, **said)["containers"][0]


def variables(component: str, options: Any = None, **said: Any) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in container(component, options, **said).get("env", ())}


def refusals(options: Any = None, **said: Any) -> dict[str, str]:
    return dict(refused(spec(**said), KubernetesOptions.model_validate(options or {})))


# Who is who


def test_everything_of_a_cluster_is_found_by_its_labels():
    told = {"clusterhub/cluster": "eddies", "clusterhub/user": "ann", "clusterhub/uid": "0123"}
    made = cluster({"labels": {"team": "ocean"}})
    assert made["metadata"]["labels"] == {
        **told, "clusterhub/named": "true", "clusterhub/kept": "false", "team": "ocean",
    }  # fmt: skip
    secret = manifest.secret_manifest("eddies", **WHO, ca="c", cert="c", key="k", variables={})
    assert secret["metadata"]["labels"] == told


def test_the_plan_stays_with_the_cluster_and_does_not_reach_its_pods():
    made = cluster(plan='{"a": 1}')
    assert made["metadata"]["annotations"]["clusterhub/plan"] == '{"a": 1}'
    for component in ("scheduler", "worker"):
        assert made["spec"][component]["metadata"]["annotations"] == {"clusterhub/plan": ""}


def test_annotations_reach_pods_also_where_the_operator_leaves_them_out():
    said = {"kubectl.kubernetes.io/default-container": "worker"}
    assert cluster({"annotations": said})["spec"]["worker"]["metadata"]["annotations"] == said


@pytest.mark.parametrize("name", ["a", "eddies", "e-2", "a" * 40])
def test_names_of_ours_that_can_be_names_there(name: str):
    assert cluster(name=name)["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["2i2c", "1", "a" * 54])
def test_a_name_that_no_service_can_have_is_refused(name: str):
    with pytest.raises(ConfigError, match="begin with a letter"):
        cluster(name=name)


@pytest.mark.parametrize("name", ["a" * 40, "a" * 53])
def test_the_operator_takes_what_we_take(name: str):
    validation = pytest.importorskip("dask_kubernetes.operator.validation")
    manifest.check_name(name)
    validation.validate_cluster_name(name)


def test_the_namespace_is_the_contexts_unless_it_is_said():
    assert "namespace" not in cluster()["metadata"]
    assert cluster({"namespace": "ocean"})["metadata"]["namespace"] == "ocean"


# How many, how large, how long


def test_a_range_starts_with_its_fewest():
    assert cluster(workers={"minimum": 1, "maximum": 9})["spec"]["worker"]["replicas"] == 1
    assert cluster(workers=7)["spec"]["worker"]["replicas"] == 7


def test_the_pod_has_room_for_the_nanny_beside_its_worker():
    worker = container("worker", worker={"cores": 4, "memory": "16 GiB"})
    assert worker["resources"]["limits"] == {"cpu": "4", "memory": f"{16 * 1024 + 96}Mi"}
    assert worker["args"][worker["args"].index("--memory-limit") + 1] == str(16 * 2**30)
    assert template.footprint(spec(worker={"memory": "16 GiB"})).worker_memory == 16 * 2**30


def test_what_is_reserved_is_what_may_be_used_unless_it_is_said():
    resources = container("worker", worker={"gpus": 2})["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["nvidia.com/gpu"] == "2"
    said = {"requests": {"cores": 0.25, "memory": "1 GiB"}}
    requests = container("worker", said, worker={"gpus": 2})["resources"]["requests"]
    assert requests == {"cpu": "250m", "memory": "1Gi", "nvidia.com/gpu": "2"}


def test_no_more_can_be_reserved_than_used():
    told = refusals({"requests": {"cores": 2, "memory": "5 GiB"}}, worker={"cores": 1, "memory": "4 GiB"})
    assert told["kubernetes.requests.cores"] == "2 is more than worker.cores, which is 1"
    assert "4.09 GiB" in told["kubernetes.requests.memory"]
    assert not refusals({"requests": {"cores": 1, "memory": "4 GiB"}}, worker={"cores": 1, "memory": "4 GiB"})


@pytest.mark.parametrize(("cores", "text"), [(4, "4"), (0.5, "500m"), (1.5, "1500m"), (0.1, "100m"), (0.0001, "1m")])
def test_cores_as_kubernetes_counts_them(cores: float, text: str):
    assert template.cpu(cores) == text


@given(st.integers(1, 2**60))
def test_memory_is_told_exactly(size: int):
    text = template.amount(size)
    factor = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}.get(text[-2:], 1)
    assert int(text.rstrip("KMGi")) * factor == size


def test_a_scheduler_has_a_size_of_its_own():
    size = {"cpu": "2", "memory": "4Gi"}
    said = {"scheduler": {"cores": 2, "memory": "4 GiB"}}
    assert container("scheduler", said)["resources"] == {"limits": size, "requests": size}


@pytest.mark.parametrize(("said", "seconds"), [("30m", 1800), ("0.5s", 1), ("never", 10 * 365 * 86400)])
def test_the_operator_always_asks_whether_the_cluster_is_idle(said: str, seconds: int):
    assert cluster(lifecycle={"idle_timeout": said})["spec"]["idleTimeout"] == seconds


# What runs


def test_dask_is_started_by_its_own_command_below_the_images_entrypoint():
    scheduler, worker = container("scheduler"), container("worker", worker={"cores": 2, "threads": 3})
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert worker["args"][:6] == ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "3"]
    assert "command" not in scheduler
    assert "command" not in worker


def test_another_python_runs_both():
    for component in ("scheduler", "worker"):
        args = container(component, environment={"python": "/srv/conda/bin/python"})["args"]
        assert args[:4] == ["/srv/conda/bin/python", "-m", "dask", component]


def test_the_image_is_dasks_own_of_the_versions_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(template, "version", lambda name: "2026.8.1+12.gdeadbee")
    expected = f"ghcr.io/dask/dask:2026.8.1-py{sys.version_info.major}.{sys.version_info.minor}"
    assert container("worker")["image"] == container("scheduler")["image"] == expected
    assert container("worker", {"image": "mine:1"})["image"] == "mine:1"


def test_what_workers_serve_by_http_is_for_their_own_pod():
    args = container("worker")["args"]
    assert args[args.index("--dashboard-address") + 1] == "127.0.0.1:0"


def test_the_operator_and_kubelets_find_the_scheduler_by_its_ports():
    ports = {port["name"]: port["containerPort"] for port in container("scheduler")["ports"]}
    service = cluster()["spec"]["scheduler"]["service"]
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    assert {port["name"]: port["port"] for port in service["ports"]} == ports
    assert "livenessProbe" not in container("scheduler")


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_outside_there_is_dasks_port_alone_which_asks_for_the_keys(kind):
    options = {"service_type": kind, "annotations": {"cloud.example.org/kind": "internal"}, "labels": {"team": "ocean"}}
    inside = cluster(options)["spec"]["scheduler"]["service"]
    outside = manifest.outside_manifest("eddies", KubernetesOptions.model_validate(options), **WHO, owner="77")
    assert inside["type"] == "ClusterIP"
    assert outside is not None
    assert (outside["spec"]["type"], [port["port"] for port in outside["spec"]["ports"]]) == (kind, [8786])
    assert outside["spec"]["selector"] == inside["selector"]
    assert outside["metadata"]["annotations"] == {"cloud.example.org/kind": "internal"}
    assert outside["metadata"]["labels"]["team"] == "ocean"
    assert [owner["uid"] for owner in outside["metadata"]["ownerReferences"]] == ["77"]


def test_where_nothing_is_shown_outside_there_is_no_such_service():
    assert manifest.outside_manifest("eddies", KubernetesOptions(), **WHO) is None


def test_who_starts_it_is_on_the_cluster_and_not_on_its_pods():
    """The operator copies annotations to all that it makes."""
    made = manifest.cluster_manifest(
        "eddies", spec(), KubernetesOptions(), **WHO, profile="cloud", named=True, kept=False, secret="s", starter="me"
    )
    assert made["metadata"]["annotations"]["clusterhub/starter"] == "me"
    on_pods = [made["spec"][component]["metadata"]["annotations"] for component in ("scheduler", "worker")]
    assert on_pods == [{"clusterhub/starter": ""}] * 2
    assert "clusterhub/starter" not in cluster()["metadata"]["annotations"]


def test_directory_and_scratch_are_places_in_the_container():
    said = {"environment": {"directory": "/work"}, "storage": {"scratch": "/scratch"}}
    worker = pod("worker", **said)
    [dask] = worker["containers"]
    assert dask["workingDir"] == "/work"
    assert dask["args"][-2:] == ["--local-directory", "/scratch"]
    assert {"name": "clusterhub-scratch", "emptyDir": {}} in worker["volumes"]
    assert {"name": "clusterhub-scratch", "mountPath": "/scratch"} in dask["volumeMounts"]


def test_scratch_on_a_volume_needs_no_other():
    said = {"volumes": [{"name": "ssd", "hostPath": {"path": "/ssd"}}]}
    mounted = {**said, "volume_mounts": [{"name": "ssd", "mountPath": "/mnt/ssd"}]}
    inside = pod("worker", mounted, storage={"scratch": "/mnt/ssd/dask"})
    beside = pod("worker", mounted, storage={"scratch": "/mnt/ssd2"})
    assert [volume["name"] for volume in inside["volumes"]] == ["ssd", "clusterhub-keys"]
    assert [volume["name"] for volume in beside["volumes"]] == ["ssd", "clusterhub-scratch", "clusterhub-keys"]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"environment": {"setup": ["module load conda"]}}, "environment.setup"),
        ({"environment": {"python": "$CONDA/bin/python"}}, "environment.python"),
        ({"environment": {"python": "bin/python"}}, "environment.python"),
        ({"environment": {"directory": "~/work"}}, "environment.directory"),
        ({"environment": {"directory": "."}}, "environment.directory"),
        ({"storage": {"scratch": "$TMPDIR"}}, "storage.scratch"),
        ({"storage": {"scratch": "/a:b"}}, "storage.scratch"),
        (
            {"environment": {"variables": {"DASK_SCHEDULER_ADDRESS": "x"}}},
            "environment.variables.DASK_SCHEDULER_ADDRESS",
        ),
        (
            {"environment": {"variables": {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "x"}}},
            "environment.variables.DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(said: Any, key: str):
    assert list(refusals(**said)) == [key]


def test_what_can_be_honoured_is_not_refused():
    said = {
        "environment": {"python": "python3.12", "directory": "/work", "variables": {"A": "1"}},
        "storage": {"scratch": "/scratch"},
    }
    assert refusals(**said) == {}


def test_a_variable_arrives_as_it_was_written():
    """Kubernetes puts variables in for ``$(NAME)``, and reads ``$$`` as ``$``."""
    said = {"PLAIN": "a$b", "TAKEN": "$(HOME)", "TWICE": "a$$b", "NUMBER": 3}
    told = variables("worker", environment={"variables": said})
    assert (told["PLAIN"], told["TAKEN"], told["TWICE"]) == ("a$b", "$$(HOME)", "a$$$$b")
    assert told["NUMBER"] == "3"


@given(st.text("$()A", max_size=8))
def test_any_variable_arrives_as_it_was_written(value: str):
    assert expanded(template._escaped(value), {"A": "other"}) == value
    assert template._unescaped(template._escaped(value)) == value


def expanded(text: str, known: dict[str, str]) -> str:
    """As Kubernetes' third_party/forked/golang/expansion does it."""
    result, at = "", 0
    while at < len(text):
        if text[at] == "$" and at + 1 < len(text):
            following = text[at + 1]
            if following == "$":
                result, at = result + "$", at + 2
                continue
            if following == "(" and (end := text.find(")", at)) > 0:
                name = text[at + 2 : end]
                result, at = result + known.get(name, f"$({name})"), end + 1
                continue
        result, at = result + text[at], at + 1
    return result


# Keys


def test_a_cluster_is_encrypted_unless_that_is_refused():
    for said in ({}, {"network": {"tls": True}}):
        assert variables("worker", **said)["DASK_SCHEDULER_ADDRESS"] == "tls://eddies-scheduler:8786"
        for component in ("scheduler", "worker"):
            told = variables(component, **said)
            assert told["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
            assert told["DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__KEY"] == "/etc/clusterhub/keys/key.pem"
    scheduler = container("scheduler")["args"]
    assert scheduler[scheduler.index("--protocol") + 1] == "tls"


def test_an_open_cluster_has_no_keys():
    made = cluster(network={"tls": False}, secret=None)
    assert "TLS" not in json.dumps(made)
    assert "secret" not in json.dumps(made)
    assert "tcp://eddies-scheduler:8786" in json.dumps(made)
    assert not manifest.needs_secret(spec(network={"tls": False}), KubernetesOptions())


def test_keys_are_mounted_where_any_user_of_the_image_can_read_them():
    [volume] = pod("scheduler")["volumes"]
    assert volume["secret"]["secretName"] == "eddies-clusterhub"
    assert volume["secret"]["defaultMode"] == 0o444
    assert [item["path"] for item in volume["secret"]["items"]] == ["ca.pem", "cert.pem", "key.pem"]


def test_an_encrypted_cluster_without_a_secret_is_a_mistake():
    with pytest.raises(ValueError, match="needs a Secret"):
        cluster(secret=None)


def test_the_secret_goes_with_the_cluster_that_owns_it():
    made = manifest.secret_manifest("eddies", **WHO, ca="c", cert="d", key="k", variables={"x": "y"}, owner="77")
    assert made["stringData"] == {"ca.pem": "c", "cert.pem": "d", "key.pem": "k", "x": "y"}
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("DaskCluster", "eddies", "77")


# Secrets

SECRETS: dict[str, Any] = {
    "environment": {"variables": {"API_TOKEN": SECRET, "DB": f"postgres://me:{SECRET}@db/x", "TZ": "UTC"}},
}
OVERLAYS: dict[str, Any] = {
    "pod": {"containers": [{"env": [{"name": "S3_SECRET_KEY", "value": f"$${SECRET}"}]}]},
    "scheduler_pod": {
        "initContainers": [{"name": "pull", "image": "git", "env": [{"name": "PASSWORD", "value": SECRET}]}]
    },
}


def test_no_manifest_but_the_secret_holds_one():
    made = cluster(OVERLAYS, **SECRETS)
    assert SECRET not in json.dumps(made)
    entry = {"name": "eddies-clusterhub", "key": "worker.worker.API_TOKEN"}
    assert {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": entry}} in made["spec"]["worker"]["spec"]["containers"][
        0
    ]["env"]
    assert manifest.secret_variables(spec(**SECRETS), KubernetesOptions.model_validate(OVERLAYS)) == {
        "scheduler.pull.PASSWORD": SECRET,
        "scheduler.scheduler.S3_SECRET_KEY": f"${SECRET}",
        "worker.worker.S3_SECRET_KEY": f"${SECRET}",
        "worker.worker.API_TOKEN": SECRET,
        "worker.worker.DB": f"postgres://me:{SECRET}@db/x",
    }


def test_every_secret_that_is_taken_from_the_secret_is_there():
    options = KubernetesOptions.model_validate(OVERLAYS)
    there = manifest.secret_variables(spec(**SECRETS), options)
    text = json.dumps(cluster(OVERLAYS, **SECRETS))
    assert text.count("secretKeyRef") == len(there)
    assert all(f'"key": "{key}"' in text for key in there)


def test_a_text_of_other_variables_is_put_together_by_kubernetes():
    """What is in a Secret is not: the text would arrive with ``$(PW)`` in it."""
    parts = [
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}},
        {"name": "DB_PASSWORD_URL", "value": "postgres://me:$(PW)@db"},
    ]
    assert (
        variables("worker", {"worker_pod": {"containers": [{"env": parts}]}})["DB_PASSWORD_URL"]
        == "postgres://me:$(PW)@db"
    )


def test_an_open_cluster_with_secrets_has_a_secret_without_keys():
    open_spec = spec(network={"tls": False}, **SECRETS)
    assert manifest.needs_secret(open_spec, KubernetesOptions())
    shown = manifest.hidden_secret_manifest("eddies", open_spec, KubernetesOptions(), **WHO)
    assert shown["stringData"] == {"worker.worker.API_TOKEN": HIDDEN, "worker.worker.DB": HIDDEN}


def test_what_a_cluster_remembers_reads_back_and_holds_no_secret():
    said = spec(**SECRETS)
    leaf = Leaf("workers", "2", "call", False)
    plan = Plan(
        name="eddies", backend="kubernetes", spec=said, options=KubernetesOptions.model_validate(OVERLAYS),
        profile="cloud", uid="0123", named=True, values=(leaf,),
    )  # fmt: skip
    text = manifest.remembered(plan)
    assert SECRET not in text
    back = Plan[KubernetesOptions].model_validate_json(text)
    assert (back.name, back.uid, back.named, back.values) == ("eddies", "0123", True, (leaf,))
    assert back.spec.environment.variables == {"API_TOKEN": HIDDEN, "DB": HIDDEN, "TZ": "UTC"}


# As a text


def test_an_autoscaler_names_its_cluster():
    made = manifest.autoscaler_manifest("eddies", 0, 9, namespace="ocean")
    assert made["spec"] == {"cluster": "eddies", "minimum": 0, "maximum": 9}
    assert made["metadata"] == {"name": "eddies", "namespace": "ocean"}


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["yes", "No", "on", "~", "null", "1", "0x1", "1e3", "12:30:00", ".5", "", " a", "a: b", "# a", "=", "<<", "a\nb"]
)


@given(st.dictionaries(TEXTS, TEXTS | st.booleans() | st.integers() | st.lists(TEXTS, max_size=2), max_size=4))
def test_a_text_reads_back_as_what_is_sent_by_old_yaml_and_new(content: dict[str, Any]):
    import yaml

    given_manifest = {"kind": "ConfigMap", "data": content}
    shown = manifest.without_secrets(given_manifest)
    text = manifest.manifest_text(given_manifest)
    assert yaml.safe_load(text) == shown  # YAML 1.1, as kubectl's
    assert YAML(typ="safe", pure=True).load(text) == shown


def test_a_text_is_in_order_and_hides_secrets():
    secret = manifest.secret_manifest("eddies", **WHO, ca="c", cert="c", key=SECRET, variables={"x": SECRET})
    text = manifest.manifest_text(secret, cluster(OVERLAYS, **SECRETS))
    assert SECRET not in text
    assert [line for line in text.splitlines() if not line.startswith((" ", "-"))] == [
        "apiVersion: v1", "kind: Secret", "metadata:", "type: Opaque", "immutable: true", "stringData:",
        "apiVersion: kubernetes.dask.org/v1", "kind: DaskCluster", "metadata:", "spec:",
    ]  # fmt: skip
