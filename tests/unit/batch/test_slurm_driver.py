"""What SLURM 22.05 answered, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub.errors import ClusterhubError, QueueFull, SubmitRejected
from clusterhub_backends.batch.driver import ArrayTooLarge, Ending, JobState, Output, Submission, SystemDown
from clusterhub_backends.slurm.driver import SlurmDriver
from clusterhub_backends.slurm.reasons import in_our_words

DRIVER = SlurmDriver()
POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    " (job submit limit, user's size and/or time limits)"
)
ONE, MANY = Submission("ch0g0", 1, "#!/bin/bash\n"), Submission("ch0g1", 100, "#!/bin/bash\n")


def ok(text):
    return Output(0, text, "")


def bad(text, code=1):
    return Output(code, "", text)


def test_one_job_is_no_array_and_many_are_one_submission():
    assert DRIVER.submit(ONE).argv == ("sbatch", "--parsable")
    assert DRIVER.submit(MANY).argv == ("sbatch", "--parsable", "--array=0-99")
    assert DRIVER.submit(MANY).stdin == MANY.script


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("30\n", "30"),
        ("30;cluster2\n", "30"),
        ("a greeting\n31\n", "31"),
        ("--> checking your 3 projects... OK\n31\nsee also: 5 pages of news\n", "31"),
        ("Submitted batch job 32\n", "32"),
        ("Submitted batch job 33 on cluster lab\n", "33"),
    ],
)
def test_the_id_of_a_submission_whatever_a_site_says_around_it(text, id_):
    assert DRIVER.submitted(ONE, ok(text)) == id_


@pytest.mark.parametrize("text", ["", "thank you\n"])
def test_a_submission_that_gave_no_id_is_to_be_found_by_its_name(text):
    with pytest.raises(SystemDown, match="no id"):
        DRIVER.submitted(ONE, ok(text))


@pytest.mark.parametrize(
    ("words", "meaning", "because"),
    [
        ("Requested node configuration is not available", "memory", "worker"),
        ("More processors requested than permitted", "cores", "worker.cores"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "walltime", "job.walltime"),
        ("Invalid partition name specified", "partition", "slurm.partition"),
        ("Invalid account or account/partition combination specified", "account", "slurm.account"),
        ("Invalid qos specification", "qos", "slurm.qos"),
        ("Invalid generic resource (gres) specification", "generic resource", "slurm.gres"),
        ("Invalid feature specification", "features", "slurm.constraint"),
        ("Invalid node name specified", "node", "slurm.nodelist"),
        ("Requested reservation is invalid", "reservation", "slurm.reservation"),
        ("Required partition not available (inactive or drain)", "partition", "slurm.partition"),
        ("Requested partition configuration not available now", "partition", "slurm.partition"),
        ("User's group not permitted to use this partition", "group", "slurm.partition"),
        ("Memory required by task is not available", "memory", "worker.memory"),
        ("Requested account has breached requested QOS usage threshold", "more than the qos", "slurm.qos"),
        ("Access/permission denied", "does not let you", ""),
        ("Something new", "refuses", ""),
    ],
)
def test_a_refusal_is_told_in_our_words_with_the_key_that_decides_it(words, meaning, because):
    with pytest.raises(SubmitRejected, match=meaning) as refused:
        DRIVER.submitted(ONE, bad(f"sbatch: error: Batch job submission failed: {words}"))
    assert refused.value.because == because
    assert words in refused.value.source


@pytest.mark.parametrize(
    ("words", "meaning", "because"),
    [
        ("sbatch: error: Memory specification can not be satisfied\n"
         "sbatch: error: Batch job submission failed: Requested node configuration is not available",
         "so much memory", "worker.memory"),
        ("sbatch: unrecognized option '--foo'\nTry \"sbatch --help\" for more information", "directive",
         "slurm.directives"),
        ("sbatch: error: Invalid --mem specification", "directive", "slurm.directives"),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}", "more time than a job may have", "job.walltime"),
        (f"sbatch: error: QOSMaxCpuPerJobLimit\n{POLICY}", "more cores than a job may have", "worker.cores"),
        (f"sbatch: error: QOSMinGRES\n{POLICY}", "demands more GPUs", "worker.gpus"),
        (f"sbatch: error: AssocGrpCpuLimit\n{POLICY}", "uses all the cores that it may", "slurm.account"),
    ],
    ids=lambda value: value if "." in value and " " not in value else "",
)  # fmt: skip
def test_what_sbatch_says_before_the_refusal_makes_it_more_precise(words, meaning, because):
    with pytest.raises(SubmitRejected, match=meaning) as refused:
        DRIVER.submitted(ONE, bad(words))
    assert refused.value.because == because


@pytest.mark.parametrize(
    "words",
    [
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        f"sbatch: error: QOSGrpSubmitJobsLimit\n{POLICY}",
        f"sbatch: error: MaxSubmitJobsPerAccount\n{POLICY}",
        POLICY,  # as older versions say it, of whatever limit
        "sbatch: error: Slurm job queue full, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Unable to create job record, try again",
        "sbatch: error: Batch job submission failed: MaxJobCount limit reached",
        "sbatch: error: Batch job submission failed: System submissions disabled",
        "sbatch: error: AssocGrpSubmitJobsLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_limit_on_jobs_is_a_state_and_no_refusal(words):
    with pytest.raises(QueueFull):
        DRIVER.submitted(MANY, bad(words))


def test_an_array_that_is_too_large_for_the_site():
    with pytest.raises(ArrayTooLarge):
        DRIVER.submitted(MANY, bad("sbatch: error: Batch job submission failed: Invalid job array specification"))


@pytest.mark.parametrize(
    "words",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
        "slurm_load_jobs error: Rate limit exceeded, please retry later",
        'squeue: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory\n'
        "slurm_load_jobs error: Protocol authentication error",
        "sbatch: error: Batch job submission failed: Communication connection failure",
    ],
)
def test_a_controller_that_is_away_is_no_news(words):
    for read in (lambda: DRIVER.listed(bad(words)), lambda: DRIVER.submitted(ONE, bad(words))):
        with pytest.raises(SystemDown):
            read()
    for read in (lambda: DRIVER.detailed(bad(words)), lambda: DRIVER.cancelled(bad(words))):
        with pytest.raises(SystemDown):
            read()


LISTING = """\
30_4|30|4|PENDING|1795400000|12:00:00|(null)|Resources|ch0g1
30_0|30|0|RUNNING|1795390000|12:00:00|n1|None|ch0g1
31|31|N/A|COMPLETING|1795390000|12:00:00|n2|None|ch0g2
5_[0-1]|5|0-1|CANCELLED|N/A|12:00:00||PartitionDown|ch0g3
40_[2-3,7%2]|40|2-3,7%2|PENDING|N/A|12:00:00||JobArrayTaskLimit|ch0g4
50|50|N/A|FAILED|1795390000|12:00:00|n1|NonZeroExitCode|a | name with | bars
slurm plugin: hello
"""


def test_a_listing_tells_members_apart():
    jobs = {job.id: job for job in DRIVER.listed(ok(LISTING))}
    assert set(jobs) == {"30_4", "30_0", "31", "5_0", "5_1", "40_2", "40_3", "40_7", "50"}
    pending = jobs["30_4"]
    assert (pending.state, pending.array, pending.index, pending.name) == (JobState.PENDING, "30", 4, "ch0g1")
    assert (pending.source, pending.starts) == ("Resources", datetime.fromtimestamp(1795400000, UTC))
    assert "free" in pending.reason
    assert (jobs["30_0"].state, jobs["30_0"].where, jobs["30_0"].source) == (JobState.RUNNING, "n1", "")
    assert jobs["31"].state is JobState.ENDING
    assert {jobs["5_0"].state, jobs["5_1"].state} == {JobState.DONE}
    assert jobs["50"].name == "a | name with | bars"


def test_a_job_that_was_purged_is_no_outage():
    assert DRIVER.listed(bad("slurm_load_jobs error: Invalid job id specified")) == ()


SHOWN = """\
JobId=31 ArrayJobId=30 ArrayTaskId=4 JobName=ch0g1 UserId=a(1) JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=83:0 NodeList=n1 BatchHost=n1
JobId=32 ArrayJobId=30 ArrayTaskId=5 JobName=ch0g1 JobState=FAILED Reason=JobLaunchFailure Restarts=0 ExitCode=0:53 NodeList=n2
JobId=33 ArrayJobId=30 ArrayTaskId=6 JobName=ch0g1 JobState=TIMEOUT Reason=TimeLimit Restarts=1 ExitCode=0:15 NodeList=n2
JobId=30 ArrayJobId=30 ArrayTaskId=7-9 JobName=ch0g1 JobState=PENDING Reason=Resources Restarts=0 ExitCode=0:0 NodeList=
JobId=60 JobName=ch0g2 JobState=OUT_OF_MEMORY Reason=OutOfMemory Restarts=0 ExitCode=0:125 NodeList=n1
JobId=61 JobName=ch0g3 JobState=FAILED Reason=JobLaunchFailure Restarts=0 ExitCode=0:9 NodeList=n1
JobId=62 JobName=ch0g4 JobState=CANCELLED Reason=None Restarts=0 ExitCode=0:15 NodeList=n1
JobId=63 JobName=ch0g5 JobState=NODE_FAIL Reason=NodeDown Restarts=0 ExitCode=0:0 NodeList=n1
JobId=64 JobName=ch0g6 JobState=COMPLETED Reason=None Restarts=0 ExitCode=0:0 NodeList=n1
"""  # noqa: E501


@pytest.mark.parametrize(
    ("id_", "ending", "code"),
    [
        ("30_4", Ending.EXIT, 83), ("30_5", Ending.LAUNCH, None), ("30_6", Ending.WALLTIME, 0), ("60", Ending.MEMORY, 0),
        ("61", Ending.SIGNAL, 0), ("62", Ending.CANCELLED, 0), ("63", Ending.NODE, 0), ("64", Ending.OK, 0),
    ],
)  # fmt: skip
def test_how_a_job_ended_by_the_controller(id_, ending, code):
    found = DRIVER.detailed(ok(SHOWN))
    assert found[id_].exit is not None
    assert (found[id_].exit.ending, found[id_].exit.code) == (ending, code)
    assert {found[f"30_{index}"].state for index in (7, 8, 9)} == {JobState.PENDING}


def test_members_that_were_cancelled_before_they_were_told_apart_have_an_end_each():
    line = (
        "JobId=5 ArrayJobId=5 ArrayTaskId=0-1,3 ArrayTaskThrottle=2 JobName=ch0g3 JobState=CANCELLED Reason=PartitionDown"
        " Restarts=0 ExitCode=0:0 StartTime=1795632866 NodeList= Comment=JobState=RUNNING JobState=RUNNING"
    )
    by_controller = DRIVER.detailed(ok(line))
    by_accounting = DRIVER.detailed(ok("5_[0-1,3%2]|ch0g3|CANCELLED by 0|0:0|None assigned\n"))
    for found in (by_controller, by_accounting):
        assert set(found) == {"5_0", "5_1", "5_3"}
        assert {(job.exit.ending, job.exit.ran) for job in found.values()} == {(Ending.CANCELLED, False)}


def test_of_members_that_were_cancelled_one_by_one_a_listing_says_nothing_and_accounting_all():
    assert DRIVER.listed(ok("38|38|N/A|CANCELLED|N/A|12:00:00||PartitionDown|ch0g1\n")) == ()
    by_controller = (
        "JobId=38 ArrayJobId=38 ArrayTaskId=4294967294 JobName=ch0g1 JobState=CANCELLED Reason=PartitionDown"
    )
    assert DRIVER.detailed(ok(by_controller)) == {}
    assert set(DRIVER.detailed(ok("38_[0-2]|ch0g1|CANCELLED by 0|0:0|None assigned\n"))) == {"38_0", "38_1", "38_2"}
    # Only the array's own id finds that record.
    assert [command.argv[-1] for command in DRIVER.details(["38_0", "38_2", "40_1"])] == ["38", "40", "38,40"]


def test_how_a_job_ended_by_accounting():
    found = DRIVER.detailed(ok("30_4|ch0g1|FAILED|83:0|n1\n31|ch0g2|CANCELLED by 1000|0:0|None assigned\n"))
    assert found["30_4"].exit.code == 83
    assert found["31"].exit.ending is Ending.CANCELLED
    assert found["31"].where == ""


@pytest.mark.parametrize(
    "words",
    [
        "Slurm accounting storage is disabled",
        "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:10.77.0.1:6819:"
        " Connection refused\nsacct: error: Sending PersistInit msg: Connection refused\n"
        "sacct: error: Problem talking to the database: Connection refused",
    ],
)
def test_accounting_that_is_off_or_away_knows_nothing_and_is_no_outage_of_the_queue(words):
    assert DRIVER.detailed(bad(words)) == {}


def test_accounting_does_not_say_that_a_job_lives_which_the_controller_has_forgotten():
    assert DRIVER.detailed(ok("30_4|ch0g1|RUNNING|0:0|n1\n31|ch0g1|PENDING|0:0|None assigned\n")) == {}


def test_cancelling_is_in_bulk_and_forgives_those_that_are_gone():
    commands = DRIVER.cancel([f"30_{index}" for index in range(450)])
    assert [len(command.argv) - 1 for command in commands] == [200, 200, 50]
    DRIVER.cancelled(bad("scancel: error: Kill job error on job id 30: Invalid job id specified"))
    DRIVER.cancelled(bad("scancel: error: Kill job error on job id 30: Job/step already completing or completed"))
    for words in (
        "Access/permission denied",
        "Kill job error on job id 30: Invalid job id specified\nAccess denied",
        "",
    ):
        with pytest.raises(ClusterhubError, match="denied|ended with 1"):
            DRIVER.cancelled(bad(words))


@given(st.text())
def test_whatever_a_listing_holds_it_is_read_or_left_out(text):
    DRIVER.listed(ok(text))
    DRIVER.detailed(ok(text))


@given(st.text())
def test_a_reason_is_never_empty(reason):
    assert in_our_words(reason)


def test_what_never_ends_is_told_as_such():
    lines = "9|9|N/A|PENDING|N/A|12:00:00||PartitionTimeLimit|x\n10|10|N/A|PENDING|N/A|12:00:00||Priority|x\n"
    jobs = DRIVER.listed(ok(lines))
    assert [(job.never, job.because) for job in jobs] == [(True, "job.walltime"), (False, "")]


WAITING = """\
5|5|N/A|PENDING|1795632866|12:00:00||launch failed requeued held|ch0g1
6|6|N/A|PENDING|1795632874|12:00:00||job requeued in held state|ch0g1
7|7|N/A|REQUEUE_HOLD|N/A|12:00:00||None|ch0g1
8|8|N/A|SUSPENDED|1795632864|12:00:00|n1|None|ch0g1
9|9|N/A|CONFIGURING|1795632864|12:00:00|n1|None|ch0g1
"""


def test_a_job_that_waits_for_more_than_its_turn_says_for_what():
    jobs = {job.id: job for job in DRIVER.listed(ok(WAITING))}
    assert {job.state for job in jobs.values()} == {JobState.PENDING}
    assert [id_ for id_, job in jobs.items() if job.stuck] == ["5", "6", "7"]
    assert "could not be started on its node" in jobs["5"].reason
    assert "suspended" in jobs["8"].reason
    assert (jobs["9"].reason, jobs["9"].source) == ("its node is being started", "CONFIGURING")
    shown = DRIVER.detailed(ok("JobId=5 JobName=ch0g1 JobState=PENDING Reason=launch_failed_requeued_held Restarts=1"))
    assert (shown["5"].stuck, shown["5"].restarts) == (True, 1)


def test_a_state_of_a_version_to_come_is_no_end():
    jobs = DRIVER.listed(ok("9|9|N/A|DANCING|N/A|12:00:00|n1|None|x\n10|10|N/A|DREAMING|N/A|12:00:00||None|x\n"))
    assert [job.state for job in jobs] == [JobState.RUNNING, JobState.PENDING]
