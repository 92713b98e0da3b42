"""What people are told of a batch system and of their host before anything is submitted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clusterhub import ClusterSpec, Finding
from clusterhub.versions import here as versions_here
from clusterhub_backends.batch import addresses, interpreters, places, surroundings
from clusterhub_backends.batch.doctor import Doctor
from clusterhub_backends.batch.driver import Command, Output, SystemDown
from clusterhub_backends.batch.places import Seen, place_of
from clusterhub_backends.batch.queues import Wish
from clusterhub_backends.batch.surroundings import Surroundings
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


# This host


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose folders are all on NFS, and that has one address."""
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/"), "nfs4"))
    monkeypatch.setattr(surroundings, "named_addresses_here", lambda: {"10.12.0.2": "ib0"})


def around(logs: Path, **said: Any) -> list[str]:
    return [line(found) for found in Surroundings(spec(backend="slurm", **said), logs).findings()]


def test_a_host_where_all_is_well(home, shared):
    ours = versions_here()
    told = around(home / "logs", environment={"python": sys.executable})
    assert told[:3] == [
        f"✔ python: {sys.executable} {ours['python']}, dask {ours['dask']} (here: {ours['dask']})",
        "✔ log folder: ~/logs writable (nfs4)",
        "✔ state folder: ~/.local/state/clusterhub writable (nfs4)",
    ]
    assert told[3].startswith("✔ encryption: TLS, with keys of each cluster's own (cryptography ")
    assert told[4:] == ["✔ scheduler address: 10.12.0.2 (ib0)"]
    assert list(home.iterdir()) == []


def test_several_addresses_are_worth_a_remark_unless_one_is_named(home, shared, monkeypatch):
    found = {"10.12.0.2": "ib0", "192.168.0.12": "eth0"}
    monkeypatch.setattr(surroundings, "named_addresses_here", lambda: found)
    monkeypatch.setattr(surroundings, "interfaces_here", lambda: [("lo", "127.0.0.1"), ("ib0", "10.12.0.2")])
    assert around(home)[-1] == (
        "! scheduler address: 2 candidates: 10.12.0.2 (ib0), 192.168.0.12 (eth0)\n"
        "jobs take the first that answers them; network.interface names one"
    )
    assert around(home, network={"interface": "ib0"})[-1] == "✔ scheduler address: 10.12.0.2 (ib0)"
    assert around(home, network={"interface": "ib7"})[-1] == (
        "✘ scheduler address: there is no interface ib7 here that is up; there are lo, ib0 <network.interface>"
    )
    assert (
        "! scheduler address: 127.0.0.1 (lo), which no other host reaches"
        in around(home, network={"interface": "lo"})[-1]
    )


def test_docker_and_its_like_are_no_candidates(monkeypatch):
    found = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "192.168.0.12"), ("ib0", "10.12.0.2")]
    monkeypatch.setattr(addresses, "interfaces_here", lambda: found)
    monkeypatch.setattr(addresses, "_of_the_default_route", lambda: "10.12.0.2")
    assert addresses.named_addresses_here() == {"10.12.0.2": "ib0", "192.168.0.12": "eth0"}
    assert addresses.addresses_here() == ("10.12.0.2", "192.168.0.12")
    monkeypatch.setattr(addresses, "interfaces_here", lambda: found[:2])
    assert addresses.named_addresses_here() == {"127.0.0.1": "lo"}


def test_folders_that_every_host_has_its_own_of_are_worth_a_remark(home, monkeypatch):
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/dev/shm"), "tmpfs"))
    told = around(Path("/dev/shm/logs"))
    assert any(
        found
        == "! log folder: /dev/shm/logs is in /dev/shm (tmpfs), of which every host has its own: logs stay on the nodes,"
        " or jobs fail; name one that nodes see <storage.logs>"
        for found in told
    )
    assert any(found.startswith("! state folder: ") and "set CLUSTERHUB_STATE" in found for found in told)


def test_a_log_folder_that_cannot_be_written_is_a_failure(shared):
    told = next(found for found in around(Path("/proc/none/logs")) if "log folder" in found)
    assert told.startswith("✘ log folder: /proc/none/logs cannot be written (/proc: ")
    assert told.endswith("); name a folder that this host and the nodes can write <storage.logs>")


def test_a_file_system_without_room_is_a_failure(home, shared, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", full)
    told = around(home / "logs", storage={"scratch": str(home)})
    assert any(found.startswith("✘ log folder: ~/logs cannot be written") for found in told)
    assert any("scratch" in found and "No space left on device" in found for found in told)


def test_a_state_folder_that_cannot_be(shared, home, monkeypatch):
    monkeypatch.setenv("CLUSTERHUB_STATE", "relative")
    assert any(found.startswith("✘ state folder: CLUSTERHUB_STATE: ") for found in around(home))


@pytest.mark.parametrize(
    ("scratch", "told"),
    [
        ("$TMPDIR", "✔ scratch: $TMPDIR, which expands on the node, and was not looked at here"),
        ("~", "✔ scratch: ~ writable on this host; nodes have their own, or the same"),
        ("/proc/scratch", "✘ scratch: /proc/scratch cannot be written (/proc: No such file or directory); name a folder that jobs"
                          " may write to, as $TMPDIR <storage.scratch>"),
    ],
)  # fmt: skip
def test_scratch(home, shared, scratch, told):
    assert told in around(home, storage={"scratch": scratch})


def test_a_directory_is_told_of_only_where_nodes_may_not_find_it(home, shared, monkeypatch):
    assert not any("directory" in found for found in around(home, environment={"directory": str(home)}))
    told = around(home, environment={"directory": "/no/such/folder"})
    assert any(
        found.startswith("! directory: /no/such/folder is not on this host; whether nodes have it") for found in told
    )
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/dev/shm"), "tmpfs"))
    assert any("workers may not find it" in found for found in around(home, environment={"directory": "/dev/shm"}))


def test_traffic_that_is_not_encrypted_is_worth_a_remark(home, shared):
    told = around(home, network={"tls": False})
    assert any(found.startswith("! encryption: off: whoever reaches the scheduler's port can") for found in told)


def test_keys_cannot_be_made_without_cryptography(home, shared, monkeypatch):
    def missing(package: str) -> str:
        raise surroundings.PackageNotFoundError(package)

    monkeypatch.setattr(surroundings, "version", missing)
    assert any('✘ encryption: keys are made with cryptography' in found and 'pip install "clusterhub[slurm]"' in found
               for found in around(home))  # fmt: skip


def test_inside_a_job_a_keeper_beside_us_ends_with_it(home, shared, monkeypatch):
    monkeypatch.setenv("PBS_JOBID", "81.hal")
    assert not any("this host: " in found for found in around(home))
    assert around(home, lifecycle={"host": "process"})[-1] == (
        "! this host: this is inside a job, with which a keeper beside us ends; leave lifecycle.host auto, or write job"
        " <lifecycle.host>"
    )


# Python


def python(home: Path, script: str) -> str:
    path = home / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def told_of(home: Path, said: str, **environment: Any) -> str:
    return next(found for found in around(home, environment={"python": said, **environment}) if " python: " in found)


def test_a_python_that_is_not_here_may_be_on_the_nodes(home, shared):
    assert told_of(home, "/softs/pangeo/bin/python") == (
        "! python: /softs/pangeo/bin/python is not on this host; whether nodes have it, clusterhub check --start tells"
        " <environment.python>"
    )
    assert told_of(home, "no-such-python", setup=["module load conda"]) == (
        "! python: no-such-python is found on the node; whether nodes have it, after its setup lines,"
        " clusterhub check --start tells <environment.python>"
    )
    assert told_of(home, "$CONDA_PREFIX/bin/python").startswith(
        "✔ python: $CONDA_PREFIX/bin/python, which expands on the node"
    )


def test_a_python_of_this_host_alone_may_differ_on_the_nodes(home, shared, monkeypatch):
    monkeypatch.setattr(places, "_mounted", lambda real, mounts: (Path("/"), "ext4"))
    assert told_of(home, sys.executable).endswith("); that is this host, nodes may differ")


def test_a_python_whose_variable_the_profile_gives_is_looked_at(home, shared):
    prefix = str(Path(sys.executable).parent)
    assert told_of(home, "$ENV/python", variables={"ENV": prefix}).startswith(
        f"✔ python: $ENV/python {versions_here()['python']}"
    )


def test_a_python_without_dask_is_a_failure_unless_setup_may_bring_it(home, shared):
    without = """echo '{"versions": {"python": "3.9.1", "dask": null, "distributed": null}, "ssl": true}'"""
    path = python(home, without)
    assert told_of(home, path) == (
        f"✘ python: {path} 3.9.1 has no dask and no distributed; install them there, in the versions that you have here,"
        " or name another python <environment.python>"
    )
    assert told_of(home, path, setup=["module load dask"]).startswith("! python: ")


def test_versions_that_differ_are_worth_a_remark(home, shared):
    ours = versions_here()
    theirs = {**ours, "distributed": "2025.1.0"}
    import json

    path = python(home, f"echo '{json.dumps({'versions': theirs, 'ssl': True})}'")
    assert told_of(home, path) == (
        f"! python: {path} {ours['python']}, dask {ours['dask']} (here: {ours['dask']})\n"
        f"distributed is 2025.1.0 there and {ours['distributed']} here; install the same in both <environment.python>"
    )


def test_a_python_that_cannot_speak_tls(home, shared):
    answer = """echo '{"versions": {"python": "3.12.1", "dask": "1", "distributed": "1"}, "ssl": false}'"""
    assert "cannot speak TLS" in told_of(home, python(home, answer))


def test_a_python_that_fails_or_hangs_is_told_with_its_words(home, shared, monkeypatch):
    path = python(home, "echo 'libpython3.so: cannot open shared object file' >&2; exit 127")
    assert told_of(home, path) == (
        f"✘ python: {path} does not run on this host\nlibpython3.so: cannot open shared object file <environment.python>"
    )
    assert "does not run on this host without its setup lines" in told_of(home, path, setup=["module load x"])
    monkeypatch.setattr(interpreters, "PATIENCE", 0.2)
    assert "it did not start within 0.2 s" in told_of(home, python(home, "exec sleep 30"))


def test_nothing_of_our_environment_reaches_the_probe_but_what_the_profile_says(home, shared, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    path = python(home, 'echo "$PYTHONPATH-$SAID" >&2; exit 1')
    assert "\n-yes " in told_of(home, path, variables={"SAID": "yes"})


# File systems

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /dev/shm rw,nosuid - tmpfs tmpfs rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 22 0:41 / /work\\040area rw - lustre 10.0.0.1@tcp:/work rw
32 22 0:42 / /scratch rw - fuse.glusterfs g:/s rw
33 22 0:43 / /tmp rw - nfs server:/tmp rw
34 22 0:44 / /auto rw - autofs systemd-1 rw
35 34 0:45 / /auto rw - nfs4 server:/auto rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "seen"),
    [
        ("/home/ann/logs", "nfs4", Seen.SHARED),
        ("/work area/x", "lustre", Seen.SHARED),
        ("/scratch/x", "fuse.glusterfs", Seen.SHARED),
        ("/dev/shm/x", "tmpfs", Seen.LOCAL),
        ("/var/tmp/x", "ext4", Seen.LOCAL),
        ("/tmp/x", "nfs", Seen.SHARED),
        ("/auto/x", "nfs4", Seen.SHARED),
        ("/opt/x", "ext4", Seen.UNKNOWN),
        ("/homework/x", "ext4", Seen.UNKNOWN),
    ],
)
def test_which_folders_nodes_probably_see(tmp_path, path, kind, seen):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    place = place_of(Path(path), mounts)
    assert (place.kind, place.seen) == (kind, seen)


def test_a_host_without_a_list_of_mounts_knows_of_tmp_only(tmp_path):
    assert place_of(Path("/opt"), tmp_path / "none").seen is Seen.UNKNOWN
    assert place_of(Path("/tmp/x"), tmp_path / "none").seen is Seen.LOCAL


def test_a_link_is_where_it_leads(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path.resolve()}/far rw - nfs4 b rw\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert place_of(tmp_path / "near" / "logs", mounts).seen is Seen.SHARED


# All of it


def test_both_backends_tell_all_of_it(home, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    found = list(PbsBackend().problems(spec(backend="pbs"), PbsOptions()))
    assert [step.title for step in found][:2] == ["commands", "queue"]
    assert {"python", "log folder", "state folder", "encryption", "scheduler address"} <= {step.title for step in found}
