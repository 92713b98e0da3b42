"""The functions that users call: a profile's name in, a cluster or what is known of one out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

import clusterhub
from clusterhub.api import trial
from clusterhub.api.checking import CheckReport
from clusterhub.api.trial import version_differences
from clusterhub.backend import Finding
from clusterhub.errors import BackendUnavailable, ClusterhubError, ConfigError, Unsupported
from clusterhub.spec import ClusterSpec

SHAPE: dict[str, Any] = {"worker": {"cores": 1, "memory": "512 MiB"}}
THREADS: dict[str, Any] = {**SHAPE, "local": {"processes": False, "dashboard": False}}


# connect


@pytest.mark.parametrize("name", ["eddies", "a", "a1", "eddies-2", "0", "x" * 40])
def test_a_name_that_every_system_takes_is_taken(name):
    with clusterhub.connect("simulated", name=name, workers=0) as cluster:
        assert cluster.name == name


@pytest.mark.parametrize(
    "name", ["", "Eddies", "-a", "a-", "a_b", "a b", "a.b", "é", "x" * 41, "a\n", "../a", 7, True, b"a"]
)
def test_a_name_that_some_system_refuses_is_refused_here(name):
    with pytest.raises(ConfigError, match="1 to 40 lower-case letters") as refused:
        clusterhub.connect("simulated", name=name, workers=0)
    assert len(str(refused.value)) < 250


def test_unnamed_clusters_have_names_of_their_own():
    names = [clusterhub.plan("simulated").name for _ in range(5)]
    assert len(set(names)) == 5
    assert all(name.startswith("simulated-") for name in names)


@pytest.mark.parametrize("profile", ["HAL Big", "größe", "x" * 80, "a..b", "--", "2i2c", "1" * 80])
def test_an_unnamed_cluster_of_any_profile_has_a_name_that_every_system_takes(home, profile):
    (home / ".clusterhub.yaml").write_text(f"profiles: {{'{profile}': {{backend: simulated}}}}\n", encoding="utf-8")
    from clusterhub.api.connecting import NAME

    name = clusterhub.plan(profile).name
    assert NAME.fullmatch(name)
    assert name[0].isalpha()  # as Kubernetes wants of a Service's


def test_keeping_a_cluster_is_refused_rather_than_ignored():
    with pytest.raises(Unsupported, match="leave keep out"):
        clusterhub.connect("opaque", keep=True)


def test_a_whole_spec_is_taken_too():
    with clusterhub.connect(ClusterSpec(backend="simulated", workers=0)) as cluster:
        assert cluster.report().backend == "simulated"


def test_what_cannot_be_honoured_is_refused_before_anything_starts():
    before = psutil.Process().children(recursive=True)
    with pytest.raises(Unsupported, match="job.walltime"):
        clusterhub.connect("local", job={"walltime": "1h"}, **THREADS)
    assert psutil.Process().children(recursive=True) == before


def test_an_unknown_profile_is_told_with_a_guess():
    with pytest.raises((ConfigError, BackendUnavailable), match="did you mean") as refused:
        clusterhub.connect("simulatd")
    assert "simulated" in str(refused.value)


def test_all_problems_of_a_call_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        clusterhub.connect("simulated", workers=-3, worker={"memory": "8G"}, simulated={"queu": "x"})
    assert {problem.path for problem in refused.value.problems} == {"workers", "worker.memory", "simulated.queu"}


def test_a_misspelt_argument_is_told_with_a_guess():
    with pytest.raises(ConfigError, match="did you mean workers"):
        clusterhub.connect("simulated", wokers=3)  # type: ignore[call-arg]


def test_a_backend_that_cannot_work_here_is_refused_by_connect_and_planned_all_the_same(monkeypatch):
    from simulated_queue import SimulatedBackend

    monkeypatch.setattr(SimulatedBackend, "unusable", lambda self: "there is no qsub here")
    assert clusterhub.plan("simulated").summary
    with pytest.raises(BackendUnavailable, match="simulated cannot be used here: there is no qsub here"):
        clusterhub.connect("simulated")


async def test_the_asynchronous_door_refuses_before_it_is_awaited():
    with pytest.raises(ConfigError, match="workers"):
        clusterhub.aio.connect("simulated", workers=-1)


async def test_the_asynchronous_door_gives_a_working_cluster():
    async with clusterhub.aio.connect("simulated", workers=1, **SHAPE) as cluster:
        await cluster.wait(timeout=60)
        assert (await cluster.report()).connected == 1


# plan


@pytest.mark.parametrize("backend", ["local", "simulated"])
def test_a_plan_writes_nothing_and_starts_nothing(backend, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = psutil.Process().children(recursive=True)
    clusterhub.plan(backend, workers=3, **SHAPE)
    assert (list(home.iterdir()), list(tmp_path.iterdir())) == ([], [])
    assert psutil.Process().children(recursive=True) == before


def test_a_plan_says_what_would_be_sent():
    plan = clusterhub.plan("simulated", workers=7, job={"workers_per_job": 2}, simulated={"queue": "big"})
    assert plan.summary == "4 jobs of 2 workers, in 1 submission"
    assert "#SIM -q big" in plan.documents[0].text


def test_a_plan_refuses_as_connect_does():
    with pytest.raises(Unsupported, match="network.tls"):
        clusterhub.plan("simulated", network={"tls": True})


def test_a_plan_holds_no_secret():
    plan = clusterhub.plan("simulated", simulated={"password": "hunter2"})
    assert "hunter2" not in plan.model_dump_json()


# check


def marks(report: CheckReport) -> dict[str, str]:
    return {step.title: step.mark for step in report.steps}


@pytest.mark.parametrize("backend", ["local", "simulated"])
def test_a_profile_that_is_fine_passes_every_step_and_starts_nothing(backend):
    before = psutil.Process().children(recursive=True)
    report = clusterhub.check(backend, workers=1, **SHAPE)
    assert marks(report) == {"config": "ok", "backend": "ok", "plan": "ok"}
    assert psutil.Process().children(recursive=True) == before


@pytest.mark.parametrize(("backend", "said"), [("local", THREADS), ("simulated", SHAPE)])
def test_with_start_one_worker_really_computes(backend, said):
    report = clusterhub.check(backend, start=True, workers=5, **said)
    assert report.ok
    assert {"one worker": "ok", "versions": "ok"}.items() <= marks(report).items()
    worker = next(step for step in report.steps if step.title == "one worker")
    stages = [part.rsplit(" ", 2)[0] for part in worker.text.split(" · ")]
    assert stages[0] == "scheduler up"
    assert [stage.split()[0] for stage in stages[-3:]] == ["connected", "result", "gone"]


def test_a_worker_that_waits_in_the_queue_is_told_of_and_withdrawn_in_the_end(monkeypatch):
    monkeypatch.setattr(trial, "LASTING", 0.2)
    news: list[str] = []
    report = clusterhub.check(
        "simulated", start=True, patience=3, on_news=news.append, simulated={"fault": "holds"}, **SHAPE
    )
    assert report.steps[-1].mark == "fail"
    first, *_, last = report.steps[-1].text.splitlines()
    assert "is still pending after 3s: " in first
    assert last == "it was withdrawn; wait longer with: clusterhub check simulated --start --timeout 1m"
    assert [line.split(":")[0].rpartition(" is ")[2] for line in news] == ["pending"]
    assert len(clusterhub.clusters()) == 0


def test_a_worker_that_cannot_start_is_a_failed_step_with_its_cause():
    report = clusterhub.check("simulated", start=True, workers=1, simulated={"fault": "bad-python"}, **SHAPE)
    assert not report.ok
    assert "their python does not exist" in report.steps[-1].text
    assert str(report).endswith("\n1 problem")


def test_what_cannot_be_honoured_is_a_failed_step_and_the_last():
    report = clusterhub.check("simulated", network={"tls": True})
    assert (report.steps[-1].title, report.steps[-1].mark) == ("features", "fail")
    assert "network.tls" in report.steps[-1].text


def test_a_backend_that_cannot_work_here_is_a_failed_step(monkeypatch):
    from simulated_queue import SimulatedBackend

    monkeypatch.setattr(SimulatedBackend, "unusable", lambda self: "there is no qsub here")
    assert marks(clusterhub.check("simulated"))["backend"] == "fail"


def test_what_would_disappoint_is_a_warning_that_fails_nothing(monkeypatch):
    from clusterhub_backends import local

    monkeypatch.setattr(local, "cores_here", lambda: 1)
    report = clusterhub.check("local", workers=4, **SHAPE)
    assert (marks(report)["local"], report.ok) == ("warn", True)


def test_a_profile_that_cannot_be_resolved_raises_all_its_problems(home):
    (home / ".clusterhub.yaml").write_text(
        "profiles:\n  bad:\n    backend: simulated\n    wrkers: 3\n    worker: {memory: 8G}\n"
    )
    with pytest.raises(ConfigError) as refused:
        clusterhub.check("bad")
    assert {problem.origin for problem in refused.value.problems} == {"~/.clusterhub.yaml:4", "~/.clusterhub.yaml:5"}


def test_steps_are_told_as_they_come():
    told: list[Finding] = []
    report = clusterhub.check("simulated", on_step=told.append)
    assert tuple(told) == report.steps


def test_a_report_reads_like_a_doctors():
    steps = (Finding("ok", "config", "2 files"), Finding("warn", "address", "3 candidates\nof 4"))
    assert str(CheckReport("hal", "pbs", steps)) == (
        "hal · pbs\n  ✔ config   2 files\n  ! address  3 candidates\n             of 4\neverything works, with 1 remark"
    )
    failed = (*steps, Finding("fail", "python", "not there"))
    assert CheckReport("hal", "pbs", failed).verdict == "1 problem"


def test_a_finding_says_something():
    with pytest.raises(ValueError, match="needs a title and a text"):
        Finding("ok", "queue", "")
    with pytest.raises(ValueError, match="needs a title and a text"):
        Finding("ok", "", "enabled")


def test_the_files_that_say_anything_of_a_profile_are_counted(home):
    (home / ".clusterhub.yaml").write_text("profiles: {sim: {backend: simulated, workers: 3}}\n")
    assert clusterhub.check("sim").steps[0].text == "1 file, no problem"
    assert clusterhub.check("simulated").steps[0].text == "no file, no problem"


def test_what_a_backend_finds_is_told_with_the_place_that_decides_it(home, monkeypatch):
    from simulated_queue import SimulatedBackend

    found = [
        Finding("ok", "queue big", "open", because="worker.memory"),
        Finding("fail", "job", "no node has so much", because="worker.memory"),
        "a mere sentence",
    ]
    monkeypatch.setattr(SimulatedBackend, "problems", lambda self, spec, options: found)
    (home / ".clusterhub.yaml").write_text("profiles:\n  sim:\n    backend: simulated\n    worker: {memory: 8 GiB}\n")
    report = clusterhub.check("sim")
    assert [(step.mark, step.title, step.text) for step in report.steps[2:5]] == [
        ("ok", "queue big", "open"),
        ("fail", "job", "no node has so much\nbecause  ~/.clusterhub.yaml:4  worker.memory = 8 GiB"),
        ("warn", "simulated", "a mere sentence"),
    ]
    assert not report.ok


def test_nothing_is_started_where_looking_already_found_what_is_wrong(monkeypatch):
    from simulated_queue import SimulatedBackend

    found = [Finding("fail", "queue", "there is no such queue")]
    monkeypatch.setattr(SimulatedBackend, "problems", lambda self, spec, options: found)
    monkeypatch.setattr(SimulatedBackend, "start", None)
    report = clusterhub.check("simulated", start=True)
    assert report.steps[-1] == Finding("warn", "one worker", "not started, for what is wrong above")
    assert report.verdict == "1 problem"


def test_a_plugin_that_fails_at_looking_does_not_keep_the_others_from_it(monkeypatch):
    from simulated_queue import SimulatedBackend

    def fails(self, spec, options):
        yield "first"
        raise ClusterhubError("the plugin's own trouble")

    monkeypatch.setattr(SimulatedBackend, "problems", fails)
    report = clusterhub.check("simulated")
    assert [step.text for step in report.steps[2:4]] == ["first", "the plugin's own trouble"]
    assert report.steps[-1].title == "plan"


def versions(here: dict[str, str | None], there: dict[str, str | None]) -> dict[str, Any]:
    return {"client": {"packages": here}, "workers": {"tcp://w": {"packages": there}}}


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        ({"python": "3.12.4.final.0"}, {"python": "3.12.9.final.0"}, ""),
        (
            {"python": "3.12.4.final.0"},
            {"python": "3.11.4.final.0"},
            "python is 3.11.4.final.0 on the worker and 3.12.4.final.0 here",
        ),
        ({"dask": "2026.8.0"}, {"dask": "2026.8.0"}, ""),
        ({"dask": "2026.8.0"}, {"dask": "2026.7.0"}, "dask is 2026.7.0 on the worker and 2026.8.0 here"),
        ({"numpy": "2.4.6"}, {"numpy": None}, "numpy is missing on the worker and 2.4.6 here"),
        ({"numpy": None}, {"numpy": None}, ""),
        ({"xarray": "2026.9.0"}, {}, "xarray is missing on the worker and 2026.9.0 here"),
        ({"toolz": "1"}, {"toolz": "2"}, ""),
    ],
)
def test_versions_that_differ_in_a_way_that_matters_are_told(here, there, told):
    assert version_differences(versions(here, there)) == told


def test_without_a_worker_no_version_differs():
    assert version_differences({"client": {"packages": {"dask": "1"}}, "workers": {}}) == ""


# profiles


def test_profiles_are_listed_with_their_place_and_whether_they_work(home: Path):
    (home / ".clusterhub.yaml").write_text(
        "default: laptop\n"
        "profiles:\n"
        "  laptop: {backend: local, workers: 2}\n"
        "  sim: {backend: simulated, description: a queue}\n"
        "  gone: {backend: no-such-backend}\n"
        "  bad: {backend: local, workers: -1}\n"
    )
    found = {info.name: info for info in clusterhub.profiles()}
    assert list(found) == ["laptop", "sim", "gone", "bad"]
    assert (found["laptop"].here, found["laptop"].is_default, found["laptop"].origin) == (
        "ready",
        True,
        "~/.clusterhub.yaml:3",
    )
    assert found["gone"].here == "1 problem: clusterhub show gone"
    assert found["bad"].here == "1 problem: clusterhub show bad"


def test_without_a_file_there_is_no_profile():
    assert clusterhub.profiles() == []
