"""What people are told of a batch system before anything is submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from clusterhub import ClusterSpec, Finding
from clusterhub_backends.batch.doctor import Doctor
from clusterhub_backends.batch.driver import Command, Output, SystemDown
from clusterhub_backends.batch.queues import Wish
from clusterhub_backends.pbs import PbsBackend, PbsOptions
from clusterhub_backends.slurm import SlurmBackend
from clusterhub_backends.slurm.driver import FORMAT

from .test_queues import ACCOUNTED, PLAIN, as_recorded, queue, said, server

SMALL: Mapping[str, Any] = {"worker": {"cores": 1, "memory": "1 GiB"}}
Answers = Mapping[str, Output | None]


def squeue(**said: str) -> str:
    """One line of a listing, whatever its fields are."""
    known = {
        "%i": "7_0",
        "%F": "7",
        "%K": "0",
        "%j": "ch00000000g0",
        "%N": "n1",
        **{f"%{k}": v for k, v in said.items()},
    }
    return "|".join(known.get(field, "N/A") for field in FORMAT.split("|")) + "\n"


SQUEUE = squeue(T="RUNNING") + squeue(i="7_1", K="1", T="PENDING") + squeue(i="6", F="6", K="N/A", T="COMPLETED")


def spec(**said: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"workers": 4, **SMALL, **said})


def line(finding: Finding) -> str:
    mark = {"ok": "✔", "warn": "!", "fail": "✘"}[finding.mark]
    because = f" <{finding.because}>" if finding.because else ""
    return f"{mark} {finding.title}: {finding.text}{because}"


def slurm(answers: list[Output | None], wish: Wish, of: ClusterSpec, jobs: str = SQUEUE) -> list[str]:
    driver = SlurmBackend.driver
    told = dict(zip([command.argv for command in driver.inquiries(wish)], answers, strict=True))
    told[driver.version().argv] = said("slurm 22.05.8\n")
    told[driver.listing(wish.user, ()).argv] = said(jobs)
    return [line(found) for found in Doctor(driver, of, wish, "slurm", "partition", answering(told)).findings()]


def pbs(answers: list[Output | None], wish: Wish, of: ClusterSpec) -> list[str]:
    driver = PbsBackend.driver
    told = dict(zip([command.argv for command in driver.inquiries(wish)], answers, strict=True))
    told[driver.version().argv] = said("pbs_version = 23.06.06\n")
    told[driver.listing(wish.user, ()).argv] = said("")
    return [line(found) for found in Doctor(driver, of, wish, "pbs", "queue", answering(told)).findings()]


def answering(told: Mapping[tuple[str, ...], Output | None]) -> Callable[[Command], Output]:
    def ask(command: Command) -> Output:
        if (answer := told[command.argv]) is None:
            raise SystemDown(f"{command.argv[0]} cannot be run: No such file or directory")
        return answer

    return ask


ROOT, ANN = Wish("root", ("root",)), Wish("ann", ("users",))


# The batch system


def test_a_slurm_where_all_is_well():
    assert slurm(PLAIN, ROOT, spec(job={"walltime": "1h"})) == [
        "✔ commands: sbatch, squeue, scancel, scontrol (SLURM 22.05.8)",
        "✔ partition debug: up; 4 nodes of 8 cores and 3.91 GiB; 2 jobs of yours now",
        "✔ job: 1 worker, 1 core, 1.22 GiB; walltime 1h; fits 4 of 4 nodes",
    ]


def test_a_pbs_where_all_is_well():
    assert pbs(as_recorded(), ANN, spec(worker={"cores": 4, "memory": "10 GiB"})) == [
        "✔ commands: qsub, qstat, qdel (PBS 23.06.06)",
        "✔ queue workq: enabled, started; walltime up to 1h; 1 node of 16 cores and 16 GiB; 2 nodes of 8 cores and 8 GiB;"
        " no job of yours now",
        "✔ job: 1 worker, 4 cores, 10.2 GiB; walltime 10m, the queue's default, since job.walltime is not given;"
        " fits 1 of 3 nodes",
    ]


def test_a_pbs_with_limits_on_each_user():
    answers = [*as_recorded()[:1], server(default_queue="workq", max_queued="[u:PBS_GENERIC=100]"), None]
    assert pbs(answers, ANN, spec(workers=200))[1:] == [
        "✔ queue workq: enabled, started; walltime up to 1h; your limit 100 jobs, 0 in use",
        "! job: 1 worker, 1 core, 1.22 GiB; walltime 10m, the queue's default, since job.walltime is not given\n"
        "200 workers are 200 jobs, and you may have 100 jobs: 100 workers at a time; the others wait for a place <workers>",
    ]


def test_a_pbs_that_limits_only_what_runs():
    answers = [said(queue(enabled="True", max_run="[u:PBS_GENERIC=8]")), server(default_queue="q"), None]
    assert pbs(answers, ANN, spec())[1] == (
        "✔ queue q: enabled, started; up to 8 of your jobs run at a time; no job of yours now"
    )


def test_a_slurm_with_accounting():
    assert slurm(ACCOUNTED, ROOT, spec(workers=12), jobs="")[1:] == [
        "✔ partition debug: up; 4 nodes of 8 cores, 3.91 GiB and 2 GPUs; your limit 7 jobs, 0 in use",
        "✔ account: ocean, your default; also yours: root",
        "! job: 1 worker, 1 core, 1.22 GiB; walltime 1h, the partition's default, since job.walltime is not given;"
        " fits 4 of 4 nodes\n"
        "12 workers are 12 jobs, and 5 of your jobs may run at a time: 5 workers at a time; the others wait for a place"
        " <workers>",
    ]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"account": "tides"}, "✘ account: tides is not yours; yours are ocean, root <slurm.account>"),
        ({"account": "ocean"}, "✔ account: ocean"),
        ({"qos": "high"}, "✘ qos: high is not yours with that account; yours are normal <slurm.qos>"),
    ],
)
def test_accounts_and_qos_that_are_not_ours_are_told_before_submission(wish, told):
    assert told in slurm(ACCOUNTED, Wish("root", ("root",), **wish), spec())


def test_whoever_has_no_account_learns_it_here():
    answers = [*ACCOUNTED[:3], said(""), said(""), said("")]
    assert (
        "✘ account: you have none on this system, and it takes no jobs without; ask your site <slurm.account>"
        in slurm(answers, Wish("bob"), spec())
    )


def test_a_queue_that_is_not_there_is_told_with_a_guess_and_nothing_is_said_of_the_job():
    assert slurm(PLAIN, Wish("root", queues=("shrt",)), spec(workers=500))[1:] == [
        "✘ partition: there is no partition shrt; did you mean short? there are debug, short, down <slurm.partition>"
    ]
    assert pbs(as_recorded(), Wish("ann", queues=("qdev",)), spec())[1:] == [
        "✘ queue: there is no queue qdev; there are workq, short, stopped, disabled <pbs.queue>"
    ]


def test_a_site_without_a_default_queue_asks_for_one():
    answers = [said(queue("a") + queue("b")), server(), None]
    assert pbs(answers, ANN, spec())[1:] == ["✘ queue: there is no default one; name one of a, b <pbs.queue>"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("disabled", "✘ queue disabled: takes no jobs now (not enabled, started); ask your site when it will, or name another"
                     " <pbs.queue>"),
        ("stopped", "! queue stopped: enabled, not started; 1 node of 16 cores and 16 GiB; 2 nodes of 8 cores and 8 GiB;"
                    " no job of yours now\nit takes jobs and starts none: they wait until the site opens it <pbs.queue>"),
    ],
)  # fmt: skip
def test_a_queue_that_takes_or_starts_nothing(name, told):
    assert told in pbs(as_recorded(), Wish("ann", queues=(name,)), spec())


def test_a_queue_for_others_is_told_before_submission():
    answers = [said(queue(acl_user_enable="True", acl_users="bob")), server(default_queue="q"), None]
    assert "✘ queue q: is for the users bob; name another queue <pbs.queue>" in pbs(answers, ANN, spec())


def test_a_server_that_schedules_nothing():
    answers = [said(queue(enabled="True")), server(default_queue="q", scheduling="False"), None]
    assert pbs(answers, ANN, spec())[1] == (
        "! queue q: enabled, started; no job of yours now\n"
        "the server starts no jobs at present (scheduling is off): jobs wait until the site changes that"
    )


def test_nodes_that_are_all_down():
    nodes = said("n1\n     state = down\n     resources_available.ncpus = 4\n\n")
    answers = [said(queue(enabled="True")), server(default_queue="q"), nodes]
    assert pbs(answers, ANN, spec())[1].endswith(
        "its nodes are all down or set aside: jobs wait until that changes <pbs.queue>"
    )
    wish = Wish("ann", resources={"model": "bro"})
    answers[2] = said(
        "n1\n     state = free\n     resources_available.model = has\n     resources_available.ncpus = 4\n\n"
    )
    assert "no node is as it asks: jobs wait" in pbs(answers, wish, spec())[1]


def test_a_system_that_does_not_answer_is_one_clear_row():
    def ask(command: Command) -> Output:
        if "--version" in command.argv:
            return said("slurm 22.05.8")
        return Output(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")

    told = [line(found) for found in Doctor(SlurmBackend.driver, spec(), ROOT, "slurm", "partition", ask).findings()]
    assert told == [
        "✔ commands: sbatch, squeue, scancel, scontrol (SLURM 22.05.8)",
        "✘ partition: SLURM does not answer, so nothing can be submitted now; jobs that run go on\n"
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    ]


def test_commands_that_fail_to_tell_their_version_are_there_all_the_same():
    def ask(command: Command) -> Output:
        return Output(255, "", "Connection refused\nqstat: cannot connect to server hal (errno=15010)\n")

    told = [line(found) for found in Doctor(PbsBackend.driver, spec(), ANN, "pbs", "queue", ask).findings()]
    assert told[0] == "✔ commands: qsub, qstat, qdel"
    assert told[1].startswith("✘ queue: PBS does not answer")


def test_a_system_that_tells_nothing_of_its_queues_is_no_failure():
    assert slurm([None] * 6, ROOT, spec(), jobs="")[1:] == [
        "! partition: SLURM tells nothing of its partitions; no job of yours now",
        "✔ job: 1 worker, 1 core, 1.22 GiB",
    ]


# Whether a job fits


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"job": {"walltime": "2h"}}, "asks for 2h, and short allows 5m"),
        ({"worker": {"cores": 64, "memory": "1 GiB"}}, "asks for 64 cores on one node, and the largest node has 8 cores"),
        ({"worker": {"cores": 1, "memory": "4 GiB"}},
         "asks for 4.22 GiB on one node, and the largest node has 3.91 GiB"),
        ({"worker": {"cores": 1, "memory": "1 GiB", "gpus": 1}}, "asks for 1 GPU on one node, and no node has any"),
    ],
)  # fmt: skip
def test_a_job_that_fits_nowhere_is_told_with_its_key(asked, told):
    key = (
        "job.walltime"
        if "job" in asked
        else f"worker.{'gpus' if 'GPU' in told else 'memory' if 'GiB' in told else 'cores'}"
    )
    lines = slurm(PLAIN, Wish("root", queues=("short",)), spec(**asked))
    assert f"✘ job: {told}; ask for less, or name another partition <{key}>" in lines


def test_a_walltime_over_what_an_account_allows():
    without_qos = [*ACCOUNTED[:5], said("normal||||\n")]
    lines = slurm(without_qos, ROOT, spec(job={"walltime": "3h"}))
    assert (
        "✘ job: asks for 3h, and your limits allow 2h; ask for less, or name another partition <job.walltime>" in lines
    )


def test_what_is_to_be_changed_is_how_many_workers_share_a_job_where_one_alone_would_fit():
    four = {"worker": {"cores": 4, "memory": "1 GiB"}, "job": {"workers_per_job": 4}}
    assert any("<job.workers_per_job>" in told for told in slurm(PLAIN, ROOT, spec(**four)))
    node = {"worker": {"cores": 4, "memory": "1 GiB"}, "node": {"cores": 24, "memory": "64 GiB"}}
    assert any(
        "asks for 24 cores on one node" in told and "<node.cores>" in told for told in slurm(PLAIN, ROOT, spec(**node))
    )


def test_a_job_that_no_node_alone_can_hold():
    answers = [said(queue(enabled="True")), server(default_queue="q"), said(
        "thin\n     resources_available.ncpus = 64\n     resources_available.mem = 2gb\n\n"
        "fat\n     resources_available.ncpus = 2\n     resources_available.mem = 512gb\n\n"
    )]  # fmt: skip
    lines = pbs(answers, ANN, spec(worker={"cores": 16, "memory": "64 GiB"}))
    assert (
        "✘ job: asks for 16 cores, 64.2 GiB on one node, and no node has all of that; ask for less, or name another queue"
        in (lines[-1])
    )


def test_a_queue_has_bounds_on_both_sides():
    text = queue(resources_max__ncpus="4", resources_max__mem="2gb", resources_min__walltime="02:00:00", enabled="True")
    answers = [said(text), server(default_queue="q"), None]
    lines = pbs(answers, ANN, spec(worker={"cores": 8, "memory": "4 GiB"}, job={"walltime": "1h"}))
    assert [told.split(";")[0] for told in lines if told.startswith("✘")] == [
        "✘ job: asks for 1h, and q is for jobs of 2h and more",
        "✘ job: asks for 8 cores, and q allows 4 cores",
        "✘ job: asks for 4.22 GiB, and q allows 2 GiB",
    ]


def test_of_several_partitions_one_has_to_fit():
    both = Wish("root", queues=("short", "debug"))
    assert any(told.startswith("✔ job") for told in slurm(PLAIN, both, spec(job={"walltime": "2h"})))


# All of it


def test_both_backends_tell_all_of_it(home, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    found = list(PbsBackend().problems(spec(backend="pbs"), PbsOptions()))
    assert [step.title for step in found][:2] == ["commands", "queue"]
    assert {"python", "log folder", "state folder", "encryption", "scheduler address"} <= {step.title for step in found}
