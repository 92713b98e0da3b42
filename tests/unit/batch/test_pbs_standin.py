"""The stand-in for PBS answers as the recorded OpenPBS does."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

import pytest

from clusterhub.errors import QueueFull, SubmitRejected
from clusterhub_backends.batch.driver import ArrayTooLarge, Ending, JobState, Output, Submission, SystemDown
from clusterhub_backends.pbs.driver import PbsDriver, records
from labs.pbs import show
from labs.pbs.lab import Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it lives on /proc")
SAMPLES = Path(__file__).parent / "samples" / "pbs"
DRIVER = PbsDriver()
NODES = {
    "pbshost": {"ncpus": 16, "mem": "16gb"},
    "pbsn1": {"ncpus": 8, "mem": "8gb"},
    "pbsn2": {"ncpus": 8, "mem": "8gb"},
}


def text(name):
    return (SAMPLES / name).read_bytes().decode(errors="replace")


def transcript(name):
    for part in re.split(r"^\$ (?=\w)", text(name), flags=re.MULTILINE)[1:]:
        command, _, rest = part.partition("\n--- stdout\n")
        stdout, _, rest = rest.partition("--- stderr\n")
        stderr, _, code = rest.rpartition("--- rc=")
        yield command, stdout, stderr, int(code)


# What is shown


def exact(shown):
    """Without the values that hold paths: those were shortened after the recording, and broken before."""
    kept, keep = [], True
    for line in shown.split("\n"):
        if not line.startswith("\t"):
            keep = not re.match(r"    (Error_Path|Output_Path|Variable_List) = ", line)
        if keep:
            kept.append(line)
    return kept


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(SAMPLES.glob("*.txt")) if text(path.name).startswith("Job Id: ")]
)
def test_the_text_form_of_every_record(name):
    recorded = text(name)
    wide = name == "qstat_fw.txt"
    shown = "".join(show.full(id_, record, wide=wide) for id_, record in records(recorded))
    assert exact(shown.rstrip("\n")) == exact(recorded.rstrip("\n"))
    assert list(records(shown)) == list(records(recorded))
    if wide:
        assert shown == recorded


def test_the_tables():
    jobs = [(id_, flat(record)) for id_, record in json.loads(text("qstat_all.json"))["Jobs"].items()]
    head = "\n\npbshost: \n"
    plain, alternative, comments, _ = text("qstat_table.txt").split(head)
    assert show.table(jobs) == plain
    assert show.alternative("pbshost", jobs) == f"{head[1:]}{alternative}"
    assert show.alternative("pbshost", jobs, comments=True) == f"{head[1:]}{comments}"


def flat(record):
    """A record of JSON as the text forms have it: ``resources_max.walltime``, and everything a text."""
    found = {}
    for key, value in record.items():
        parts = {f"{key}.{part}": leaf for part, leaf in value.items()} if isinstance(value, dict) else {key: value}
        found |= {name: str(leaf) for name, leaf in parts.items()}
    return found


def shown(text, indent):
    """The records of a text form by name, their attributes in order; a long line goes on behind a tab."""
    found, record = {}, {}
    for line in text.replace("\n\t", "").splitlines():
        if line and not line.startswith(" "):
            record = found[line.rpartition(": ")[2]] = {}
        elif line:
            name, _, value = line.removeprefix(" " * indent).partition(" = ")
            record[name] = value
    return found


def test_a_line_is_broken_where_pbs_breaks_it():
    """As two sites show the same attribute of their queues in public."""
    states = "Transit:0 Queued:0 Held:{} Waiting:0 Running:{} Exiting:0 Begun:{} "
    assert show.wrapped("state_count", states.format(1, 4, 0)).endswith("Exiting:0 Begun\n\t:0 ")
    assert show.wrapped("state_count", states.format(11, 105, 1)).endswith("Exiting:0 Be\n\tgun:1 ")


# A server that starts nothing


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("pbs")


def lab_in(folder):
    folder.mkdir()
    (folder / "home").mkdir()
    return Lab(folder / "lab", folder / "home")


@pytest.fixture(scope="module")
def idle(folders):
    lab = lab_in(folders / "idle")
    files = {
        "s.sh": "#!/bin/bash\nsleep 1\n", "crlf.sh": "#!/bin/bash\r\nsleep 1\r\n", "a.pbs": "#!/bin/bash\nsleep 1\n",
        "dirq.sh": "#!/bin/bash\n#PBS -q nosuch\nsleep 1\n", "dirbad.sh": "#!/bin/bash\n#PBS --bad-opt\nsleep 1\n",
    }  # fmt: skip
    for name, script in files.items():
        (lab.cwd / name).write_bytes(script.encode())
    lab.up(nodes=NODES, scheduling=False)
    yield lab
    lab.down()


def test_the_queues_as_they_were_recorded(idle):
    recorded = {name: flat(record) for name, record in json.loads(text("qstat_Qf.json"))["Queue"].items()}
    told = shown(idle.run("qstat", "-Q", "-f").stdout, 4)
    assert [(name, list(record.items())) for name, record in told.items()] == [
        (name, list(record.items())) for name, record in recorded.items()
    ]
    assert shown(idle.run("qstat", "-Q", "-f", "short").stdout, 4) == {"short": recorded["short"]}
    unknown = idle.run("qstat", "-Q", "-f", "nosuch")
    assert (unknown.returncode, unknown.stdout, unknown.stderr) == (170, "", "qstat: Unknown queue nosuch\n")


def test_the_server_as_it_was_recorded(idle):
    recorded = {name: flat(record) for name, record in json.loads(text("qstat_Bf.json"))["Server"].items()}
    told = shown(idle.run("qstat", "-B", "-f").stdout, 4)
    differs = {"server_state": "Idle", "scheduling": "False", "node_fail_requeue": "1"}  # as this one is set up
    assert told == {name: record | differs for name, record in recorded.items()}
    assert list(told["pbshost"]) == list(recorded["pbshost"])


def test_the_nodes_as_they_were_recorded(idle):
    recorded = {name: flat(record) for name, record in json.loads(text("pbsnodes_av.json"))["nodes"].items()}
    told = shown(idle.run("pbsnodes", "-av").stdout, 5)
    for name, record in told.items():
        moment = time.strptime(record.pop("last_state_change_time"))  # a number of seconds in JSON
        assert moment.tm_year >= 2024
        # JSON leaves out what is assigned to nobody; and the processors are this machine's.
        told[name] = {key: value for key, value in record.items() if not key.startswith("resources_assigned.")}
        told[name]["pcpus"] = recorded[name]["pcpus"]
        del recorded[name]["last_state_change_time"]
    assert told == recorded
    assert [list(record) for record in told.values()] == [list(record) for record in recorded.values()]


def masked(shown):
    return re.sub(r"^\d+(\[\])?\.pbshost$", r"N\1.pbshost", shown, flags=re.MULTILINE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["reject.txt", "array_bad.txt"])
def test_every_submission_that_was_recorded(idle, name):
    for command, stdout, stderr, code in transcript(name):
        words = shlex.split(command)
        variables = dict([words.pop(0).split("=")]) if "=" in words[0] else {}
        if "json" not in words:
            done = idle.run(*words, **variables)
            expected = (masked(stdout), stderr.rstrip("\n"), code)
            assert (masked(done.stdout), done.stderr.rstrip("\n"), done.returncode) == expected, command


def test_what_the_driver_makes_of_it(idle):
    def submit(submission, **variables):
        command = DRIVER.submit(submission)
        done = idle.run(*command.argv, stdin=command.stdin, **variables)
        return DRIVER.submitted(submission, Output(done.returncode, done.stdout, done.stderr))

    script = "#!/bin/bash\n#PBS -N ch3f2a1c9dg2\n{}\nsleep 1\n"
    array = submit(Submission("ch3f2a1c9dg2", 3, script.format("")))
    assert re.fullmatch(r"\d+\[\]\.pbshost", array)
    with pytest.raises(SubmitRejected, match="no such queue"):
        submit(Submission("a", 1, script.format("#PBS -q nosuch")))
    with pytest.raises(ArrayTooLarge):
        submit(Submission("a", 10001, script.format("")))
    idle.fault("max-queued", "10")
    with pytest.raises(QueueFull):
        submit(Submission("a", 11, script.format("")))
    idle.fault("max-queued", "none")
    with pytest.raises(SystemDown):
        submit(Submission("a", 1, script.format("")), PBS_SERVER="pbsn1")
    done = idle.run(*DRIVER.listing(idle.run("id", "-un").stdout.strip(), ()).argv)
    members = [job for job in DRIVER.listed(Output(done.returncode, done.stdout, done.stderr)) if job.array == array]
    assert [(job.index, job.name) for job in members] == [(0, "ch3f2a1c9dg2"), (1, "ch3f2a1c9dg2"), (2, "ch3f2a1c9dg2")]
    assert {job.reason for job in members} == {"waits for the scheduler's next look"}


def test_an_answer_that_is_lost(idle):
    before = idle.run("qstat").stdout.count("\n")
    idle.fault("lose-next-answer", "qsub")
    done = idle.run("qsub", stdin="true\n")
    with pytest.raises(SystemDown):
        DRIVER.submitted(Submission("a", 1, ""), Output(done.returncode, done.stdout, done.stderr))
    assert idle.run("qstat").stdout.count("\n") == before + 1


def test_an_outage_is_told_as_recorded(idle):
    idle.fault("server-down")
    done = idle.run("qstat", "-f")
    assert (done.returncode, done.stderr) == (
        255,
        "Connection refused\nqstat: cannot connect to server pbshost (errno=15010)\n",
    )
    done = idle.run("qsub", stdin="true\n")
    assert (done.returncode, done.stderr) == (
        162,
        "Connection refused\nqsub: cannot connect to server pbshost (errno=15010)\n",
    )
    idle.fault("server-up")
    idle.until(lambda: idle.run("qstat").returncode == 0)


def test_an_outage_ends_by_itself_where_its_time_is_said(idle):
    idle.fault("server-down", "0.5s")
    idle.until(lambda: idle.run("qstat").returncode == 0)


def test_root_is_refused_where_it_is_said_so(idle):
    idle.fault("root-refused", "on")
    done = idle.run("qsub", stdin="true\n")
    idle.fault("root-refused", "off")
    assert (done.returncode, done.stderr) == (
        (175, "qsub: Bad UID for job execution\n") if os.geteuid() == 0 else (0, "")
    )


def test_the_queues_and_the_server(idle):
    shown = idle.run("qstat", "-Q", "-f", "short").stdout
    assert "    resources_max.walltime = 00:02:00\n" in shown
    assert "    max_array_size = 10000\n" in idle.run("qstat", "-B", "-f").stdout
    assert idle.run("qstat", "--version").stdout == "pbs_version = 23.06.06\n"


# One that runs jobs


@pytest.fixture
def pbs(tmp_path):
    lab = lab_in(tmp_path / "pbs")
    lab.up(nodes=NODES, next=12, slow_qdel=0.6, kill_delay=1.0, poll=0.3)
    yield lab
    lab.down()


def ask(lab, command):
    done = lab.run(*command.argv, timeout=120)  # it answers nobody while it starts jobs
    return Output(done.returncode, done.stdout, done.stderr)


def look(lab, *ids):
    """What the driver sees, by id."""
    return {job.id: job for job in DRIVER.listed(ask(lab, DRIVER.listing("", ids)))}


def running(lab, array):
    """How many of its members run."""
    return sum(job.state is JobState.RUNNING for job in look(lab, array).values())


def ended(lab, *ids):
    """How these ended, once they all have."""
    found = {}

    def known():
        for command in DRIVER.details(ids):
            found.update(DRIVER.detailed(ask(lab, command)))
        return all(id_ in found and found[id_].state is JobState.DONE for id_ in ids)

    lab.until(known)
    return [found[id_] for id_ in ids]


def test_finished_and_unknown_jobs_are_told_of_as_recorded(pbs):
    ended(pbs, pbs.submit("true\n", "-N", "ok"), pbs.submit("exit 3\n", "-N", "exit3"))
    for command, stdout, stderr, code in transcript("qstat_finished_noX.txt"):
        if "json" not in command:
            done = pbs.run(*shlex.split(command))
            owner = re.search(r"Job_Owner = (\w+)@", pbs.run("qstat", "-x", "-f", "12").stdout)[1]
            assert done.stdout.replace(f"{owner:<16.16}", f"{'pbsuser':<16}") == stdout, command
            assert (done.stderr, done.returncode) == (stderr, code), command


CASES = {
    "ok": ("true\n", ()),
    "exit3": ("exit 3\n", ()),
    "cmdnotfound": ("nosuchcommand\n", ()),
    "badshebang": ("#!/no/such/shell\ntrue\n", ()),
    "badS": ("true\n", ("-S", "/no/such/shell")),
    "segv": ("kill -SEGV $$\n", ()),
    "selfkill9": ("kill -9 $$\n", ()),
    "walltime": ("sleep 60\n", ("-l", "walltime=00:00:01")),
    "wttrap": ("trap '' TERM\nwhile true; do sleep 1; done\n", ("-l", "walltime=00:00:01")),
    "mem": (
        f"exec {sys.executable} -c 'x = b\"x\" * 2**28; import time; time.sleep(60)'\n",
        ("-l", "select=1:ncpus=1:mem=200mb"),
    ),
    "qdel": ("sleep 60\n", ()),
    "qdeltrap": ("trap '' TERM\nwhile true; do sleep 1; done\n", ()),
    "rootout": ("true\n", ("-o", "/no/such/dir/x.o", "-j", "oe")),
}
SEEN_LATE = {"session_id"}
"""What a job has once the server has looked at its processes."""


def test_ends_are_those_that_were_recorded(pbs):
    ids = {case: pbs.submit(script, *options) for case, (script, options) in CASES.items()}
    big = pbs.submit("true\n", "-l", "select=1:ncpus=1:mem=100gb")
    pbs.until(lambda: look(pbs, ids["qdeltrap"])[ids["qdeltrap"]].state is JobState.RUNNING)
    pbs.until(lambda: look(pbs, big)[big].never)
    time.sleep(0.3)
    for command in DRIVER.cancel([ids["qdel"], ids["qdeltrap"], big]):
        DRIVER.cancelled(ask(pbs, command))
    found = dict(zip(ids, ended(pbs, *ids.values()), strict=True))
    ended(pbs, big)
    shown = dict(records(pbs.run("qstat", "-x", "-f").stdout))
    for case, id_ in {**ids, "qdel_while_pending": big}.items():
        ((_, recorded),) = records(text(f"qstat_x_{case}.txt"))
        ours = shown[id_]
        assert set(ours) - SEEN_LATE == set(recorded) - SEEN_LATE, case
        for name in ("job_state", "substate", "Exit_status", "Stageout_status", "run_count", "Resource_List.place"):
            assert ours.get(name) == recorded.get(name), (case, name)
        assert without_place(ours["comment"]) == without_place(recorded["comment"]), case
    assert (
        "=>> PBS: job killed: walltime 2 exceeded limit 1\n"
        in (pbs.cwd / f"STDIN.e{ids['walltime'].split('.')[0]}").read_text()
    )
    assert re.search(
        r"job killed: mem \d+kb exceeded limit 204800kb", (pbs.cwd / f"STDIN.e{ids['mem'].split('.')[0]}").read_text()
    )
    assert found["walltime"].exit.ending is Ending.WALLTIME
    assert found["mem"].exit.ending is Ending.MEMORY


def without_place(comment):
    comment = re.sub(r"by \S+@", "by USER@", re.sub(r"at \w{3} \w{3} +\d+ at \d\d:\d\d", "at THEN", comment))
    return re.sub(r"on \(pbshost:ncpus=1(:mem=\d+kb)?\)", "on NODE", comment)


def test_why_jobs_wait_is_told_in_the_recorded_words(pbs):
    filler = pbs.submit("sleep 600\n", "-l", "select=3:ncpus=8", "-l", "place=scatter")
    two = pbs.submit("sleep 600\n", "-l", "select=1:ncpus=2:mem=512MB")
    asked = {
        "bigmem": ("-l", "select=1:ncpus=1:mem=100gb"), "bigcpu": ("-l", "select=1:ncpus=64"),
        "waiting": ("-l", "select=1:ncpus=8"), "manychunks": ("-l", "select=100:ncpus=1"), "stopped": ("-q", "stopped"),
        "held": ("-h",), "dep": ("-W", "depend=afterok:1.pbshost"), "badhost": ("-l", "select=1:host=nosuch:ncpus=1"),
    }  # fmt: skip
    ids = {case: pbs.submit("true\n", *options) for case, options in asked.items()}
    later = pbs.submit("true\n", "-a", time.strftime("%H%M", time.localtime(time.time() + 3600)))
    pbs.until(lambda: all(job.source for job in look(pbs, ids["badhost"]).values()))
    for case, id_ in ids.items():
        ((_, record),) = records(pbs.run("qstat", "-f", id_).stdout)
        (recorded,) = json.loads(text(f"qstat_pending_{case}.json"))["Jobs"].values()
        assert record.get("comment") == recorded.get("comment"), case
        assert record["job_state"] == recorded["job_state"], case
        assert {name.partition(".")[0] for name in record} - {"resources_used"} == set(recorded), case
        assert record["substate"] == str(recorded["substate"]), case
    assert look(pbs, later)[later].starts is not None
    assert look(pbs, filler)[filler].where == "pbshost,pbsn1,pbsn2"
    ((_, record),) = records(pbs.run("qstat", "-f", two).stdout)
    assert (record["exec_host"], record["exec_vnode"]) == ("pbshost/1*2", "(pbshost:ncpus=2:mem=524288kb)")
    assert record["Resource_List.mem"] == "512mb"


@pytest.mark.timeout(600)
def test_an_array_lives_and_ends_as_recorded(pbs):
    array = pbs.submit(
        "[[ $PBS_ARRAY_INDEX == 3 ]] && exit 7\nsleep 600\n", "-J", "0-39", "-l", "select=1:ncpus=1:mem=50mb"
    )
    assert array == "12[].pbshost"
    ids = [f"12[{index}].pbshost" for index in range(40)]
    pbs.until(lambda: running(pbs, array) == 32, patience=120)
    seen = look(pbs, array)
    assert seen[ids[39]].reason == "waits for its turn in its array"
    (failed,) = ended(pbs, ids[3])
    assert failed.exit.code == 7
    for operand, words, code in (
        ("12[200].pbshost", "qdel: Invalid request 12[200].pbshost\n", 156),
        ("12[36-38].pbshost", "", 0),
    ):
        done = pbs.run("qdel", operand)
        assert (done.stdout, done.stderr, done.returncode) == ("", words, code)
    for command in DRIVER.cancel([ids[4], ids[39]]):
        DRIVER.cancelled(ask(pbs, command))
    cancelled, never = ended(pbs, ids[4], ids[39])
    assert (cancelled.exit.ending, cancelled.exit.ran) == (Ending.CANCELLED, True)
    assert (never.exit.ending, never.exit.ran) == (Ending.CANCELLED, False)
    for sample, id_ in (("sub3_failed", ids[3]), ("sub4_afterqdel", ids[4]), ("sub90_afterqdel", ids[39])):
        ((_, record),) = records(pbs.run("qstat", "-f", id_).stdout)
        (recorded,) = json.loads(text(f"array_{sample}.json"))["Jobs"].values()
        assert {name.partition(".")[0] for name in record} - SEEN_LATE == set(recorded) - SEEN_LATE, sample
        assert record["job_state"] == "X"
    assert pbs.run("qstat", "12").stderr == "qstat: Unknown Job Id 12.pbshost\n"
    DRIVER.cancelled(Output(0, *[pbs.run("qdel", array).stdout] * 2))
    assert all(job.exit.ending is Ending.CANCELLED for job in ended(pbs, *ids) if job.index not in (3,))
    ((_, record),) = records(pbs.run("qstat", "-x", "-f", array).stdout)
    assert re.fullmatch(r"Job Array Began at .* and failed", record["comment"])
    assert record["array_state_count"] == "Queued:0 Running:0 Exiting:0 Expired:40"


def test_what_a_job_sees_and_where_its_words_go(pbs):
    (pbs.cwd / "logs").mkdir()
    script = "#!/bin/bash\necho out; echo err >&2; pwd; env; until [[ -e go ]]; do sleep 0.1; done; echo end\n"
    log = str(pbs.cwd / "logs" / "w.^array_index^.log")
    array = pbs.submit(script, "-J", "0-1", "-j", "oe", "-k", "oed", "-o", log, "-v", "MINE=1")
    live = pbs.cwd / "logs" / "w.1.log"
    pbs.until(lambda: live.exists() and "out" in live.read_text())
    assert "\nend\n" not in live.read_text()
    (pbs.cwd / "go").touch()
    plain = pbs.submit(script, "-N", "plain")
    ended(pbs, array.replace("[]", "[0]"), array.replace("[]", "[1]"), plain)
    said = live.read_text()
    assert said.startswith(f"out\nerr\n{pbs.cwd}\n")
    assert said.endswith("\nend\n")
    assert {f"PBS_ARRAY_ID={array}", "PBS_ARRAY_INDEX=1", "PBS_JOBID=12[1].pbshost", "MINE=1"} <= set(said.splitlines())
    assert "LOGNAME=ann" not in said.splitlines()  # nothing of the submitter's environment
    assert (pbs.cwd / "plain.o13").read_text().startswith("out\n")
    assert (pbs.cwd / "plain.e13").read_text() == "err\n"


def test_an_array_that_was_held_back_runs_whole_once_it_is_let_go(pbs):
    submission = Submission("a", 8, "sleep 60\n", at_a_time=2)
    array = pbs.run(*DRIVER.submit(submission).argv, stdin=submission.script).stdout.strip()
    pbs.until(lambda: running(pbs, array) == 2)
    assert ask(pbs, DRIVER.unthrottle(array)).code == 0
    pbs.until(lambda: running(pbs, array) == 8)


def test_after_qdel_a_job_is_there_for_a_while(pbs):
    pbs.fault("slow-qdel", "8s")  # half of it in each state
    job = pbs.submit("sleep 600\n")
    pbs.until(lambda: look(pbs, job)[job].state is JobState.RUNNING)
    began, states = time.monotonic(), []
    DRIVER.cancelled(ask(pbs, DRIVER.cancel([job])[0]))
    while JobState.ENDING not in states and (found := look(pbs, job)):
        states.append(found[job].state)
        DRIVER.cancelled(ask(pbs, DRIVER.cancel([job])[0]))
    assert list(dict.fromkeys(states)) == [JobState.RUNNING, JobState.ENDING]
    assert time.monotonic() - began > 3
    pbs.until(lambda: not look(pbs, job))


def started_again(pbs):
    """A job whose node failed, was repaired, and has it again."""
    job = pbs.submit("sleep 60\n", "-l", "select=1:ncpus=1:host=pbsn2")
    pbs.until(lambda: look(pbs, job)[job].where == "pbsn2")
    pbs.fault("node-down", "pbsn2")
    pbs.until(lambda: look(pbs, job)[job].state is JobState.PENDING)
    pbs.fault("node-up", "pbsn2")
    pbs.until(lambda: look(pbs, job)[job].restarts == 1)
    return job


def test_a_node_that_fails_gives_its_jobs_back(pbs):
    pbs.fault("requeue-after", "0.3s")
    assert look(pbs, job := started_again(pbs))[job].state is JobState.RUNNING


def test_what_ends_the_old_processes_of_a_node_that_failed_spares_those_that_were_started_since(pbs):
    pbs.fault("requeue-after", "0.1s")
    pbs.fault("kill-delay", "1.5s")
    job = started_again(pbs)
    time.sleep(2)
    assert look(pbs, job)[job].state is JobState.RUNNING


def test_without_history_what_ended_is_unknown(pbs):
    pbs.fault("history", "off")
    job = pbs.submit("true\n")
    pbs.until(lambda: not look(pbs, job))
    first, second = (ask(pbs, command) for command in DRIVER.details([job]))
    assert (first.code, first.stderr) == (0, f"qstat: PBS is not configured to maintain job history {job}\n")
    assert second.code == 153
    assert DRIVER.detailed(first) == DRIVER.detailed(second) == {}


def test_a_limit_on_running_jobs_and_a_queue_that_is_stopped(pbs):
    pbs.fault("max-run", "1")
    pbs.submit("sleep 60\n")
    second = pbs.submit("true\n")
    limited = "Not Running: User has reached server running job limit."
    pbs.until(lambda: look(pbs, second)[second].source == limited)
    pbs.fault("stop", "workq")
    pbs.until(lambda: look(pbs, second)[second].source == "Not Running: Queue not started.")


@pytest.mark.timeout(600)
def test_hundreds_of_jobs_are_no_burden(pbs):
    array = pbs.submit("sleep 600\n", "-J", "0-499", "-l", "select=1:ncpus=1")
    pbs.until(lambda: running(pbs, array) == 32, patience=120)
    assert len(look(pbs, array)) == 500
    DRIVER.cancelled(ask(pbs, DRIVER.cancel([array])[0]))
    pbs.until(lambda: not look(pbs, array))


def test_down_leaves_nothing_behind_even_of_a_server_that_died(pbs):
    job = pbs.submit("sleep 60\n")
    pbs.until(lambda: look(pbs, job)[job].state is JobState.RUNNING)
    session = int((pbs.folder / "sessions").read_text().split()[0])
    server = int((pbs.folder / "server.pid").read_text().split()[0])
    os.kill(server, 9)
    pbs.down()
    pbs.until(lambda: not Path(f"/proc/{session}").exists() or " Z " in Path(f"/proc/{session}/stat").read_text())
