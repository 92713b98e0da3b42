"""What a real OpenPBS answered (``samples/pbs``), and what it means."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterhub.errors import ClusterhubError, QueueFull, SubmitRejected
from clusterhub_backends.batch.driver import ArrayTooLarge, Ending, JobState, Output, Submission, SystemDown
from clusterhub_backends.pbs.driver import PbsDriver, exit_of, records
from clusterhub_backends.pbs.reasons import in_our_words

DRIVER = PbsDriver()
SAMPLES = Path(__file__).parent / "samples" / "pbs"
ONE, MANY = Submission("ch0g0", 1, "#!/bin/bash\n"), Submission("ch0g1", 100, "#!/bin/bash\n")


def text(name):
    return (SAMPLES / name).read_bytes().decode(errors="replace")


def recorded(name):
    """Every command of a transcript, with what it left."""
    parts = re.split(r"^\$ (?=\w)", text(name), flags=re.MULTILINE)[1:]
    for part in parts:
        command, _, rest = part.partition("\n--- stdout\n")
        stdout, _, rest = rest.partition("--- stderr\n")
        stderr, _, code = rest.rpartition("--- rc=")
        yield command, Output(int(code), stdout, stderr)


def answer(name, command):
    return next(output for said, output in recorded(name) if said == command)


def ok(stdout):
    return Output(0, stdout, "")


def bad(stderr, code=1):
    return Output(code, "", stderr)


def jobs(name):
    return {job.id: job for job in DRIVER.listed(ok(text(name)))}


def as_text(name):
    """A JSON sample in the text form, each value on one line."""
    lines = []
    for id_, record in json.loads(text(name))["Jobs"].items():
        lines.append(f"Job Id: {id_}")
        for key, value in record.items():
            for inner, leaf in value.items() if isinstance(value, dict) else [(None, value)]:
                lines.append(f"    {key}{f'.{inner}' if inner else ''} = {leaf}")
    return "\n".join(lines) + "\n\n"


# Submissions


def test_one_job_is_no_array_and_many_are_one_submission():
    assert DRIVER.submit(ONE).argv == ("qsub",)
    assert DRIVER.submit(MANY).argv == ("qsub", "-J", "0-99")
    assert DRIVER.submit(MANY).stdin == MANY.script


@pytest.mark.parametrize(
    ("said", "id_"),
    [("39.pbshost\n", "39.pbshost"), ("30[].pbshost\n", "30[].pbshost"), ("Welcome to eddies\n31.a.b-c\n", "31.a.b-c")],
)
def test_the_id_of_a_submission(said, id_):
    assert DRIVER.submitted(ONE, ok(said)) == id_


def test_a_submission_without_an_id_is_looked_for():
    with pytest.raises(SystemDown):
        DRIVER.submitted(ONE, ok("thank you\n"))


@pytest.mark.parametrize(
    ("command", "meaning", "because"),
    [
        ("qsub -q nosuch s.sh", "no such queue", "pbs.queue"),
        ("qsub -q disabled s.sh", "takes no jobs", "pbs.queue"),
        ("qsub -l walltime=02:00:00 s.sh", "less walltime, cores or memory", "pbs.queue"),
        ("qsub -l select=1:ncpus=1:ngpuz=1 s.sh", "no such resource", "pbs.resources"),
        ("qsub -l nosuchres=3 s.sh", "no such resource", "pbs.resources"),
        ("qsub -l select=1:ncpus=1 -l ncpus=4 s.sh", "old and new style", "pbs.resources"),
        ("qsub -l select=1:ncpus=1:mem=10XB s.sh", "a value", "pbs.resources"),
        ("qsub -l walltime=banana s.sh", "that walltime", "job.walltime"),
        ("qsub -N 'a name with spaces' s.sh", "a directive", "pbs.directives"),
        ("qsub -W group_list=nosuchgrp s.sh", "not in that group", "pbs.directives"),
        ("qsub --nosuch s.sh", "a directive", "pbs.directives"),
        ("qsub crlf.sh", "line ends of Windows", "environment.setup"),
        ("qsub dirbad.sh", "a directive", "pbs.directives"),
        ("qsub -l place=weird s.sh", "a value", "pbs.resources"),
    ],
)
def test_a_refusal_is_told_in_our_words_with_the_key_that_decides_it(command, meaning, because):
    with pytest.raises(SubmitRejected, match=meaning) as refused:
        DRIVER.submitted(ONE, answer("reject.txt", command))
    assert refused.value.because == because
    assert refused.value.source.startswith("qsub: ")
    assert "usage:" not in refused.value.source


@pytest.mark.parametrize("name", ["reject.txt", "array_bad.txt"])
def test_every_recorded_submission_is_understood(name):
    for command, output in recorded(name):
        if "qsub" not in command:
            continue
        if output.code == 0:
            assert re.fullmatch(r"\d+(\[\])?\.pbshost", DRIVER.submitted(ONE, output))
        elif "PBS_SERVER" in command:
            with pytest.raises(SystemDown):
                DRIVER.submitted(ONE, output)
        else:
            with pytest.raises(SubmitRejected):
                DRIVER.submitted(ONE, output)


def test_root_is_refused_for_good():
    with pytest.raises(SubmitRejected, match="root"):
        DRIVER.submitted(ONE, bad("qsub: Bad UID for job execution\n", 175))


def test_an_array_that_is_too_large_for_the_site():
    with pytest.raises(ArrayTooLarge):
        DRIVER.submitted(MANY, answer("array_bad.txt", "qsub -J 0-20000 a.pbs"))


@pytest.mark.parametrize(
    "words",
    [
        "qsub: would exceed complex's per-user limit",
        "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state",
        "qsub: Maximum number of jobs for user ann already in queue workq",
        "qsub: would exceed per-user limit on resource ncpus in complex",
    ],
)
def test_a_limit_on_jobs_is_a_state_and_no_refusal(words):
    with pytest.raises(QueueFull) as full:
        DRIVER.submitted(MANY, bad(words, 38))
    assert full.value.limit is None
    assert full.value.source == words


def test_the_figure_of_a_limit_is_kept_where_a_site_tells_it():
    with pytest.raises(QueueFull) as full:
        DRIVER.submitted(MANY, bad("qsub: would exceed your limit of 300 jobs", 38))
    assert full.value.limit == 300


DOWN = [
    Output(162, "", "Connection refused\nqsub: cannot connect to server pbsn1 (errno=15010)\n"),
    Output(255, "", "Connection refused\nqstat: cannot connect to server pbsn1 (errno=15010)\n"),
    Output(160, "", "Unknown Host.\nqsub: cannot connect to server nosuchhost (errno=15008)\n"),
    Output(204, "", "qdel: Request not allowed: Server shutting down 5.pbshost\n"),
]


@pytest.mark.parametrize("output", DOWN)
def test_a_server_that_is_away_is_no_news(output):
    for read in (lambda: DRIVER.submitted(ONE, output), lambda: DRIVER.listed(output)):
        with pytest.raises(SystemDown):
            read()
    for read in (lambda: DRIVER.detailed(output), lambda: DRIVER.cancelled(output)):
        with pytest.raises(SystemDown):
            read()


def test_half_an_answer_is_no_news_either():
    with pytest.raises(SystemDown):
        DRIVER.listed(Output(255, text("live_run.txt"), DOWN[1].stderr))
    with pytest.raises(SystemDown):
        DRIVER.listed(Output(139, text("live_run.txt"), ""))


# Listings


def test_arrays_are_listed_by_themselves_and_a_user_by_a_table():
    assert DRIVER.listing("ann", ["27[].h", "31.h"]).argv == ("qstat", "-f", "-t", "27[].h", "31.h")
    assert DRIVER.listing("ann", []).argv[-2:] == ("-u", "ann")
    assert "-f" not in DRIVER.listing("ann", []).argv  # it conflicts with -u


def test_a_running_job():
    (job,) = DRIVER.listed(ok(text("qstat_running.txt")))
    assert (job.id, job.array, job.index, job.name) == ("1.pbshost", "1.pbshost", 0, "running")
    assert (job.state, job.where, job.restarts, job.reason) == (JobState.RUNNING, "pbshost", 0, "")
    (live,) = DRIVER.listed(ok(text("live_run.txt")))
    assert (live.id, live.state, live.where) == ("1005.pbshost", JobState.RUNNING, "pbshost")


def test_one_that_can_never_run():
    (job,) = DRIVER.listed(ok(text("live_never.txt")))
    assert job.state is JobState.PENDING
    assert job.never
    assert job.reason == "needs 64 cores, and there are 32"
    assert job.source == "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 32 T: 32)"


def test_members_of_an_array_are_told_apart_and_the_array_itself_is_none():
    found = jobs("live_arr_t.txt")
    assert list(found) == [f"1007[{index}].pbshost" for index in range(4)]
    assert {job.array for job in found.values()} == {"1007[].pbshost"}
    assert [job.index for job in found.values()] == [0, 1, 2, 3]
    assert [job.state for job in found.values()] == [JobState.RUNNING, *[JobState.PENDING] * 3]
    assert found["1007[3].pbshost"].reason == "waits for its turn in its array"
    assert {job.name for job in found.values()} == {"s.sh"}


def test_several_jobs_of_one_answer():
    assert {job.id: job.state for job in DRIVER.listed(ok(text("live_three.txt")))} == {
        "1005.pbshost": JobState.RUNNING,
        "1006.pbshost": JobState.PENDING,
    }  # and an array without its members, which is no job


def test_the_wide_form_whatever_users_wrote():
    found = jobs("qstat_fw.txt")
    assert list(found) == [f"{number}.pbshost" for number in range(796, 804)]
    assert [job.name for job in found.values()] == ["vars", "123", "STDIN", "STDIN", "true", "bigV", "multi", "nl"]
    assert found["802.pbshost"].where == "pbshost,pbsn1"


def test_a_finished_array_tells_of_each_member_that_ran():
    found = jobs("array_t_finished.txt")
    ends = {job.index: job.exit for job in found.values()}
    assert ends[3].code == 7
    assert ends[4].ending is Ending.CANCELLED
    assert {index for index, end in ends.items() if end.ending is Ending.OK} == {0, 1, 2, *range(5, 13)}


def test_a_finished_array_without_its_members_is_no_job():
    assert DRIVER.listed(ok(text("array_parent_finished.txt"))) == ()
    assert DRIVER.listed(ok(as_text("array_parent_running.json"))) == ()


@pytest.mark.parametrize(
    ("sample", "id_", "reason", "never"),
    [
        ("waiting", "5", "needs 8 free cores, 6 are free", False),
        ("bigcpu", "3", "needs 64 cores, and there are 32", True),
        ("bigmem", "2", "needs 100 GiB of memory, and there is 32 GiB", True),
        ("manychunks", "6", "needs 100 cores, and there are 32", True),
        ("badhost", "11", "needs host nosuch, which no node has", True),
        ("stopped", "7", "its queue is stopped; it starts when the site starts the queue", False),
        ("held", "8", "is held by you; qrls lets it go", False),
        ("dep", "9", "waits for another job", False),
        ("later", "10", "waits until Sun Nov 22 09:21:00 2026", False),
    ],
)
def test_why_a_job_waits(sample, id_, reason, never):
    (job,) = DRIVER.listed(ok(as_text(f"qstat_pending_{sample}.json")))
    assert (job.id, job.state, job.reason, job.never) == (f"{id_}.pbshost", JobState.PENDING, reason, never)


def test_all_of_them_in_one_answer():
    found = jobs_of_json("qstat_all.json")
    assert {id_ for id_, job in found.items() if job.state is JobState.RUNNING} == {"1.pbshost", "4.pbshost"}
    assert found["4.pbshost"].where == "pbshost,pbsn1,pbsn2"
    assert all(job.reason for job in found.values() if job.state is JobState.PENDING)
    assert jobs_of_json("qstat_running.json") == jobs("qstat_running.txt")


def jobs_of_json(name):
    return {job.id: job for job in DRIVER.listed(ok(as_text(name)))}


def test_when_a_job_starts_is_in_the_zone_of_the_server_which_is_ours():
    (later,) = DRIVER.listed(ok(as_text("qstat_pending_later.json")))
    assert later.starts == datetime(2026, 11, 22, 9, 21).astimezone()
    estimate = "Job Id: 5.h\n    job_state = Q\n    estimated.start_time = {}\n\n"
    (new,) = DRIVER.listed(ok(estimate.format("Mon Nov  2 09:21:00 2026")))
    (old,) = DRIVER.listed(ok(estimate.format("1795400000")))
    assert new.starts == datetime(2026, 11, 2, 9, 21).astimezone()
    assert old.starts == datetime.fromtimestamp(1795400000, UTC)


def test_a_member_that_waits_has_the_exit_of_its_array_which_is_not_its_own():
    waiting = jobs_of_json("array_sub80_queued.json")["27[80].pbshost"]
    assert (waiting.state, waiting.exit) == (JobState.PENDING, None)
    deleted = jobs_of_json("array_sub90_afterqdel.json")["27[90].pbshost"]
    assert deleted.state is JobState.DONE
    assert (deleted.exit.ending, deleted.exit.ran, deleted.exit.code) == (Ending.CANCELLED, False, None)


@pytest.mark.parametrize(
    ("sample", "id_", "ending", "code"),
    [
        ("array_sub3_failed.json", "27[3].pbshost", Ending.EXIT, 7),
        ("array_sub3_finished.json", "27[3].pbshost", Ending.EXIT, 7),
        ("array_sub4_afterqdel.json", "27[4].pbshost", Ending.CANCELLED, None),
    ],
)
def test_how_a_member_ended_while_its_array_lives_and_after(sample, id_, ending, code):
    found = jobs_of_json(sample)[id_]
    assert (found.state, found.exit.ending, found.exit.code) == (JobState.DONE, ending, code)


def test_of_several_ids_those_that_are_gone_are_left_out_and_tell_by_the_code():
    finished = answer("qstat_finished_noX.txt", "qstat 12.pbshost")
    unknown = answer("qstat_finished_noX.txt", "qstat 999999")
    both = Output(153, text("live_run.txt"), finished.stderr + unknown.stderr)
    assert [job.id for job in DRIVER.listed(both)] == ["1005.pbshost"]
    assert DRIVER.listed(finished) == ()
    assert DRIVER.detailed(unknown) == {}


def test_a_table_of_a_user():
    found = DRIVER.listed(ok(text("qstat_table.txt").split("\npbshost: \n")[1]))
    assert [job.id for job in found] == [f"{number}.pbshost" for number in range(1, 12)]
    assert {job.name for job in found} >= {"running", "bigmem", "manychunks", "badhost"}
    states = {job.name: job.state for job in found}
    assert (states["running"], states["held"]) == (JobState.RUNNING, JobState.PENDING)


def test_a_wide_table_tells_members_apart_and_drops_the_name_of_a_server_that_is_cut():
    row = "{:<30} ann             workq           ch3f2a1c9dg2         --     1     4    --  00:10 Q   -- \n"
    table = "".join(row.format(id_) for id_ in ["27[].pbs", "27[0].pbs", "9999999[12].a-very-long-serv*", "31.pbs"])
    found = DRIVER.listed(ok("\npbs: \n" + table))
    assert [(job.id, job.array, job.index) for job in found] == [
        ("27[0].pbs", "27[].pbs", 0),
        ("9999999[12]", "9999999[]", 12),
        ("31.pbs", "31.pbs", 0),
    ]
    assert {job.name for job in found} == {"ch3f2a1c9dg2"}


# Ends


@pytest.mark.parametrize(
    ("sample", "ending", "code", "signal"),
    [
        ("ok", Ending.OK, 0, None), ("exit3", Ending.EXIT, 3, None), ("cmdnotfound", Ending.EXIT, 127, None),
        ("badshebang", Ending.EXIT, 127, None), ("badS", Ending.EXIT, 254, None), ("segv", Ending.SIGNAL, None, 11),
        ("selfkill9", Ending.SIGNAL, None, 9), ("walltime", Ending.WALLTIME, None, None),
        ("wttrap", Ending.WALLTIME, None, None), ("mem", Ending.MEMORY, None, None),
        ("qdel", Ending.CANCELLED, None, 15), ("qdeltrap", Ending.CANCELLED, None, 15),
        ("qdel_while_pending", Ending.CANCELLED, None, None), ("badoutdir", Ending.OK, 0, None),
        ("rootout", Ending.OK, 0, None),
    ],
)  # fmt: skip
def test_how_a_job_ended(sample, ending, code, signal):
    (found,) = DRIVER.detailed(ok(text(f"qstat_x_{sample}.txt"))).values()
    assert found.state is JobState.DONE
    assert (found.exit.ending, found.exit.code, found.exit.signal) == (ending, code, signal)
    assert found.exit.ran == (sample != "qdel_while_pending")
    (same,) = DRIVER.detailed(ok(as_text(f"qstat_x_{sample}.json"))).values()
    assert same == found


def test_a_log_that_could_not_be_delivered_is_told_of():
    (found,) = DRIVER.detailed(ok(text("qstat_x_rootout.txt"))).values()
    assert "log could not be delivered" in found.exit.words


RAN = {"job_state": "F", "exec_host": "n1/0"}


@pytest.mark.parametrize(
    ("record", "ending"),
    [
        ({"Exit_status": "271", "comment": "Job run at x"}, Ending.SIGNAL),
        (
            {"Exit_status": "271", "resources_used.walltime": "00:10:03", "Resource_List.walltime": "00:10:00"},
            Ending.WALLTIME,
        ),
        ({"Exit_status": "265", "resources_used.mem": "2097160kb", "Resource_List.mem": "2gb"}, Ending.MEMORY),
        ({"Exit_status": "143"}, Ending.SIGNAL),
        ({"Exit_status": "255"}, Ending.EXIT),
        ({"Exit_status": "-1"}, Ending.LAUNCH),
        ({"Exit_status": "-3"}, Ending.LAUNCH),
        ({"Exit_status": "-10"}, Ending.LAUNCH),
        ({"Exit_status": "-4"}, Ending.NODE),
        ({"Exit_status": "-26"}, Ending.MEMORY),
        ({"Exit_status": "-25"}, Ending.SIGNAL),
        ({"substate": "91"}, Ending.CANCELLED),
        ({}, Ending.UNKNOWN),
        ({"Exit_status": "banana"}, Ending.UNKNOWN),
    ],
)
def test_ends_that_were_not_recorded_but_are_documented(record, ending):
    assert exit_of(RAN | record).ending is ending


def test_details_are_asked_of_history_and_then_without():
    one, array = "31.h", [f"27[{index}].h" for index in range(100)]
    assert [command.argv for command in DRIVER.details([one, *array])] == [
        ("qstat", "-f", "-x", "-t", "31.h", "27[].h"),
        ("qstat", "-f", "-t", "31.h", "27[].h"),
    ]
    assert DRIVER.details(["27[4].h"])[0].argv[-1] == "27[4].h"


def test_a_site_without_history_knows_nothing_and_says_so_with_code_0():
    assert DRIVER.detailed(Output(0, "", "qstat: PBS is not configured to maintain job history 5.pbshost\n")) == {}


# Cancelling


def test_cancelling_takes_many_and_neighbours_as_ranges():
    ids = ["31.h", *[f"27[{index}].h" for index in (9, 4, 5, 6)], "28[0].h", "29[].h", "31.h"]
    (command,) = DRIVER.cancel(ids)
    assert command.argv == ("qdel", "31.h", "29[].h", "27[4-6].h", "27[9].h", "28[0].h")
    commands = DRIVER.cancel([f"{number}.h" for number in range(450)])
    assert [len(command.argv) - 1 for command in commands] == [200, 200, 50]
    assert DRIVER.cancel([]) == []


@pytest.mark.parametrize("name", ["array.txt", "qdel_pending.txt", "qdel_running.txt", "qstat_finished_noX.txt"])
def test_every_recorded_deletion_of_what_is_gone_is_forgiven(name):
    for command, output in recorded(name):
        if command.startswith("qdel") and "nonsense" not in command:
            DRIVER.cancelled(output)


def test_a_deletion_that_is_denied_is_an_error():
    with pytest.raises(ClusterhubError, match="Unauthorized"):
        DRIVER.cancelled(bad("qdel: Unauthorized Request  5.h\nqdel: Unknown Job Id 6.h\n", 159))
    with pytest.raises(ClusterhubError, match="nonsense"):
        DRIVER.cancelled(answer("qstat_finished_noX.txt", "qdel nonsense"))


# Whatever comes


VALUE = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=300)


@given(VALUE, st.lists(st.integers(1, 299), max_size=5))
def test_a_value_is_whole_again_wherever_it_was_broken(value, places):
    broken = value
    for place in sorted({place for place in places if place < len(value)}, reverse=True):
        broken = f"{broken[:place]}\n\t{broken[place:]}"
    ((id_, record),) = records(f"Job Id: 5.h\n    comment = {broken}\n    job_state = Q\n\n")
    assert (id_, record["comment"], record["job_state"]) == ("5.h", value, "Q")


@given(st.text() | st.text("Job Id:[]0123456789.=-_ \n\tQRFXBabe", max_size=300))
def test_whatever_a_listing_holds_it_is_read_or_left_out(garbage):
    DRIVER.listed(ok(garbage))
    DRIVER.detailed(ok("Job Id: 5[3].h\n    job_state = F\n    exec_host = a\n" + garbage))
    for name in ("Exit_status", "estimated.start_time", "exec_host", "run_count", "comment"):
        DRIVER.listed(ok(f"Job Id: 5.h\n    job_state = Q\n    {name} = {garbage}\n"))


@given(st.text(), st.sampled_from("QHWTSUM"))
def test_a_reason_is_never_empty(comment, state):
    assert in_our_words(comment, state)


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("Not Running: Insufficient amount of resource: ncpus (R: 24 A: 6 T: 8000)", "needs 24 free cores, 6 are free"),
        ("Not Running: Insufficient amount of resource: ncpus (R: 24 A: 1 T: 8000)", "needs 24 free cores, 1 is free"),
        ("Not Running: Insufficient amount of resource: mem (R: 64gb A: 8388608kb T: 1tb)",
         "needs 64 GiB of free memory, 8 GiB is free"),
        ("Not Running: Insufficient amount of queue resource: ngpus (R: 2 A: 0 T: 8)", "needs 2 free GPUs, 0 are free"),
        ("Not Running: Insufficient amount of resource: licence", "needs more licence than there are free"),
        ("Not Running: User has reached server running job limit.", "you have as many running jobs as the site allows"),
        ("Not Running: User has reached queue workq running job limit.",
         "you have as many running jobs as the queue workq allows"),
        ("Not Running: Not enough free nodes available", "not enough nodes are free; some may be down"),
        ("Not Running: Job would conflict with reservation or top job",
         "would delay a reservation, or a job whose turn is before its own"),
        ("Not Running: would exceed user ann's limit on resource ncpus in complex",
         "all the cores that you, or your queue, may use at once are in use"),
        ("", "waits for the scheduler's next look"),
        ("Something new", "waits (Something new)"),
    ],
)  # fmt: skip
def test_reasons_in_our_words(comment, words):
    assert in_our_words(comment) == words


def test_many_submissions_are_listed_as_one_table_with_the_comments_below_their_jobs():
    command = DRIVER.listing("ann", [f"{number}.pbshost" for number in range(100)])
    assert command.argv == ("qstat", "-s", "-w", "-t", "-u", "ann")
    _, _, with_comments, _ = text("qstat_table.txt").split("\n\npbshost: \n")
    jobs = {job.name: job for job in DRIVER.listed(Output(0, with_comments, ""))}
    assert jobs["waiting"].reason == "needs 8 free cores, 6 are free"
    assert jobs["bigmem"].never
    assert (jobs["running"].state, jobs["running"].reason) == (JobState.RUNNING, "")
    assert jobs["held"].reason == "is held"
