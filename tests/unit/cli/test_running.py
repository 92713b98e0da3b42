"""`run`: its command line, what the child is given, and how both end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from clusterhub.cli import child as child_module
from clusterhub.cli import running
from clusterhub.cli.child import CannotExecute, address_variables, argv_of, run_child
from clusterhub.cli.running import split
from clusterhub.cli.signals import Signals
from clusterhub.errors import ClusterGone, Failure, WorkersFailed

Hub = Callable[..., Result]

TAKES: Mapping[str, bool] = {"--set": True, "--workers": True, "--debug": False, "-h": False}


@pytest.mark.parametrize(
    ("line", "ours", "rest"),
    [
        ("hal x.py --workers 3", "", "hal x.py --workers 3"),
        ("--workers 3 hal x.py -h", "--workers 3", "hal x.py -h"),
        ("hal --workers 3 --set a=b x.py", "--workers 3 --set a=b", "hal x.py"),
        ("hal --workers=3 x.py", "--workers=3", "hal x.py"),
        ("hal -- --odd name", "", "hal --odd name"),
        ("--debug hal x.py -- y", "--debug", "hal x.py -- y"),
        ("hal", "", "hal"),
        ("-h", "-h", ""),
        ("hal -h", "-h", "hal"),
        ("--workers", "--workers", ""),
        ("hal python - <in", "", "hal python - <in"),
        ("hal --unknown x.py", "--unknown", "hal x.py"),
    ],
)
def test_options_end_with_the_first_word_of_the_command(line: str, ours: str, rest: str) -> None:
    assert split(line.split(), TAKES) == (ours.split(), rest.split())


def test_the_commands_own_options_are_not_ours(hub: Hub, api: Any, tmp_path: Path) -> None:
    out = tmp_path / "args"
    script = tmp_path / "x.py"
    script.write_text(f"import sys, pathlib; pathlib.Path({str(out)!r}).write_text(repr(sys.argv[1:]))")
    result = hub("run", "--set", "a=b", "hal", "--workers", "2", str(script), "--workers", "9", "--", "-h")
    assert (result.exit_code, result.stdout) == (0, "")
    assert out.read_text() == "['--workers', '9', '--', '-h']"
    assert api.asked == [("hal", {"a": "b", "workers": 2})]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_exit_code_is_the_commands_and_the_cluster_ends(hub: Hub, api: Any) -> None:
    assert hub("run", "hal", *python("raise SystemExit(7)")).exit_code == 7
    assert api.cluster.closed
    assert api.cluster.waited == [1]


def test_a_child_that_a_signal_ended_counts_from_128(hub: Hub, api: Any) -> None:
    assert hub("run", "hal", *python("import os; os.kill(os.getpid(), 9)")).exit_code == 137


def test_a_minimum_of_none_is_not_waited_for(hub: Hub, api: Any) -> None:
    api.cluster.minimum = 0
    assert hub("run", "hal", "true").exit_code == 0
    assert api.cluster.waited == []


def test_the_child_finds_the_cluster_in_its_environment(hub: Hub, api: Any, tmp_path: Path) -> None:
    out = tmp_path / "found"
    code = f"import dask, pathlib; pathlib.Path({str(out)!r}).write_text(dask.config.get('scheduler-address'))"
    assert hub("run", "hal", *python(code)).exit_code == 0
    assert out.read_text() == "tcp://127.0.0.1:1"
    assert "DASK_SCHEDULER_ADDRESS" not in os.environ


def test_threads_of_this_process_cannot_be_reached_by_another(hub: Hub, api: Any) -> None:
    api.cluster.scheduler_address = "inproc://127.0.0.1/1/1"
    result = hub("run", "hal", "true")
    assert result.exit_code == 2
    assert "let its workers be processes" in result.stderr
    assert api.cluster.closed


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("no-such-command", 127, "no command 'no-such-command' on PATH"),
        ("./nowhere", 127, "there is no ./nowhere"),
        ("nowhere.py", 127, "there is no nowhere.py"),
        ("./plain", 126, "is not executable"),
        ("plain", 127, "./plain"),
        ("./folder", 126, "is a directory"),
    ],
)
def test_what_cannot_be_executed_starts_no_cluster(
    command: str, code: int, words: str, hub: Hub, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").write_text("text")
    Path("folder").mkdir()
    result = hub("run", "hal", command)
    assert (result.exit_code, api.asked) == (code, [])
    assert words in result.stderr


def test_a_missing_interpreter_is_told_as_such(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with Signals() as signals, pytest.raises(CannotExecute, match="interpreter in its first line") as caught:
        run_child([str(script)], {}, signals)
    assert caught.value.exit_code == 127


def test_a_script_is_run_with_this_python(tmp_path: Path) -> None:
    script = tmp_path / "x.py"
    script.write_text("")
    assert argv_of([str(script), "-v"]) == [sys.executable, str(script), "-v"]
    assert argv_of(["python", "x.py"]) == ["python", "x.py"]


def test_tls_is_passed_on_as_files(tmp_path: Path) -> None:
    inline = {"tls_client_cert": "-----BEGIN\nX\n", "tls_client_key": "-----BEGIN\nY\n"}
    security = SimpleNamespace(tls_ca_file="/keys/ca.pem", **inline)
    with address_variables("eddies", "tls://10.0.0.1:1", security) as variables:
        assert variables["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] == "/keys/ca.pem"
        key = Path(variables["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"])
        assert key.read_text() == "-----BEGIN\nY\n"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
        assert "BEGIN" not in "".join(variables.values())
    assert not key.exists()


def test_a_cluster_behind_a_gateway_is_found_by_its_name():
    with address_variables("eddies", "gateway://hub.example.org:443/5f3a", object()) as variables:
        assert variables == {"DASK_SCHEDULER_ADDRESS": "hub://eddies"}


def test_dask_reads_the_variables_as_they_are_meant() -> None:
    security = SimpleNamespace(tls_ca_file="/k/ca.pem", tls_client_cert="/k/cert.pem", tls_client_key="/k/key.pem")
    code = (
        "from distributed import Security; s = Security().get_tls_config_for_role('client');"
        "print(s['ca_file'], s['cert'], s['key'])"
    )
    with address_variables("eddies", "tls://10.0.0.1:1", security) as variables:
        env = {**os.environ, **variables}
        found = subprocess.run(python(code), env=env, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == ["/k/ca.pem", "/k/cert.pem", "/k/key.pem"]


def test_workers_that_fail_to_come_are_a_failure(hub: Hub, api: Any) -> None:
    def wait(n: int) -> None:
        raise WorkersFailed(Failure("their python does not exist"), cluster="hal")

    api.cluster.wait = wait
    result = hub("run", "hal", "true")
    assert result.exit_code == 1
    assert "their python does not exist" in result.stderr
    assert api.cluster.closed


CHILD_UNTIL = """
import os, sys, time
end = time.monotonic() + 60
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)  # in which it could be told again
"""


def test_a_cluster_that_dies_meanwhile_is_told_once(
    hub: Hub, api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(child_module, "WATCH_EVERY", 0.05)
    found_dead = tmp_path / "dead"
    reports = iter([api.cluster.report()])

    def report() -> Any:
        for one in reports:
            return one
        found_dead.touch()
        raise ClusterGone("the scheduler does not answer")

    api.cluster.report = report
    result = hub("run", "hal", *python(CHILD_UNTIL), str(found_dead))
    assert result.exit_code == 0
    assert result.stderr == "✘ the scheduler does not answer\n"


@pytest.mark.parametrize("fails", [False, True])
def test_an_end_that_takes_long_is_told_while_it_does(
    hub: Hub, api: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """As where a queue does not answer, which is asked again for minutes."""
    told: list[str] = []
    heard = threading.Event()
    monkeypatch.setattr(running, "SLOW", 0.01)
    monkeypatch.setattr(running, "tell_line", lambda text: (told.append(text), heard.set()))
    if fails:
        api.cluster.wait = lambda n: sys.exit(143)
    api.cluster.ending = lambda: heard.wait(30)
    assert hub("run", "hal", "true").exit_code == (143 if fails else 0)
    assert told == [
        "ending hal-1 takes longer than usual: its system may not answer; interrupt twice to leave that undone"
    ]


PARENT = """
import signal, sys, time
from contextlib import contextmanager
from clusterhub.cli.child import run_child
from clusterhub.cli.signals import Signals

class Told(Signals):
    @contextmanager
    def passed_to(self, child):
        with super().passed_to(child):
            print("passed on", flush=True)
            yield

    def _pass_on(self, number, child):
        time.sleep(0.2)  # a terminal's would be one with ours, if ours came at once
        super()._pass_on(number, child)

code = None
with Told() as signals:
    try:
        print("ready" if sys.argv[1] == "before" else "", flush=True)
        if sys.argv[1] == "before":
            time.sleep(30)
        code = run_child([sys.executable, "-c", sys.argv[2]], {}, signals)
        if sys.argv[1] == "after":
            print("ready", flush=True)
            sys.stdin.read()
    finally:
        print("closed", flush=True)
sys.exit(code)
"""

CHILD = """
import signal, sys, time
def told(number, frame):
    print("child got", signal.Signals(number).name, flush=True)
    sys.exit(5)
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), told)
print("ready", flush=True)
time.sleep(30)
"""


def signalled(when: str, *numbers: signal.Signals) -> tuple[int, str]:
    """What a process that runs CHILD answers to signals that come before, during or after its child."""
    code = "" if when == "after" else CHILD
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, when, code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        missing = {"ready", "passed on"} if when == "during" else {"ready"}
        while missing:
            missing.discard(process.stdout.readline().strip())
        first, *others = numbers
        process.send_signal(first)
        text = process.stdout.readline()  # two of them, sent before the first was answered, would come as one
        for number in others:
            process.send_signal(number)
        process.stdin.close()
        text += process.stdout.read()
        return process.wait(30), text


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_are_passed_on_and_the_cluster_closed_afterwards(name: str) -> None:
    assert signalled("during", signal.Signals[name]) == (5, f"child got {name}\nclosed\n")


def test_a_termination_before_the_child_closes_the_cluster_too() -> None:
    code, text = signalled("before", signal.SIGTERM)
    assert (code, text) == (143, "closed\n")


def test_one_interrupt_does_not_stop_the_closing_and_two_do() -> None:
    code, text = signalled("after", signal.SIGINT)
    assert (code, text) == (0, "closing the cluster; interrupt once more to leave that undone\nclosed\n")
    code, text = signalled("after", signal.SIGINT, signal.SIGINT)
    assert "KeyboardInterrupt" in text


def test_ctrl_c_on_a_terminal_reaches_the_child_once() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    child = f"heard = []\n{CHILD}".replace("sys.exit(5)", "heard.append(number)")
    child = child.replace("time.sleep(30)", "while not heard: time.sleep(0.01)\ntime.sleep(1.5)")
    process = subprocess.Popen(
        [sys.executable, "-c", "import os, sys, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
         "os.execv(sys.argv[1], sys.argv[1:])", sys.executable, "-c", PARENT, "during", child],
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    text = ""
    sent = False
    while True:
        try:
            text += os.read(master, 4096).decode()
        except OSError:  # Linux's way to say that the other end is closed
            break
        if "ready" in text and "passed on" in text and not sent:
            sent = True
            os.write(master, b"\x03")
    os.close(master)
    assert process.wait(30) == 0
    assert text.count("child got SIGINT") == 1
    assert text.rstrip().endswith("closed")
