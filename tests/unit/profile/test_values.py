"""Every value that cannot be meant is told with its place, and what to write instead; all of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from clusterhub.quantities import Bytes
from clusterhub.spec import Worker, Workers


@pytest.fixture
def hal(machine: Any) -> Any:
    """Resolves ``hal`` with lines of YAML added to it."""

    def problem(lines: str) -> Any:
        machine.user(f"profiles:\n  hal:\n    backend: pbs\n    {lines}\n")
        return machine.problem("hal")

    return problem


@pytest.mark.parametrize(
    ("line", "path", "written", "words"),
    [
        ("worker: {memory: 16}", "worker.memory", "16", "the unit is missing; write 16 GiB or 16 MiB"),
        ("worker: {memory: 8G}", "worker.memory", "8G", "tools disagree on 'G'; write 8 GiB"),
        ("worker: {memory: 8 Gb}", None, None, None),
        ("worker: {memory: -1 GiB}", "worker.memory", "-1 GiB", "positive number"),
        ("worker: {memory: 0 GiB}", "worker.memory", "0 GiB", "more than 0 bytes"),
        ("worker: {memory: 8 parsecs}", "worker.memory", "8 parsecs", "unknown unit"),
        ("worker: {memory: 999999999999 PiB}", "worker.memory", "999999999999 PiB", "is the unit right?"),
        ("worker: {memory: .inf}", "worker.memory", ".inf", "unit"),
        ("worker: {memory: [1]}", "worker.memory", "[1]", "write it with its unit"),
        ("worker: {memory: true}", "worker.memory", "true", "write it with its unit"),
        ("worker: {cores: .nan}", "worker.cores", ".nan", "must be"),
        ("worker: {cores: .inf}", "worker.cores", ".inf", "must be"),
        ("worker: {cores: 0}", "worker.cores", "0", "must be more than 0"),
        ("worker: {cores: -4}", "worker.cores", "-4", "must be more than 0"),
        ('worker: {cores: "4"}', "worker.cores", '"4"', "must be a number; leave the quotes out: 4"),
        ("worker: {cores: four}", "worker.cores", "four", "must be a number"),
        (f"worker: {{cores: {'9' * 200}}}", "worker.cores", None, "must be 1000000 or less"),
        ("worker: {gpus: 1.5}", "worker.gpus", "1.5", "must be a whole number"),
        ("worker: {gpus: true}", "worker.gpus", "true", "must be a whole number"),
        ("worker: {threads: 0}", "worker.threads", "0", "must be 1 or more"),
        ("worker: 5", "worker", "5", "must be a table, as {cores: 4}"),
        ("worker: [1, 2]", "worker", "[1, 2]", "must be a table"),
        ("worker: {memmory: 1 GiB}", "worker.memmory", None, "unknown key; did you mean memory?"),
        ("workers: -3", "workers", "-3", "must be 0 or more"),
        ("workers: '4'", "workers", '"4"', "must be a whole number of workers"),
        ("workers: 1.5", "workers", "1.5", "must be a whole number of workers"),
        ("workers: true", "workers", "true", "must be a number of workers"),
        (f"workers: {10**30}", "workers", str(10**30), "more than any machine has"),
        ("workers: {minimum: 9, maximum: 3}", "workers", "{minimum: 9, maximum: 3}", "minimum 9 is more than maximum 3"),
        ("workers: {minimum: -1}", "workers.minimum", "-1", "must be 0 or more"),
        ("workers: {cores: 4}", "workers.cores", None, "cores is the shape of one worker: worker: {cores: 4}"),
        ("job: {walltime: 12:00}", "job.walltime", "12:00", "could be hours or minutes"),
        ("job: {walltime: 12 parsecs}", "job.walltime", "12 parsecs", "not a duration; write 12h, 30m or 12:00:00"),
        ("job: {walltime: 43200}", "job.walltime", "43200", "the unit is missing"),
        ("job: {walltime: -2h}", "job.walltime", "-2h", "not a duration"),
        ("job: {walltime: 0s}", "job.walltime", "0s", "longer than 0 s"),
        ("job: {walltime: 99999d}", "job.walltime", "99999d", "longer than ten years"),
        ("network: {tls: no}", "network.tls", "no", "write true, false or auto"),
        ("network: {tls: on}", "network.tls", "on", "write true, false or auto"),
        ("network: {interface: ''}", "network.interface", '""', "must not be empty"),
        ("network: {interface: 5}", "network.interface", "5", "must be a text; put it in quotes"),
        ("lifecycle: {host: proces}", "lifecycle.host", "proces", "did you mean process?"),
        ("lifecycle: {idle_timeout: nevr}", "lifecycle.idle_timeout", "nevr", "not a duration"),
        ("environment: {setup: 5}", "environment.setup", "5", "must be a list; write [5]"),
        ("environment: {setup: [5]}", "environment.setup.0", "5", "must be a text; put it in quotes"),
        ("environment: {setup: {a: b}}", "environment.setup", "{a: b}", "must be a list"),
        ("environment: {variables: {A: yes, B: true}}", "environment.variables", None, "B must be a text"),
        ("environment: {variables: {1A: x}}", "environment.variables", None, "no name for a variable"),
        ("environment: {variables: [A]}", "environment.variables", "[A]", "must be a table"),
        ("node: {cores: 24}", "node.memory", None, "must be given"),
        ("required: {pbs.account: 5}", "required.pbs.account", "5", "must be a text"),
        ("required: {pbs.acount: x}", "required.pbs.acount", None, "no such key"),
        ("required: {worker.memory.x: x}", "required.worker.memory.x", None, "no such key"),
        ("pbs: 5", "pbs", "5", "must be a table of pbs's options"),
        ("pbs: [queue]", "pbs", "[queue]", "must be a table of pbs's options"),
        ("pbs: {priority: '4'}", "pbs.priority", '"4"', "leave the quotes out: 4"),
        ("pbs: {priority: 4000}", "pbs.priority", "4000", "must be 1023 or less"),
        ("pbs: {quue: x}", "pbs.quue", None, "unknown key; did you mean queue?"),
        ("pbs: {mode: on}", "pbs.mode", "on", "must be normal or debug"),
        ("wroker: {}", "wroker", None, "did you mean worker?"),
        ("qqqq: {}", "qqqq", None, "unknown key; known are"),
        ("hosts: {a: b}", "hosts", "{a: b}", "must be a list"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant(
    hal: Any, machine: Any, line: str, path: str | None, written: str, words: str
) -> None:
    if path is None:
        machine.user(f"profiles:\n  hal:\n    backend: pbs\n    {line}\n")
        assert machine.resolve("hal").profile == "hal"
        return
    problem = hal(line)
    assert problem.origin == "~/.clusterhub.yaml:4"
    assert problem.path == path
    assert words in problem.message, problem.message
    if written is not None:
        assert problem.written == written


def test_texts_that_other_yamls_take_for_something_else_stay_texts(machine: Any) -> None:
    machine.user(
        "profiles: {p: {backend: pbs, description: no, support: on, job: {walltime: 12:00:00}, pbs: {queue: off}}}"
    )
    resolved = machine.resolve("p")
    assert (resolved.spec.description, resolved.spec.support, resolved.options.queue) == ("no", "on", "off")
    assert str(resolved.spec.job.walltime) == "12h"


def test_all_problems_are_told_at_once_with_their_places(machine: Any) -> None:
    machine.site("profiles:\n  hal:\n    backend: pbs\n    support: help@example.org\n    worker: {memmory: 1}\n")
    machine.user("profiles:\n  hal:\n    job: {walltime: 12 parsecs}\n    pbs: {quue: x, priority: '4'}\n")
    error = machine.refused("hal", workers=-3)
    assert {(p.origin, p.path) for p in error.problems} == {
        (f"{machine.etc}/config.yaml:5", "worker.memmory"),
        ("~/.clusterhub.yaml:3", "job.walltime"),
        ("~/.clusterhub.yaml:4", "pbs.quue"),
        ("~/.clusterhub.yaml:4", "pbs.priority"),
        ("call", "workers"),
    }
    assert str(error).startswith("profile hal has 5 problems\n")
    assert str(error).endswith("\n  help  help@example.org")


def test_contradictions_are_told_by_the_keys_that_make_them(machine: Any) -> None:
    machine.user(
        """
        profiles:
          hal:
            backend: pbs
            node: {cores: 4, memory: 8 GiB}
            worker: {cores: 8, memory: 16 GiB}
        """
    )
    error = machine.refused("hal")
    assert [(p.origin, p.path, p.written) for p in error.problems] == [
        ("~/.clusterhub.yaml:6", "worker.cores", "8"),
        ("~/.clusterhub.yaml:6", "worker.memory", "16 GiB"),
    ]


def test_long_values_are_cut_in_messages(machine: Any) -> None:
    machine.user(f"profiles: {{p: {{backend: pbs, worker: {{memory: {'x' * 5000}}}}}}}")
    problem = machine.problem("p")
    assert len(problem.written) == 60
    assert len(str(problem)) < 250


def test_values_of_python_are_taken_as_they_are_meant(machine: Any) -> None:
    from pathlib import PurePosixPath

    class Index:
        """Nothing that a config can hold."""

    resolved = machine.resolve(
        "pbs",
        worker=Worker(cores=2, memory=Bytes("3 GiB")),
        workers=Workers(minimum=1, maximum=2),
        environment={"python": PurePosixPath("/opt/python"), "setup": ("a", "b")},
        hosts={"laptop"},
    )
    assert (str(resolved.spec.worker.memory), str(resolved.spec.workers)) == ("3 GiB", "1 to 2")
    assert (resolved.spec.environment.python, resolved.spec.environment.setup) == ("/opt/python", ("a", "b"))
    assert machine.problem("pbs", worker=Index()).message == "must be a table, as {cores: 4}"


def test_what_no_config_can_hold_is_refused(machine: Any) -> None:
    endless: dict[str, Any] = {}
    endless["worker"] = endless
    for overrides in (
        {"worker": {5: 6}},
        endless,
        {"worker": [[]] * 300_000},
        {"environment": {"variables": {None: "x"}}},
    ):
        assert machine.refused("pbs", **overrides).problems[0].origin == "call"


def test_a_union_is_told_once_with_both_its_ways(machine: Any) -> None:
    machine.user("profiles: {c: {backend: cloud, cloud: {size: [1]}}}")
    problem = machine.problem("c")
    assert (problem.path, problem.message) == ("cloud.size", "must be a whole number, or must be a text")


def test_a_table_in_a_list_is_found_with_its_line(machine: Any) -> None:
    machine.user(
        "profiles:\n  c:\n    backend: cloud\n    cloud:\n      tolerations:\n        - key: a\n        - seconds: x\n"
    )
    error = machine.refused("c")
    assert [(p.origin, p.path, p.message) for p in error.problems] == [
        ("~/.clusterhub.yaml:7", "cloud.tolerations.1.key", "must be given"),
        ("~/.clusterhub.yaml:7", "cloud.tolerations.1.seconds", "must be a whole number"),
    ]


def test_an_option_that_must_be_given_is_asked_for(machine: Any) -> None:
    machine.user("profiles:\n  n:\n    backend: needy\n")
    assert str(machine.problem("n")).endswith("needy.account: must be given")
    machine.user("profiles:\n  n:\n    backend: needy\n    required: {needy.account: run whoami}\n")
    assert str(machine.problem("n")) == (
        "~/.clusterhub.yaml:4: needy.account: must be given: run whoami;"
        " say it in ~/.clusterhub.yaml: profiles: {n: {needy: {account: ...}}}"
    )


def test_what_a_site_requires_is_asked_for_with_its_hint(machine: Any) -> None:
    machine.site("profiles:\n  hal:\n    backend: pbs\n    required: {pbs.account: your project; run `myaccounts`}\n")
    problem = machine.problem("hal")
    assert problem.path == "pbs.account"
    assert problem.message == (
        "must be given: your project; run `myaccounts`; say it in ~/.clusterhub.yaml: profiles: {hal: {pbs: {account: ...}}}"
    )
    machine.user("profiles: {hal: {pbs: {account: ocean}}}")
    assert machine.resolve("hal").options.account == "ocean"
    assert machine.problem("hal", pbs={"account": ""}).path == "pbs.account"


def test_a_default_is_nothing_that_was_given(machine: Any) -> None:
    machine.user("profiles: {p: {backend: pbs, required: {worker.memory: say how much}}}")
    assert machine.problem("p").path == "worker.memory"
    assert machine.resolve("p", worker={"memory": "1 GiB"}).profile == "p"


LIMITED = "profiles: {p: {backend: pbs, limits: {workers: 5, walltime: 2h}}}"


def test_a_call_may_not_exceed_the_limits_of_the_profile(machine: Any) -> None:
    machine.user(LIMITED)
    error = machine.refused("p", workers=6, job={"walltime": "3h"})
    assert [(p.origin, p.path, p.written) for p in error.problems] == [
        ("call", "workers", "6"),
        ("call", "job.walltime", "3h"),
    ]
    assert machine.resolve("p", workers=5, job={"walltime": "2h"}).spec.workers.maximum == 5


@pytest.mark.parametrize("limits", [{"workers": 6}, {"walltime": "3h"}, {"workers": None}, None])
def test_a_call_may_not_raise_or_take_back_a_limit(machine: Any, limits: Any) -> None:
    machine.user(LIMITED)
    for problem in machine.refused("p", limits=limits).problems:
        assert problem.origin == "call"
        assert "~/.clusterhub.yaml:1" in problem.message


def test_a_call_may_lower_a_limit(machine: Any) -> None:
    machine.user(LIMITED)
    assert machine.resolve("p", limits={"workers": 3}).spec.workers.maximum == 3
    assert machine.refused("p", limits={"workers": "x"}).problems[0].path == "limits.workers"


@pytest.mark.parametrize(
    ("said", "workers"),
    [("", "0 to 5"), ("workers: {minimum: 2},", "2 to 5"), ("workers: 3,", "3"), ("workers: {maximum: 4},", "0 to 4")],
)
def test_the_default_number_of_workers_keeps_within_the_limit(machine: Any, said: str, workers: str) -> None:
    machine.user(f"profiles: {{p: {{backend: pbs, {said} limits: {{workers: 5}}}}}}")
    assert str(machine.resolve("p").spec.workers) == workers


def test_a_minimum_over_the_limit_is_told_as_such(machine: Any) -> None:
    machine.user("profiles: {p: {backend: pbs, workers: {minimum: 9}, limits: {workers: 5}}}")
    assert machine.problem("p").message == "9 is over the limit of 5 (limits.workers)"


def test_workers_of_next_to_no_cores_are_counted_without_overflowing(machine: Any) -> None:
    resolved = machine.resolve("pbs", worker={"cores": 5e-324}, node={"cores": 4, "memory": "8 GiB"})
    assert resolved.spec.packing.decided_by == "memory"


def test_the_default_of_a_backend_keeps_within_the_limit_and_is_no_wish(machine: Any) -> None:
    machine.user("profiles: {p: {backend: local, limits: {workers: 2}}}")
    resolved = machine.resolve("p")
    (leaf,) = [leaf for leaf in resolved.leaves() if leaf.path == "workers"]
    assert (leaf.text, leaf.is_default, leaf.origin) == ("2", True, "default, lowered to limits.workers")
    assert "workers:" not in resolved.as_yaml().replace("    limits:\n      workers:", "")
