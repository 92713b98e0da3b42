"""The job that a keeper is: its script, run by a real bash, what it is called, and what its ends mean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clusterhub.backend import KeeperCommand, Leaf, UnitState
from clusterhub.profile import resolve
from clusterhub_backends.batch.commands import surroundings
from clusterhub_backends.batch.driver import (
    Ending,
    Exit,
    Job,
    JobState,
    Output,
    Rejected,
    Submission,
    SystemDown,
)
from clusterhub_backends.batch.keeper_job import SubmittedKeeper, keeper_name
from clusterhub_backends.batch.names import key_of_worker, prefix_of, submission_name
from clusterhub_backends.batch.roster import Roster
from clusterhub_backends.pbs.driver import PbsDriver, records
from clusterhub_backends.slurm.driver import SlurmDriver

UID = "3f2a1c9d" * 4
SAMPLES = Path(__file__).parent / "samples" / "pbs"
COMMAND = KeeperCommand((sys.executable, "-c", "print('the keeper')"), {"CLUSTERHUB_STATE": "/a b/state"})


def planned(backend="slurm", **said):
    lifecycle = {"host": "job", **said.pop("lifecycle", {})}
    resolved = resolve(backend, {"lifecycle": lifecycle, "storage": {"logs": "/logs"}, **said})
    plan = resolved.backend.plan("eddies", resolved.spec, resolved.options)
    return resolved.backend, plan.model_copy(update={"uid": UID, "values": tuple(resolved.leaves())})


def document(backend="slurm", command=COMMAND, **said):
    made, plan = planned(backend, **said)
    return made.keeper_document(plan, command).text


def directives(text):
    return [line.partition(" ")[2] for line in text.splitlines() if line.startswith(("#SBATCH", "#PBS"))]


# What it is called


def test_it_is_found_with_the_jobs_of_its_cluster_and_is_none_of_them():
    name = keeper_name(UID)
    assert name.startswith(prefix_of(UID))
    assert len(name) <= 15
    assert name not in {submission_name(UID, number) for number in range(36**3)}
    assert key_of_worker(f"{name}-0-r0") is None
    roster = Roster(prefix_of(UID), 1, 60.0)
    roster.see_jobs([Job("7", "7", 0, name, JobState.RUNNING)], ["7"])
    assert list(roster) == []


# What it asks for


def test_it_asks_for_little_by_default_and_where_the_workers_do():
    found = directives(document(slurm={"partition": "compute", "account": "ocean"}, job={"walltime": "12h"}))
    asked = {"--job-name=ch3f2a1c9dgK", "--partition=compute", "--account=ocean", "--cpus-per-task=1", "--mem=2048M"}
    assert asked | {"--time=12:00:00", "--no-requeue", "--export=ALL"} <= set(found)
    assert "--output=/logs/eddies/ch3f2a1c9dgK.log" in found
    found = directives(document("pbs", pbs={"queue": "qdev", "project": "tides"}))
    assert {"-N ch3f2a1c9dgK", "-q qdev", "-P tides", "-l select=1:ncpus=1:mem=2048mb", "-r n"} <= set(found)
    assert not any("walltime" in line for line in found), "the site's default was not left to the site"


def test_what_is_said_of_it_counts_and_the_hardware_of_the_workers_does_not():
    job = {"queue": "services", "walltime": "2d", "cores": 2, "memory": "8 GiB"}
    slurm = {
        "partition": "gpu",
        "gres": "gpu:2",
        "constraint": "ib",
        "nodelist": "n7",
        "reservation": "r",
        "qos": "long",
    }
    found = directives(
        document(lifecycle={"job": job}, slurm={**slurm, "directives": ["--mail-type=FAIL"]}, worker={"gpus": 1})
    )
    asked = {"--partition=services", "--time=2-00:00:00", "--cpus-per-task=2", "--mem=8192M", "--qos=long"}
    assert asked | {"--mail-type=FAIL"} <= set(found)
    assert not [line for line in found if re.match("--(gres|constraint|nodelist|reservation)", line)]
    pbs = {
        "queue": "gpu",
        "resources": {"model": "bro"},
        "chunks": ["1:ncpus=1"],
        "place": "scatter",
        "account": "ocean",
    }
    found = directives(document("pbs", lifecycle={"job": job}, pbs=pbs))
    assert {"-q services", "-l select=1:ncpus=2:mem=8192mb", "-l walltime=48:00:00", "-A ocean"} <= set(found)
    assert not any("place" in line for line in found)


# Its script


def run(text, **variables):
    environment = {"PATH": "/usr/bin:/bin", "HOSTNAME": "n1", **variables}
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=environment, timeout=60)


def test_it_runs_the_command_in_the_callers_directory_with_what_that_needs_and_nothing_else(monkeypatch, tmp_path):
    here = tmp_path / "it's here"
    here.mkdir()
    (here / "sbatch").write_text("#!/bin/sh\n")
    (here / "sbatch").chmod(0o755)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    monkeypatch.setenv("SLURM_CONF", "/etc/my slurm.conf")
    show = "import os; print(os.getcwd(), os.environ['SLURM_CONF'], os.environ['CLUSTERHUB_STATE'], os.environ['PATH'])"
    text = document(command=KeeperCommand((sys.executable, "-c", show), COMMAND.environment))
    done = run(text)
    assert done.stdout.splitlines()[-1] == f"{here} /etc/my slurm.conf /a b/state /usr/bin:/bin:{here}"
    assert "hunter2" not in text


def test_the_keeper_takes_the_place_of_the_shell_so_that_signals_reach_it():
    text = document(command=KeeperCommand((sys.executable, "-c", "import os; print(os.getpid())")))
    process = subprocess.Popen(["bash", "-c", text], stdout=subprocess.PIPE, text=True)
    assert int(process.communicate(timeout=60)[0].splitlines()[-1]) == process.pid


def test_it_gives_up_where_the_node_does_not_see_what_it_needs(monkeypatch, tmp_path):
    done = run(document(command=KeeperCommand(("/no/such/python", "-c", ""))))
    assert done.returncode == 83
    assert "there is no /no/such/python on n1" in done.stderr
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    text = document()
    gone.rmdir()
    assert run(text).returncode == 80


# What commands get to see


def test_commands_are_not_led_astray_by_an_allocation_around_us_nor_by_habits_of_the_shell():
    ours = {"HOME": "/h", "PATH": "/bin", "SLURM_CONF": "/c", "PBS_SERVER": "hal", "PBS_CONF_FILE": "/p"}
    theirs = {
        "SLURM_JOB_ID": "7", "SLURM_MEM_PER_CPU": "100", "SLURMD_NODENAME": "n1", "SBATCH_PARTITION": "other",
        "SQUEUE_PARTITION": "other", "SCANCEL_STATE": "RUNNING", "SACCT_FORMAT": "JobID", "PBS_JOBID": "81.hal",
        "PBS_O_WORKDIR": "/w", "PBS_DPREFIX": "#X",
    }  # fmt: skip
    assert surroundings(ours | theirs) == ours


# Where we are


def test_the_shell_of_a_mere_salloc_is_beside_its_job_and_not_in_it():
    assert SlurmDriver().inside({"SLURM_JOB_ID": "7"}) == ""
    assert SlurmDriver().inside({"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}) == "7"
    assert PbsDriver().inside({"PBS_JOBID": "27[5].hal"}) == "27[5].hal"
    assert PbsDriver().inside({}) == ""


def test_the_end_of_a_job_follows_from_what_the_system_says_of_it():
    assert SlurmDriver().ends(Output(0, "1795632858\n", "")).timestamp() == 1795632858
    assert SlurmDriver().ends(Output(0, "NONE\n", "")) is None
    assert SlurmDriver().ends(Output(1, "", "slurm_load_jobs error: Invalid job id specified")) is None
    text = (SAMPLES / "qstat_running.txt").read_text()
    ((_, record),) = list(records(text))[:1]
    ends = PbsDriver().ends(Output(0, text, ""))
    assert record["Resource_List.walltime"] == "00:05:00"
    assert f"{ends:%a %b %d} {ends:%H:%M:%S}" == "Sun Nov 22 08:26:32"
    assert PbsDriver().ends(Output(153, "", "qstat: Unknown Job Id 9.pbshost")) is None


# What the queue says of it


class Replies:
    """Answers commands by their first word, in the order in which they are given."""

    def __init__(self, **replies):
        self.replies = {name: list(said) for name, said in replies.items()}
        self.asked = []

    def __call__(self, command):
        self.asked.append(command.argv)
        said = self.replies[command.argv[0]]
        reply = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


def job_of(replies, **said):
    backend, plan = planned(**said)
    return SubmittedKeeper(backend.driver, plan, Path("/logs/none.log"), replies)


def listed(state, reason="None", name="ch3f2a1c9dgK"):
    return Output(0, f"12|12|N/A|{state}|N/A|1:00:00||{reason}|{name}\n", "")


async def test_a_lost_answer_is_looked_for_by_name_until_the_queue_answers(monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.keeper_job.FIND_INTERVAL", 0.0)
    down = Output(1, "", "Unable to contact slurm controller (connect failure)")
    replies = Replies(sbatch=[down], squeue=[down, listed("RUNNING")])
    assert await job_of(replies).submit("script") == "12"
    assert [argv[0] for argv in replies.asked] == ["sbatch", "squeue", "squeue"]


async def test_a_submission_that_the_queue_does_not_know_of_is_an_outage():
    down = Output(1, "", "Unable to contact slurm controller (connect failure)")
    replies = Replies(sbatch=[down], squeue=[listed("RUNNING", name="ch00000000gK")])
    with pytest.raises(SystemDown, match="did not take the keeper's job"):
        await job_of(replies).submit("script")


@pytest.mark.parametrize(
    ("words", "said", "key"),
    [
        ("Invalid partition name specified", {"lifecycle": {"job": {"queue": "x"}}}, "lifecycle.job.queue"),
        ("Invalid partition name specified", {"slurm": {"partition": "x"}}, "slurm.partition"),
        ("Requested time limit is invalid", {"lifecycle": {"job": {"walltime": "9d"}}}, "lifecycle.job.walltime"),
        ("Requested time limit is invalid", {"job": {"walltime": "9d"}}, "job.walltime"),
        ("More processors requested than permitted", {"lifecycle": {"job": {"cores": 99}}}, "lifecycle.job.cores"),
        ("Invalid account or account/partition combination", {"slurm": {"account": "x"}}, "slurm.account"),
    ],
)
async def test_a_refusal_names_the_key_that_decides_it_for_this_job_and_where_it_was_written(words, said, key):
    replies = Replies(sbatch=[Output(1, "", f"sbatch: error: Batch job submission failed: {words}")])
    with pytest.raises(Rejected) as refused:
        await job_of(replies, **said).submit("script")
    assert refused.value.because == key
    assert f"because  call  {key} = " in str(refused.value)
    assert words in refused.value.source


def test_a_host_that_may_not_submit_is_told_apart_from_a_job_that_is_wrong():
    said = Output(1, "", "sbatch: error: Batch job submission failed: Access/permission denied")
    with pytest.raises(Rejected, match="not from this host"):
        SlurmDriver().submitted(Submission("ch3f2a1c9dg0", 1, ""), said)
    said = Output(1, "", "qsub: Access from host not allowed, or unknown host")
    with pytest.raises(Rejected, match="the host of the keeper may not submit jobs"):
        PbsDriver().submitted(Submission("ch3f2a1c9dg0", 1, ""), said)


async def test_a_job_of_another_name_under_its_id_is_not_taken_for_it():
    other = Output(0, "JobId=12 JobName=other JobState=COMPLETED ExitCode=0:0 Reason=None\n", "")
    replies = Replies(squeue=[listed("RUNNING", name="other")], scontrol=[other], sacct=[Output(1, "", "disabled")])
    assert await job_of(replies).unit("12") is None


async def test_it_waits_with_the_queues_reason_and_runs_on_a_node():
    unit = await job_of(Replies(squeue=[listed("PENDING", "Resources")])).unit("12")
    assert (unit.state, unit.source) == (UnitState.PENDING, "Resources")
    assert unit.reason == "waits for enough free cores and memory"
    unit = await job_of(Replies(squeue=[listed("RUNNING")])).unit("12")
    assert unit.state is UnitState.RUNNING


@pytest.mark.parametrize(
    ("end", "summary", "because"),
    [
        (Exit(Ending.CANCELLED), "was cancelled from outside", ""),
        (Exit(Ending.WALLTIME), "reached its walltime", "job.walltime"),
        (Exit(Ending.MEMORY), "ran out of memory", "lifecycle.job.memory"),
        (Exit(Ending.SIGNAL, signal=9), "was killed, most likely out of memory", "lifecycle.job.memory"),
        (Exit(Ending.SIGNAL, signal=11), "ended by signal 11", ""),
        (Exit(Ending.NODE), "was lost with its node", ""),
        (Exit(Ending.LAUNCH), "could not be started by the system", "storage.logs"),
        (Exit(Ending.EXIT, 80), "cannot enter the directory", ""),
        (Exit(Ending.EXIT, 83), "does not find the Python that you run", "lifecycle.host"),
        (Exit(Ending.EXIT, 85), "does not find the folder of the cluster", ""),
        (Exit(Ending.EXIT, 1), "ended with exit code 1", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_end_has_a_cause(end, summary, because, tmp_path):
    backend, plan = planned(job={"walltime": "1h"})
    log = tmp_path / "keeper.log"
    log.write_text("the last words\n")
    job = SubmittedKeeper(backend.driver, plan, log)
    unit = job._unit(Job("12", "12", 0, job.name, JobState.DONE, exit=end))
    assert unit.state is UnitState.FAILED
    assert summary in unit.failure.summary
    assert unit.failure.because == because
    assert unit.failure.log_tail == ("the last words",)
    assert unit.failure.next_step


async def test_ending_one_that_the_queue_does_not_know_is_no_error():
    replies = Replies(squeue=[Output(0, "", "")], scancel=[Output(0, "", "")])
    await job_of(replies).end()
    assert [argv[0] for argv in replies.asked] == ["squeue"]
    replies = Replies(squeue=[listed("PENDING")], scancel=[Output(0, "", "")])
    await job_of(replies).end()
    assert replies.asked[-1] == ("scancel", "12")


def test_other_addresses_of_the_host_follow_the_schedulers_own():
    backend, _ = planned()
    first, *others = backend.addresses("tls://10.1.2.3:4567")
    assert first == "tls://10.1.2.3:4567"
    assert all(address.startswith("tls://") and address.endswith(":4567") for address in others)


def test_leaves_know_where_a_key_of_the_job_was_written():
    _, plan = planned(lifecycle={"job": {"queue": "x"}})
    assert Leaf("lifecycle.job.queue", "x", "call", is_default=False) in plan.values
