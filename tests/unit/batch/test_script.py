"""The script of a job: what it asks for, what expands in it, and what it says when it gives up. Run by a real bash."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterhub.backend import Plan
from clusterhub.spec import ClusterSpec
from clusterhub.tls import TlsFiles
from clusterhub_backends.batch.names import Key, key_of_worker, prefix_of, submission_name
from clusterhub_backends.batch.script import MIB, body, expanding, secret_variables, shape_of
from clusterhub_backends.batch.stages import MEANINGS, Stage
from clusterhub_backends.slurm import SlurmBackend, SlurmOptions

BACKEND = SlurmBackend()
NONE = Path("/no/secrets")
HERE = Path("/tmp")


def spec(**said):
    said = {"environment": {}, **said}
    said["environment"] = {"python": sys.executable, **said["environment"]}
    return ClusterSpec(backend="slurm", **said)


def plan(tls=None, **said):
    return Plan(name="eddies", backend="slurm", spec=spec(**said), options=SlurmOptions(), tls=tls)


def run(script, **variables):
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp/a home", **variables}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60)


# What one job asks for


def test_a_job_asks_for_its_workers_and_what_is_around_them():
    shape = shape_of(spec(worker={"cores": 4, "memory": "16 GiB"}, job={"workers_per_job": 3}))
    assert (shape.workers, shape.cores, shape.gpus) == (3, 12, 0)
    assert shape.memory > 3 * 16 * 1024 * MIB
    assert shape.memory_limit == 16 * 1024 * MIB


def test_a_job_that_fills_its_node_gives_its_workers_a_little_less():
    said = {"node": {"cores": 24, "memory": "120 GiB"}, "worker": {"cores": 4, "memory": "20 GiB"}}
    shape = shape_of(spec(**said))
    assert shape.memory == 120 * 1024 * MIB
    assert 0.97 * 20 * 1024 * MIB < shape.memory_limit < 20 * 1024 * MIB


# What expands


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/plain/path", "/plain/path"),
        ("~/below", "/tmp/a home/below"),
        ("$TMPDIR/x", "/scratch/x"),
        ("${TMPDIR}/x", "/scratch/x"),
        ("a b", "a b"),
        ("$(echo no)", "$(echo no)"),
        ("`echo no`", "`echo no`"),
        ("$((1+1))", "$((1+1))"),
        ("${TMPDIR:-no}", "${TMPDIR:-no}"),
        ('a"b\\c', 'a"b\\c'),
        ("100$", "100$"),
    ],
)
def test_variables_and_the_home_expand_and_nothing_else_does(text, meant):
    assert run(f"printf %s {expanding(text)}", TMPDIR="/scratch").stdout == meant


TEXTS = st.text(st.characters(exclude_characters="$\0", exclude_categories=["Cs"])).filter(lambda t: t[:1] != "~")


@given(st.lists(TEXTS, min_size=1, max_size=60))
@settings(max_examples=20)
def test_a_text_without_variables_stands_for_itself(texts):
    said = run(f"printf '%s\\0' {' '.join(map(expanding, texts))}").stdout.split("\0")
    assert said.pop() == ""
    for shown, text in zip(said, texts, strict=True):
        assert shown == text.replace("\r\n", "\n").replace("\r", "\n") or "\r" in text


# Giving up


@pytest.mark.parametrize(
    ("said", "stage"),
    [
        ({"environment": {"directory": "/no/such"}}, Stage.DIRECTORY),
        ({"environment": {"setup": ["true", "false", "true"]}}, Stage.SETUP),
        ({"storage": {"scratch": "/proc/scratch"}}, Stage.SCRATCH),
        ({"environment": {"python": "/no/python"}}, Stage.PYTHON),
        ({"environment": {"python": "/bin/false"}}, Stage.MODULE),
    ],
)
def test_it_gives_up_at_the_stage_that_fails_and_says_why(said, stage, monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.script.PROBE_PATIENCE", 30)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = run(body(plan(**said), BACKEND.driver, "ch0g0", [address], NONE, HERE))
    assert done.returncode == stage
    assert "clusterhub: " in done.stderr


def test_it_gives_up_where_its_log_cannot_be_written():
    done = run(body(plan(), BACKEND.driver, "ch0g0", ["tcp://127.0.0.1:9"], NONE, Path("/no/logs")))
    assert done.returncode == Stage.LOGS
    assert "/no/logs" in done.stderr


def test_a_slow_setup_takes_nothing_from_the_time_in_which_an_address_has_to_answer(monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.script.REACH_PATIENCE", 1)
    monkeypatch.setattr("clusterhub_backends.batch.script.PROBE_PATIENCE", 30)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        script = body(plan(environment={"setup": ["sleep 2"]}), BACKEND.driver, "ch0g0", [address], NONE, HERE)
        before, _, _ = script.partition("export DASK_DISTRIBUTED")
        done = run(before)
    assert f"the scheduler answers at {address}" in done.stdout


def test_keys_that_a_file_system_brings_late_are_waited_for(tmp_path):
    keys = TlsFiles(ca=str(tmp_path / "ca"), cert=str(tmp_path / "cert"), key=str(tmp_path / "key"))
    script = body(plan(tls=keys), BACKEND.driver, "ch0g0", ["tls://127.0.0.1:9"], NONE, HERE)
    before, _, _ = script.partition("# The first address")
    late = f"(sleep 1; touch {tmp_path / 'key'}) &\n"
    assert run(late + before).returncode == 0


@pytest.mark.parametrize(("silent", "code"), [(True, Stage.WATCHDOG), (False, 128 + signal.SIGTERM)])
def test_only_a_silent_scheduler_is_told_as_one(tmp_path, monkeypatch, silent, code):
    """Batch systems signal every process of a job, the watchdog among them, which is no news of the scheduler."""
    monkeypatch.setattr("clusterhub_backends.batch.script.WATCH_INTERVAL", 1)
    monkeypatch.setattr("clusterhub_backends.batch.script.WATCH_PATIENCE", 1 if silent else 600)
    script = body(plan(), BACKEND.driver, "ch0g0", ["tcp://127.0.0.1:9"], NONE, HERE)
    head, _, _ = script.partition("readable()")
    _, _, tail = script.partition("worker=$!")
    end = "" if silent else f"(sleep 1; kill -TERM $worker; pkill -TERM -P $$ -f '^{sys.executable} - ') &\n"
    done = run(f"python={sys.executable} address=tcp://127.0.0.1:9; sleep 20 & worker=$!\n{head}{end}{tail}")
    assert done.returncode == code, done.stderr
    assert ("silent" in done.stderr) == silent


def test_it_gives_up_where_the_keys_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.script.READ_PATIENCE", 0)
    keys = TlsFiles(ca=str(tmp_path / "ca"), cert=str(tmp_path / "cert"), key=str(tmp_path / "it's no key"))
    done = run(body(plan(tls=keys), BACKEND.driver, "ch0g0", ["tls://127.0.0.1:9"], NONE, HERE))
    assert done.returncode == Stage.KEYS
    assert "it's no key" in done.stderr


def test_it_gives_up_when_no_address_answers(monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.script.REACH_PATIENCE", 1)
    done = run(body(plan(), BACKEND.driver, "ch0g0", ["tcp://127.0.0.1:9", "tcp://127.0.0.1:10"], NONE, HERE))
    assert done.returncode == Stage.ADDRESS
    assert "tcp://127.0.0.1:9 tcp://127.0.0.1:10" in done.stderr


def test_every_stage_has_a_meaning_and_a_code_that_shells_leave_alone():
    assert set(MEANINGS) == set(Stage)
    assert all(64 < stage < 126 for stage in Stage)


# The whole


def test_the_script_is_shell_and_carries_no_value_that_breaks_out():
    evil = "'; touch /tmp/evil; echo '"
    made = plan(
        environment={"variables": {"A": evil}, "directory": evil}, storage={"scratch": evil, "logs": "/tmp/l o g"}
    )
    script = BACKEND.script(made, "ch0g0", 3, ["tls://a:1"])
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).returncode == 0
    assert "#SBATCH --export=ALL" in script
    assert '--output="/tmp/l o g/eddies/ch0g0.%a.log"' in script
    run(script)
    assert not Path("/tmp/evil").exists()


def test_variables_reach_the_worker_as_they_were_written():
    value = "a 'b' \"c\" $HOME `d`"
    script = body(plan(environment={"variables": {"A": value}}), BACKEND.driver, "ch0g0", [], NONE, HERE)
    assert run(script.split("python=")[0] + '\nprintf %s "$A"').stdout.splitlines()[-1] == value


def test_a_variable_that_is_a_secret_is_in_a_file_and_in_no_script(tmp_path, monkeypatch):
    monkeypatch.setattr("clusterhub_backends.batch.script.READ_PATIENCE", 0)
    made = plan(environment={"variables": {"API_TOKEN": "hunter2", "THREADS": "1"}})
    file = tmp_path / "secrets"
    file.write_text(secret_variables(made.spec))
    script = body(made, BACKEND.driver, "ch0g0", [], file, HERE)
    assert "hunter2" not in script
    assert run(script.split("python=")[0] + '\nprintf %s "$API_TOKEN $THREADS"').stdout.splitlines()[-1] == "hunter2 1"
    file.unlink()
    assert run(script).returncode == Stage.KEYS


@pytest.fixture
def two_with_gpus(tmp_path):
    """Runs the end of the script of a job of two workers with GPUs of their own, which are ``worker``, a piece of bash."""
    said = {"worker": {"gpus": 2}, "job": {"workers_per_job": 2}}
    script = body(plan(**said), BACKEND.driver, "ch0g0", ["tcp://127.0.0.1:9"], NONE, HERE)
    _, _, tail = script.partition("export DASK_DISTRIBUTED")
    python = tmp_path / "python"
    tail = tail.replace("watchdog=$!\n", f"watchdog=$!; : >{python}.all\n")  # its trap is set
    head = f"{script.partition('readable()')[0]}\npython={python} address=tcp://127.0.0.1:9 index=0 restart=0\n"

    def ran(worker, **environment):
        python.write_text(f"#!/bin/bash\n[[ $1 == -c ]] && exit 0\n[[ $1 == - ]] && exit 3\n{worker}\n")
        python.chmod(0o755)
        return run(head + "export DASK_DISTRIBUTED" + tail, **environment)

    return ran


@pytest.mark.parametrize(
    ("given", "seen"),
    [("4,5,6,7", ["4,5", "6,7"]), ("GPU-a,GPU-b,GPU-c,GPU-d", ["GPU-a,GPU-b", "GPU-c,GPU-d"]), ("", ["0,1", "2,3"])],
)
def test_workers_of_one_job_have_gpus_of_their_own(two_with_gpus, given, seen):
    done = two_with_gpus('echo "$CUDA_VISIBLE_DEVICES ${@:5:1} $((RANDOM))"; exit 3', CUDA_VISIBLE_DEVICES=given)
    shown = sorted(line.rsplit(" ", 1)[0] for line in done.stdout.splitlines() if "ch0g0" in line)
    assert shown == [f"{gpus} ch0g0-0-r0-{i}" for i, gpus in enumerate(seen)]
    assert done.returncode == 3
    assert key_of_worker("ch0g0-0-r0-1") == key_of_worker("ch0g0-0-r0-0")


def test_the_code_of_a_worker_that_ended_before_the_others_is_the_jobs(two_with_gpus):
    """It was lost where bash had heard of that end before it was asked for the code."""
    assert two_with_gpus("[[ ${@:5:1} == *-1 ]] && exit 3; sleep 0.5").returncode == 3


def test_a_worker_that_ends_well_when_it_is_told_to_is_no_failure_of_the_job(two_with_gpus):
    """The signal that a `wait` was broken off by was taken for the worker's code."""
    ready = ': >"$0.${@:5:1}"; until [[ -e $0.all && -e $0.ch0g0-0-r0-0 ]]; do sleep 0.1; done'
    tells = "[[ ${@:5:1} == *-1 ]] && { sleep 0.3; kill -TERM $(ps -o ppid= $PPID); }"
    assert two_with_gpus(f"trap 'kill $!; exit 0' TERM; sleep 20 & {ready}; {tells}; wait").returncode == 0


# Names


def test_names_are_short_enough_for_old_systems_and_lead_back_to_their_job():
    names = [submission_name("f" * 32, number) for number in (0, 35, 36, 46655)]
    assert names == ["chffffffffg0", "chffffffffgz", "chffffffffg10", "chffffffffgzzz"]
    assert all(len(name) <= 15 and name.startswith(prefix_of("f" * 32)) for name in names)
    assert key_of_worker("chffffffffgz-17-r2") == key_of_worker("chffffffffgz-17-r0-1") == Key("chffffffffgz", 17)
    assert key_of_worker("somebody-else") is None
