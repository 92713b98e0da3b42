"""The vocabulary: its defaults, its arithmetic, what it refuses, and that it crosses JSON unchanged."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clusterhub.quantities import LARGEST_DURATION, Bytes, Duration
from clusterhub.spec import LARGEST_COUNT, ClusterSpec, Contradiction, Frozen, Node, Worker, Workers

NODE = {"cores": 24, "memory": "120 GiB"}

HAL: dict[str, Any] = {
    "backend": "pbs",
    "description": "CNES HAL, PBS Pro, 8000 cores",
    "hosts": ["hal-*"],
    "node": NODE,
    "workers": {"minimum": 0, "maximum": 200},
    "worker": {"cores": 4, "memory": "16 GiB"},
    "job": {"walltime": "12h"},
    "environment": {
        "python": "/softs/pangeo/bin/python",
        "directory": ".",
        "setup": ["module load conda"],
        "variables": {"OMP_NUM_THREADS": "1"},
    },
    "network": {"interface": "auto", "tls": True},
    "storage": {"scratch": "$TMPDIR", "logs": "~/clusterhub-logs"},
    "lifecycle": {"host": "auto", "idle_timeout": "1h"},
    "limits": {"workers": 200, "walltime": "24h"},
    "required": {"pbs.account": "your project; run `myaccounts`"},
    "support": "pangeo-support@example.org",
}
"""The profile of the design's example."""


def paths(error: ValidationError) -> set[str]:
    """The dotted keys that an error tells of."""
    return {".".join(map(str, detail["loc"])) for detail in error.errors()}


def refused(**fields: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ClusterSpec(**fields)
    return caught.value


def contradictions(**fields: Any) -> dict[str, str]:
    cause = refused(**fields).errors()[0]["ctx"]["error"]
    assert isinstance(cause, Contradiction)
    return cause.found


# Defaults


def test_nothing_need_be_said():
    spec = ClusterSpec()
    assert (spec.backend, str(spec.workers), spec.worker.cores, str(spec.worker.memory)) == (
        "local",
        "0 to 10",
        1,
        "4 GiB",
    )


def test_a_cluster_ends_by_itself_unless_told_otherwise():
    lifecycle = ClusterSpec().lifecycle
    assert [str(value) for value in (lifecycle.idle_timeout, lifecycle.max_age, lifecycle.linger)] == [
        "1h",
        "7d",
        "10m",
    ]


def test_the_designs_example_says_what_it_seems_to():
    spec = ClusterSpec(**HAL)
    assert spec.workers == Workers(minimum=0, maximum=200)
    assert spec.worker.memory == 16 * 2**30
    assert spec.job.walltime == 12 * 3600
    assert spec.packing.workers_per_job == 6


def test_the_designs_example_is_valid_by_its_schema():
    schema = ClusterSpec.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(HAL)


# Workers


@pytest.mark.parametrize(
    ("written", "minimum", "maximum"),
    [
        (20, 20, 20),
        (0, 0, 0),
        ({"minimum": 2, "maximum": 5}, 2, 5),
        ({"maximum": 5}, 0, 5),
        ({"minimum": 3}, 3, 10),
        ({"minimum": 4, "maximum": 4}, 4, 4),
    ],
)
def test_workers_are_a_number_or_a_range(written, minimum, maximum):
    workers = ClusterSpec(workers=written).workers
    assert (workers.minimum, workers.maximum) == (minimum, maximum)


@pytest.mark.parametrize("written", [20, 0, {"minimum": 2, "maximum": 5}])
def test_workers_are_printed_back_as_they_were_written(written):
    assert ClusterSpec(workers=written).model_dump(mode="json")["workers"] == written


def test_workers_read_as_a_person_says_them():
    assert (str(Workers.exactly(20)), str(Workers(minimum=0, maximum=200))) == ("20", "0 to 200")


def test_only_a_range_adapts():
    assert (Workers.exactly(3).adapts, Workers(minimum=3, maximum=4).adapts) == (False, True)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (-3, "must be 0 or more"),
        (LARGEST_COUNT + 1, "more than any machine has"),
        (True, "must be a number of workers"),
        ("4", "must be a whole number of workers"),
        (4.0, "must be a whole number of workers"),
        (None, "must be a whole number of workers"),
        ([1, 2], "must be a whole number of workers"),
        ({"minimum": 5, "maximum": 2}, "minimum 5 is more than maximum 2"),
        ({"minimum": 11}, "minimum 11 is more than maximum 10"),
        ({"minimum": "1"}, "valid integer"),
        ({"minimum": True}, "valid integer"),
        ({"maximum": LARGEST_COUNT + 1}, "less than or equal"),
        ({"jobs": 3}, "Extra inputs"),
    ],
)
def test_workers_that_cannot_be_meant_are_refused(written, words):
    assert words in str(refused(workers=written))


# One worker


@pytest.mark.parametrize(
    ("worker", "nthreads"),
    [({"cores": 4}, 4), ({"cores": 2.7}, 2), ({"cores": 0.5}, 1), ({"cores": 4, "threads": 1}, 1), ({}, 1)],
)
def test_a_worker_has_as_many_threads_as_cores_unless_told(worker, nthreads):
    assert Worker(**worker).nthreads == nthreads


def test_whole_cores_are_written_as_whole_numbers():
    assert json.loads(Worker(cores=4).model_dump_json())["cores"] == 4
    assert '"cores":4,' in Worker(cores=4.0).model_dump_json()


# Packing


@pytest.mark.parametrize(
    ("spec", "workers_per_job", "decided_by"),
    [
        ({}, 1, "default"),
        ({"node": NODE, "worker": {"cores": 4, "memory": "16 GiB"}}, 6, "cores"),
        ({"node": NODE, "worker": {"cores": 4, "memory": "60 GiB"}}, 2, "memory"),
        ({"node": {**NODE, "gpus": 4}, "worker": {"cores": 4, "memory": "1 GiB", "gpus": 2}}, 2, "gpus"),
        ({"node": {**NODE, "gpus": 4}, "worker": {"cores": 4, "memory": "16 GiB"}}, 6, "cores"),
        ({"node": NODE, "worker": {"cores": 4}, "job": {"workers_per_job": 3}}, 3, "given"),
        ({"job": {"workers_per_job": 3}}, 3, "given"),
        ({"node": {"cores": 1, "memory": "1 TiB"}, "worker": {"cores": 0.1, "memory": "1 GiB"}}, 10, "cores"),
        ({"node": {"cores": 3, "memory": "1 TiB"}, "worker": {"cores": 0.3, "memory": "1 GiB"}}, 10, "cores"),
        ({"node": {"cores": 2, "memory": "1 TiB"}, "worker": {"cores": 1.5, "memory": "1 GiB"}}, 1, "cores"),
        ({"node": {"cores": 24, "memory": "128 GB"}, "worker": {"cores": 1, "memory": "64 GiB"}}, 1, "memory"),
    ],
)
def test_what_fits_into_a_job_follows_from_the_node(spec, workers_per_job, decided_by):
    packing = ClusterSpec(**spec).packing
    assert (packing.workers_per_job, packing.decided_by) == (workers_per_job, decided_by)


# Contradictions


@pytest.mark.parametrize(
    ("what", "worker", "words"),
    [
        ("cores", {"cores": 48}, ["48", "24"]),
        ("memory", {"memory": "200 GiB"}, ["200 GiB", "120 GiB"]),
        ("gpus", {"gpus": 1}, ["1", "0"]),
    ],
)
def test_a_worker_larger_than_a_node_is_refused(what, worker, words):
    found = contradictions(node=NODE, worker=worker)
    assert list(found) == [f"worker.{what}"]
    assert all(word in found[f"worker.{what}"] for word in words)


def test_more_workers_in_a_job_than_fit_are_refused():
    found = contradictions(node=NODE, worker={"cores": 4, "memory": "16 GiB"}, job={"workers_per_job": 7})
    assert found == {"job.workers_per_job": "only 6 such workers fit on a node"}


def test_more_workers_than_the_limit_are_refused():
    assert "200" in contradictions(workers=300, limits={"workers": 200})["workers"]


def test_the_default_range_is_not_held_against_a_limit():
    assert ClusterSpec(limits={"workers": 4}).limits.workers == 4


def test_a_longer_job_than_the_limit_is_refused():
    found = contradictions(job={"walltime": "48h"}, limits={"walltime": "24h"})
    assert found == {"job.walltime": "2d is over the limit of 1d (limits.walltime)"}
    found = contradictions(lifecycle={"job": {"walltime": "48h"}}, limits={"walltime": "24h"})
    assert found == {"lifecycle.job.walltime": "2d is over the limit of 1d (limits.walltime)"}


def test_the_job_of_a_keeper_is_small_and_lives_as_long_as_one_of_workers_unless_said_otherwise():
    assert (ClusterSpec().lifecycle.job.cores, str(ClusterSpec().lifecycle.job.memory)) == (1, "2 GiB")
    assert ClusterSpec().keeper_walltime == (None, "lifecycle.job.walltime")
    assert ClusterSpec(job={"walltime": "12h"}).keeper_walltime == (12 * 3600, "job.walltime")
    both = ClusterSpec(job={"walltime": "12h"}, lifecycle={"job": {"walltime": "2d"}})
    assert both.keeper_walltime == (2 * 86400, "lifecycle.job.walltime")


def test_all_contradictions_are_told_at_once():
    found = contradictions(
        node=NODE,
        worker={"cores": 48, "memory": "200 GiB", "gpus": 2},
        workers=300,
        job={"walltime": "48h"},
        limits={"workers": 200, "walltime": "24h"},
    )
    assert set(found) == {"worker.cores", "worker.memory", "worker.gpus", "workers", "job.walltime"}


def test_a_contradiction_reads_with_its_keys():
    assert str(Contradiction({"a.b": "no", "c": "neither"})) == "a.b: no; c: neither"


# Strictness


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"worker": {"cores": "4"}}, "worker.cores"),
        ({"worker": {"cores": True}}, "worker.cores"),
        ({"worker": {"cores": 0}}, "worker.cores"),
        ({"worker": {"cores": float("nan")}}, "worker.cores"),
        ({"worker": {"cores": float("inf")}}, "worker.cores"),
        ({"worker": {"memory": 16}}, "worker.memory"),
        ({"worker": {"memory": "8G"}}, "worker.memory"),
        ({"worker": {"gpus": 1.0}}, "worker.gpus"),
        ({"worker": {"gpus": -1}}, "worker.gpus"),
        ({"worker": {"threads": 0}}, "worker.threads"),
        ({"worker": {"memmory": "8 GiB"}}, "worker.memmory"),
        ({"wokers": 3}, "wokers"),
        ({"network": {"interface": ""}}, "network.interface"),
        ({"lifecycle": {"host": "keeper"}}, "lifecycle.host"),
        ({"lifecycle": {"linger": "never"}}, "lifecycle.linger"),
        ({"node": {"cores": 4}}, "node.memory"),
        ({"node": {"cores": 4.0, "memory": "8 GiB"}}, "node.cores"),
        ({"environment": {"setup": [1]}}, "environment.setup.0"),
        ({"environment": {"python": True}}, "environment.python"),
        ({"backend": None}, "backend"),
        ({"backend": ""}, "backend"),
    ],
)
def test_nothing_is_converted_or_ignored_silently(fields, path):
    assert paths(refused(**fields)) == {path}


@pytest.mark.parametrize("value", ["no", "true", "yes", 1, 0, None, "AUTO"])
def test_encryption_is_true_false_or_auto(value):
    assert "write true, false or auto" in str(refused(network={"tls": value}))


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_encryption_is_kept_as_it_was_said(value):
    assert ClusterSpec(network={"tls": value}).network.tls is value or value == "auto"


def test_all_wrong_keys_are_told_at_once():
    error = refused(worker={"memmory": "8 GiB", "cores": "4"}, job={"walltime": "12"}, workers=-3)
    assert paths(error) == {"worker.memmory", "worker.cores", "job.walltime", "workers"}


def test_an_error_does_not_echo_the_value():
    assert "hunter2" not in str(refused(backend=["hunter2"]))


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        ClusterSpec().backend = "pbs"  # type: ignore[misc]


@pytest.mark.parametrize("field", ["hosts", "environment"])
def test_one_line_stands_for_a_list_of_one(field):
    if field == "hosts":
        assert ClusterSpec(hosts="hal-*").hosts == ("hal-*",)
    else:
        assert ClusterSpec(environment={"setup": "module load conda"}).environment.setup == ("module load conda",)


def test_variables_that_are_whole_numbers_become_text():
    assert ClusterSpec(environment={"variables": {"OMP_NUM_THREADS": 1}}).environment.variables == {
        "OMP_NUM_THREADS": "1"
    }


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"A": True}, "A must be a text; put it in quotes"),
        ({"A": 1.5}, "A must be a text; put it in quotes"),
        ({"A": None}, "A must be a text; put it in quotes"),
        ({"A": "a\0b"}, "NUL"),
        ({"1A": "x"}, "no name for a variable"),
        ({"A-B": "x"}, "no name for a variable"),
        ({"A=B": "x"}, "no name for a variable"),
        ({"A\n": "x"}, "no name for a variable"),
        ({"": "x"}, "no name for a variable"),
        ("A=1", "dictionary"),
    ],
)
def test_variables_that_no_environment_can_carry_are_refused(variables, words):
    assert words in str(refused(environment={"variables": variables}))


def test_never_is_a_time_span_where_a_cluster_may_live_on():
    lifecycle = ClusterSpec(lifecycle={"idle_timeout": "never", "max_age": "never"}).lifecycle
    assert (lifecycle.idle_timeout, lifecycle.max_age) == ("never", "never")


# JSON

memory = st.integers(1, 2**40).map(Bytes)
spans = st.integers(1, LARGEST_DURATION).map(Duration)
texts = st.text(min_size=1, max_size=20)
counts = st.integers(0, 1000)


@st.composite
def specs(draw: st.DrawFn) -> ClusterSpec:
    """Specs that say something of everything, and do not contradict themselves."""
    low, high = sorted((draw(counts), draw(counts)))
    worker = Worker(cores=draw(st.floats(0.1, 64)), memory=draw(memory), gpus=draw(st.integers(0, 8)))
    node = Node(cores=draw(st.integers(64, 256)), memory=draw(st.integers(2**40, 2**45).map(Bytes)), gpus=8)
    return ClusterSpec(
        backend=draw(texts),
        description=draw(st.none() | texts),
        hosts=draw(st.lists(texts, max_size=3)),
        workers=draw(st.sampled_from([high, {"minimum": low, "maximum": high}])),
        worker=worker,
        node=draw(st.sampled_from([None, node])),
        job={"walltime": draw(st.none() | spans)},
        environment={"setup": draw(st.lists(texts, max_size=3)), "variables": draw(st.just({}) | st.just({"A": "1"}))},
        network={"tls": draw(st.sampled_from([True, False, "auto"])), "interface": draw(texts)},
        storage={"scratch": draw(st.none() | texts)},
        lifecycle={"idle_timeout": draw(st.just("never") | spans), "max_age": draw(st.just("never") | spans)},
        limits={"workers": draw(st.none() | st.integers(1000, 2000))},
        required=draw(st.dictionaries(texts, texts, max_size=2)),
        support=draw(st.none() | texts),
    )


@given(specs())
def test_any_spec_crosses_json_unchanged(spec):
    assert ClusterSpec.model_validate_json(spec.model_dump_json()) == spec


@given(specs())
def test_any_spec_as_written_is_valid_by_the_schema(spec):
    VALIDATOR.validate(spec.model_dump(mode="json"))


@given(specs())
def test_packed_workers_fit_their_node(spec):
    if spec.node is not None:
        n = spec.packing.workers_per_job
        assert n >= 1
        assert n * spec.worker.memory <= spec.node.memory
        assert n * spec.worker.cores <= spec.node.cores + 1e-6


SCHEMA = ClusterSpec.model_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def properties() -> dict[str, dict[str, Any]]:
    """Every property of the schema by its dotted path, with what it refers to."""
    found: dict[str, dict[str, Any]] = {}

    def walk(model: dict[str, Any], prefix: str) -> None:
        for name, field in model.get("properties", {}).items():
            referred = [field, *field.get("allOf", ()), *field.get("anyOf", ())]
            targets = [SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]] for part in referred if "$ref" in part]
            for target in targets:
                walk(target, f"{prefix}{name}.")
            found[f"{prefix}{name}"] = {**(targets[0] if targets else {}), **field}

    walk(SCHEMA, "")
    return found


@pytest.mark.parametrize("path", sorted(properties()))
def test_every_property_of_the_schema_is_described(path):
    assert properties()[path].get("description")


@pytest.mark.parametrize("path", ["backend", "worker.cores", "worker.memory", "job.walltime", "lifecycle.idle_timeout"])
def test_the_schema_shows_examples(path):
    assert '"examples": [' in json.dumps(properties()[path])


def test_a_backends_options_made_where_no_source_is_kept_have_a_schema():
    """As in a notebook or with ``python -c``: descriptions come from the source, and may be missing."""
    made: dict[str, Any] = {}
    exec("class Options(Frozen):\n    queue: str = 'short'\n    '''The queue.'''\n", {"Frozen": Frozen}, made)
    assert list(made["Options"].model_json_schema()["properties"]) == ["queue"]
