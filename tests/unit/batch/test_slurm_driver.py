"""What SLURM 22.05 answered, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub.errors import ClusterhubError, QueueFull, SubmitRejected
from clusterhub_backends.batch.driver import ArrayTooLarge, Ending, JobState, Output, Submission, SystemDown
from clusterhub_backends.slurm.driver import SlurmDriver
from clusterhub_backends.slurm.reasons import NEVER, in_our_words

DRIVER = SlurmDriver()
ONE, MANY = Submission("ch0g0", 1, "#!/bin/bash\n"), Submission("ch0g1", 100, "#!/bin/bash\n")


def ok(text):
    return Output(0, text, "")


def bad(text, code=1):
    return Output(code, "", text)


def test_one_job_is_no_array_and_many_are_one_submission():
    assert DRIVER.submit(ONE).argv == ("sbatch", "--parsable")
    assert DRIVER.submit(MANY).argv == ("sbatch", "--parsable", "--array=0-99")
    assert DRIVER.submit(MANY).stdin == MANY.script


@pytest.mark.parametrize(("text", "id_"), [("30\n", "30"), ("30;cluster2\n", "30"), ("a greeting\n31\n", "31")])
def test_the_id_of_a_submission(text, id_):
    assert DRIVER.submitted(ONE, ok(text)) == id_


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
        ("Something new", "refuses", ""),
    ],
)
def test_a_refusal_is_told_in_our_words_with_the_key_that_decides_it(words, meaning, because):
    with pytest.raises(SubmitRejected, match=meaning) as refused:
        DRIVER.submitted(ONE, bad(f"sbatch: error: Batch job submission failed: {words}"))
    assert refused.value.because == because
    assert words in refused.value.source


@pytest.mark.parametrize(
    "words",
    [
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
    assert "30_7" not in found


def test_how_a_job_ended_by_accounting():
    found = DRIVER.detailed(ok("30_4|ch0g1|FAILED|83:0|n1\n31|ch0g2|CANCELLED by 1000|0:0|None assigned\n"))
    assert found["30_4"].exit.code == 83
    assert found["31"].exit.ending is Ending.CANCELLED
    assert DRIVER.detailed(bad("Slurm accounting storage is disabled")) == {}


def test_cancelling_is_in_bulk_and_forgives_those_that_are_gone():
    commands = DRIVER.cancel([f"30_{index}" for index in range(450)])
    assert [len(command.argv) - 1 for command in commands] == [200, 200, 50]
    DRIVER.cancelled(bad("scancel: error: Kill job error on job id 30: Invalid job id specified"))
    with pytest.raises(ClusterhubError, match="denied"):
        DRIVER.cancelled(bad("scancel: error: Access/permission denied"))


@given(st.text())
def test_whatever_a_listing_holds_it_is_read_or_left_out(text):
    DRIVER.listed(ok(text))
    DRIVER.detailed(ok(text))


@given(st.text())
def test_a_reason_is_never_empty(reason):
    assert in_our_words(reason)


def test_what_never_ends_is_told_as_such():
    line = "9|9|N/A|PENDING|N/A|UNLIMITED||PartitionTimeLimit|x\n10|10|N/A|PENDING|N/A|1-00:00:00||Priority|x\n"
    assert [job.never for job in DRIVER.listed(ok(line))] == [True, False]
    assert not NEVER & {"Resources", "Priority", "ReqNodeNotAvail"}
