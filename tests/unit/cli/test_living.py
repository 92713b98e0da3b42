"""Commands about clusters that live: what they say and return, from records that were written by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from clusterhub.backend import Leaf, NoOptions, Plan
from clusterhub.cli import clusterhub, starting
from clusterhub.cli.arithmetic import asked_for
from clusterhub.cli.logs import Shown, news
from clusterhub.cli.names import dashboard_line, headline, place
from clusterhub.cli.running import split
from clusterhub.cli.watching import until_it_ends
from clusterhub.errors import ClusterGone, Failure, WaitTimeout, WorkersFailed
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store
from clusterhub.spec import ClusterSpec, Job, Node, Worker, Workers

from .attached import HOST, PREFIX, Living, hub, plan, record, report

# ls


def test_an_empty_list_names_the_next_step(store: Store) -> None:
    assert hub("ls").stdout == "no clusters live; clusterhub up P starts one\n"
    assert json.loads(hub("ls", "--json").stdout) == []


def test_ls_tells_of_every_cluster_from_its_files(store: Store, eddies: Record) -> None:
    store.claim(record("old", uid="b" * 32, keeper=Process.this().model_copy(update={"started": "1"})))
    result = hub("ls")
    head, first, second = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split() == ["NAME", "PROFILE", "BACKEND", "STATE", "WORKERS", "PENDING", "AGE", "IDLE", "ENDS", "HOST"]
    *begin, age, idle, _, ends, host = first.split()
    assert begin == ["eddies", "hal", "local", "running", "1/2", "1"]
    assert re.fullmatch(r"\d+s", age)
    assert (idle, ends, host) == ("3m", "57m", HOST)
    assert second.split()[:4] == ["old", "hal", "local", "dead"]
    assert "clusterhub gc" in second


def test_ls_for_programs_holds_nothing_secret(eddies: Record) -> None:
    text = hub("ls", "--json").stdout
    (one,) = json.loads(text)
    assert (one["name"], one["connected"], one["asked"], one["state"]) == ("eddies", 1, 2, "running")
    assert PREFIX not in text
    assert "tls://" not in text


def test_ls_imports_no_dask(eddies: Record) -> None:
    code = (
        "import sys; from clusterhub.cli import main; code = main(['ls']);"
        "sys.exit(code or ','.join({'distributed', 'dask'} & sys.modules.keys()) or None)"
    )
    # Without the plugins of the tests, one of which imports distributed by itself.
    entries = [Path(entry or ".").absolute() for entry in sys.path if "plugins" not in entry]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, entries))}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert "eddies" in result.stdout


def test_the_shell_completes_names(store: Store, eddies: Record) -> None:
    store.claim(record("tides", uid="b" * 32))
    complete = ShellComplete(clusterhub, {}, "clusterhub", "_CLUSTERHUB_COMPLETE")

    def values(*args: str, incomplete: str = "") -> list[str]:
        return [item.value for item in complete.get_completions(list(args), incomplete)]

    for command in ("status", "scale", "logs", "down", "report"):
        assert values(command, incomplete="e") == ["eddies"]
    assert values("run", "--on") == ["eddies", "tides"]
    assert values("run", "--on", "eddies") == []
    assert values("down", "eddies") == ["tides"]


# status and scale


def test_status_tells_place_workers_dashboard_and_end(living: Living, eddies: Record) -> None:
    lines = hub("status", "eddies").stdout.splitlines()
    assert lines[0] == f"eddies on hal (pbs, {HOST}): 2 workers asked, 2 connected"
    assert lines[1].split()[0] == "JOB"
    assert lines[4].endswith(f"elsewhere: ssh -L 8787:127.0.0.1:8787 {HOST}")
    assert lines[5] == "ends       in 57m, idle for 3m"
    assert living.closed


def test_status_shows_a_failure_in_full(living: Living) -> None:
    living.reports = [report(0, failure=Failure("their python does not exist", next_step="correct it"))]
    text = hub("status", "eddies").stdout
    assert "the workers of hal cannot start: their python does not exist" in text
    assert "correct it" in text


def test_status_for_programs(living: Living, eddies: Record) -> None:
    found = json.loads(hub("status", "eddies", "--json").stdout)
    assert (found["connected"], found["kept"], found["host"]) == (2, True, HOST)


def test_a_cluster_that_only_starts_is_not_waited_for(store: Store, living: Living) -> None:
    store.claim(record(state="starting"))
    assert re.fullmatch(
        rf"eddies on hal \(local, {re.escape(HOST)}\): starting, since \d+s\n", hub("status", "eddies").stdout
    )
    assert not living.closed


def test_watching_prints_a_line_for_each_change_until_the_end(living: Living) -> None:
    one = report(1)
    living.reports = [one, one, one, report(2), ClusterGone("cluster eddies has ended: it was shut down")]
    result = hub("status", "eddies", "--watch")
    assert [line.split("  ")[-1] for line in result.stdout.splitlines()[1:]] == [
        "eddies: 1 of 2 workers connected",
        "eddies: 2 of 2 workers connected",
    ]
    assert (result.exit_code, result.stderr) == (0, "cluster eddies has ended: it was shut down\n")


def test_a_watched_cluster_that_does_not_answer_may_come_back(living: Living) -> None:
    busy = ClusterGone("too busy to answer", final=False)
    living.reports = [report(1), busy, busy, report(2), KeyboardInterrupt()]
    result = hub("status", "eddies", "--watch")
    assert result.stdout.count("too busy") == 1
    assert "2 of 2" in result.stdout
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_went_without_a_word_is_a_failure(store: Store, living: Living) -> None:
    store.claim(record(keeper=Process.this().model_copy(update={"started": "1"})))
    living.reports = [ClusterGone("its keeper died without a word")]
    assert until_it_ends(living, living.report, lambda text: None) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "told", "said"),
    [
        ("5", 5, "eddies: 5 workers, from now on; 2 connected\n"),
        ("0..200", (0, 200), "eddies: 0 to 200 workers, as the load asks, from now on; 2 connected\n"),
    ],
)
def test_scale_says_the_new_target(words: str, told: Any, said: str, living: Living) -> None:
    assert hub("scale", "eddies", words).stdout == said
    assert living.told == [told]


def test_a_number_that_is_none_reaches_nobody(living: Living) -> None:
    assert hub("scale", "eddies", "many").exit_code == 2
    assert not living.closed


# logs


@pytest.mark.parametrize(
    ("old", "new", "fresh"),
    [
        ("", "a b", "a b"),
        ("a b", "a b", ""),
        ("a b", "a b c", "c"),
        ("a b c", "b c d", "d"),
        ("a b c", "x y", "x y"),
        ("a b c", "a b cd e", "cd e"),
        ("a a", "a a a", "a"),
        ("a b", "", ""),
    ],
)
def test_news_of_a_log_are_told_once(old: str, new: str, fresh: str) -> None:
    assert news(old.split(), new.split()) == fresh.split()


def test_logs_come_with_headings_the_clusters_own_first(living: Living) -> None:
    headings = [line for line in hub("logs", "eddies").stdout.splitlines() if line.startswith("──── ")]
    assert headings == ["──── keeper ────", "──── scheduler ────", "──── 0 ────"]
    assert hub("logs", "eddies", "--unit", "0").stdout == "a worker\n"
    assert json.loads(hub("logs", "eddies", "--unit", "keeper", "--json").stdout) == {"keeper": "the keeper"}


def test_an_unknown_unit_names_those_there_are(living: Living) -> None:
    result = hub("logs", "eddies", "--unit", "27")
    assert result.exit_code == 2
    assert result.stderr == "✘ eddies has no unit 27; there are: keeper, scheduler, 0, 1\n"


def test_following_names_the_source_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(headed=True)
    shown.first({"keeper": "a"})
    shown.more({"keeper": "a\nb"})
    shown.more({"keeper": "a\nb", "0": "x"})
    assert capsys.readouterr().out.splitlines() == ["──── keeper ────", "a", "b", "──── 0 ────", "x"]


# up


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, store: Store, living: Living) -> Living:
    """``up`` finds a cluster started, of which a record was written."""
    prepared = SimpleNamespace(plan=plan(), elsewhere=False)
    monkeypatch.setattr(starting, "_prepared", lambda *args: prepared)

    def start(prepared: Any) -> Living:
        store.claim(record())
        return living

    monkeypatch.setattr(starting, "_started", start)
    return living


def test_up_says_what_stands_and_how_to_use_it(started: Living) -> None:
    result = hub("up", "hal", "--name", "eddies")
    lines = result.stdout.splitlines()
    assert lines[0] == f"eddies on hal (local, {HOST})"
    assert lines[1] == "  2 workers, 1 core and 4 GiB each"
    assert lines[2] == "  ✔ keeper ready, scheduler tls://a:1"
    assert lines[3].startswith("dashboard  http://127.0.0.1:8787/")
    assert lines[4] == 'attach     clusterhub.attach("eddies")   or   Client("hub://eddies")'
    assert (result.exit_code, started.closed) == (0, True)


@pytest.mark.parametrize(
    "error", [WorkersFailed(Failure("their python does not exist"), cluster="hal"), WaitTimeout("nobody came")]
)
def test_a_wait_that_ends_badly_leaves_the_cluster_and_says_so(error: Exception, started: Living) -> None:
    def wait() -> None:
        raise error

    started.reports, started.waiting = [report(0)], wait
    result = hub("up", "hal", "--wait")
    assert result.exit_code == 1
    assert str(error) in result.stderr
    assert "eddies stands all the same: clusterhub status eddies shows it, clusterhub down eddies" in result.stderr


def test_an_interrupted_wait_leaves_it_running(started: Living) -> None:
    def wait() -> None:
        raise KeyboardInterrupt

    started.reports, started.waiting = [report(0)], wait
    result = hub("up", "hal", "--wait")
    assert result.exit_code == 130
    assert "clusterhub down eddies ends it" in result.stderr
    assert started.closed


def test_an_interrupted_start_leaves_nothing(started: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(prepared: Any) -> Living:
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "_started", start)
    result = hub("up", "hal")
    assert (result.exit_code, result.stderr) == (
        130, "✘ interrupted; it was not ready yet, and nothing is left of it\n",
    )  # fmt: skip


@pytest.mark.parametrize("words", [("--timeout", "30m"), ("--wait", "--timeout", "30")])
def test_slips_of_up_start_nothing(words: tuple[str, ...], started: Living) -> None:
    assert hub("up", "hal", *words).exit_code == 2
    assert not started.closed


def of(spec: ClusterSpec, left: tuple[str, ...] = ()) -> Plan[NoOptions]:
    leaves = tuple(Leaf(path, f"left to {spec.backend}", "default", True, left=True) for path in left)
    return Plan(name="eddies", backend=spec.backend, spec=spec, options=NoOptions(), values=leaves)


def test_what_is_asked_for_in_one_line() -> None:
    spec = ClusterSpec(
        backend="pbs", worker=Worker(cores=4, memory="16 GiB"), node=Node(cores=24, memory="120 GiB"),
        job=Job(walltime="12h"),
    )  # fmt: skip
    assert asked_for(of(spec), Workers.exactly(24)) == (
        "24 workers, 4 cores and 16 GiB each; 4 jobs of 6 workers; walltime 12h"
    )
    plain = of(ClusterSpec(backend="local", worker=Worker(cores=1, memory="1 GiB")))
    assert asked_for(plain, Workers(minimum=0, maximum=9)) == "0 to 9 workers, as the load asks, 1 core and 1 GiB each"


def test_what_its_system_decides_is_no_number_of_ours() -> None:
    spec = ClusterSpec(backend="gateway", worker=Worker(cores=4))
    assert asked_for(of(spec, ("worker.memory",)), Workers.exactly(2)) == (
        "2 workers, 4 cores each; their memory left to gateway"
    )
    both = of(spec, ("worker.memory", "worker.cores", "environment.python"))
    assert asked_for(both, Workers.exactly(1)) == "1 worker; their cores and memory left to gateway"


def test_places_and_links() -> None:
    assert place("eddies", "hal", "pbs", "login2") == "eddies on hal (pbs, login2)"
    assert place("eddies", "local", "local", "") == "eddies on local"
    adapting = report(target=Workers(minimum=0, maximum=9))
    assert "2 workers asked (adapts between 0 and 9), 2 connected" in headline(adapting, "login2")
    assert dashboard_line("", "login2") == ""
    assert dashboard_line("/user/me/proxy/8787/x/status", "login2") == "dashboard  /user/me/proxy/8787/x/status"


# run --on

TAKES: Mapping[str, bool] = {"--set": True, "--workers": True, "--debug": False, "--on": True}


@pytest.mark.parametrize(
    ("line", "ours", "rest"),
    [
        ("--on eddies x.py --on y", "--on eddies", "x.py --on y"),
        ("--debug --on=eddies x.py -h", "--debug --on=eddies", "x.py -h"),
        ("--on eddies -- --odd name", "--on eddies", "--odd name"),
        ("--on eddies", "--on eddies", ""),
        ("--on", "--on", ""),
        ("hal x.py --on y", "", "hal x.py --on y"),
    ],
)
def test_with_on_the_first_word_is_the_commands(line: str, ours: str, rest: str) -> None:
    assert split(line.split(), TAKES, "--on") == (ours.split(), rest.split())


def test_a_command_runs_on_a_living_cluster(living: Living, tmp_path: Path) -> None:
    out = tmp_path / "found"
    code = f"import os, sys, pathlib; pathlib.Path({str(out)!r}).write_text(os.environ['DASK_SCHEDULER_ADDRESS'])"
    result = hub("run", "--on", "eddies", sys.executable, "-c", f"{code}; sys.exit(7)")
    assert (result.exit_code, out.read_text()) == (7, "tcp://127.0.0.1:1")
    assert living.closed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on", "eddies", "--workers", "3", "true"), "clusterhub scale eddies"),
        (("--on", "eddies", "--set", "a=b", "true"), "for a new cluster"),
        (("hal", "--on", "eddies", "true"), "--on takes the place of P"),
        (("--on", "eddies"), "missing argument 'CMD...'"),
    ],
)
def test_what_does_not_go_with_on_is_told(words: tuple[str, ...], said: str, living: Living) -> None:
    result = hub("run", *words)
    assert result.exit_code == 2
    assert said in result.stderr
