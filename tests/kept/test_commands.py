"""Clusters that outlive their commands, on the local backend with nothing replaced: from ``up`` to ``down``."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterhub.keeper.identity import Life, Process, end
from importable import environment
from kept.conftest import held

SMALL = ("--workers", "2", "--set", "worker.cores=1", "--set", "worker.memory=512MiB", "--set", "local.dashboard=false")
PATIENCE = 60


class Shell:
    """Runs commands in a home of its own; no keeper of it outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.state = folder / "state"

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clusterhub", *args],
            cwd=self._folder, env=self._environment(), capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def begins(self, *args: str) -> subprocess.Popen[str]:
        """The same, not awaited."""
        return subprocess.Popen(
            [sys.executable, "-m", "clusterhub", *args],
            cwd=self._folder, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return environment(HOME=str(self._folder), CLUSTERHUB_STATE=str(self.state))

    def record(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "clusters" / name / "record.json").read_text())
        return found

    def keeper(self, name: str) -> Process:
        return Process.model_validate(self.record(name)["keeper"])

    def keepers(self) -> list[Process]:
        found = []
        for path in self.state.glob("clusters/*/record.json"):
            with contextlib.suppress(OSError, ValueError):
                if said := json.loads(path.read_text())["keeper"]:
                    found.append(Process.model_validate(said))
        return found

    def end_all(self) -> None:
        for keeper in self.keepers():
            with contextlib.suppress(ProcessLookupError):
                end(keeper, signal.SIGCONT)
                end(keeper, signal.SIGTERM)
        give_up = time.monotonic() + 20
        for keeper in self.keepers():
            while keeper.life() is not Life.DEAD and time.monotonic() < give_up:
                time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                end(keeper, signal.SIGKILL)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in which ``eddies`` lives, for those who only look at it."""
    shell = Shell(tmp_path_factory.mktemp("standing"))
    try:
        up = shell("up", "local", "--name", "eddies", *SMALL, "--wait", "--timeout", "1m")
        assert up.returncode == 0, up.stderr
        assert "✔ keeper ready, scheduler tls://" in up.stdout
        assert 'attach     clusterhub.attach("eddies")' in up.stdout
        yield shell
    finally:
        shell.end_all()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.end_all()


def until(happened: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if found := happened():
                return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_status_finds_its_workers(standing: Shell) -> None:
    found = json.loads(standing("status", "eddies", "--json").stdout)
    assert (found["connected"], found["kept"]) == (2, True)
    assert standing("status", "eddies").stdout.splitlines()[0].endswith("2 workers asked, 2 connected")


def test_ls_has_it(standing: Shell) -> None:
    (one,) = json.loads(standing("ls", "--json").stdout)
    assert (one["name"], one["state"], one["connected"]) == ("eddies", "running", 2)


def test_up_again_finds_the_one_that_lives(standing: Shell) -> None:
    keeper = standing.keeper("eddies")
    result = standing("up", "local", "--name", "eddies", *SMALL)
    assert "✔ it lives already, for" in result.stdout
    assert standing.keeper("eddies") == keeper
    assert result.returncode == 0


def test_its_logs_can_be_read(standing: Shell) -> None:
    text = standing("logs", "eddies").stdout
    assert [line for line in text.splitlines() if line.startswith("────")][:2] == [
        "──── keeper ────",
        "──── scheduler ────",
    ]
    assert "ready at tls://" in standing("logs", "eddies", "--unit", "keeper").stdout
    assert standing("logs", "eddies", "--unit", "nope").returncode == 2


def test_a_script_runs_on_it_and_leaves_it(standing: Shell, tmp_path: Path) -> None:
    script = tmp_path / "x.py"
    script.write_text(
        "import sys\nfrom distributed import Client\nif __name__ == '__main__':\n"
        "    client = Client()\n    print(client.submit(sum, [1, 2, 3]).result())\n    sys.exit(3)\n"
    )
    result = standing("run", "--on", "eddies", str(script))
    assert (result.returncode, result.stdout) == (3, "6\n"), result.stderr
    assert standing.keeper("eddies").life() is Life.ALIVE


def test_its_ticket_does_not_open_its_dashboard(standing: Shell) -> None:
    text = standing("report", "eddies").stdout
    prefix = standing.record("eddies")["plan"]["dashboard_prefix"]
    assert prefix
    assert prefix not in text
    assert "worker.memory" in text


def test_it_is_scaled_watched_and_ended(shell: Shell) -> None:
    assert shell("up", "local", "--name", "tides", *SMALL).returncode == 0
    with shell.begins("status", "tides", "--watch") as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "2 workers asked, 2 connected" in watching.stdout.readline()
        assert shell("scale", "tides", "1").stdout.startswith("tides: 1 worker, from now on")
        while "1 of 1 worker connected" not in (line := watching.stdout.readline()):
            assert line
        down = shell("down", "tides", "nope")
        assert "✔ tides has ended, with 1 worker\n" in down.stdout
        assert "there is no cluster of that name" in down.stderr
        assert down.returncode == 2
        assert watching.wait(PATIENCE) == 0
        assert "it was shut down" in watching.stderr.read()
    assert shell("ls").stdout.startswith("no clusters live")
    assert shell("status", "tides").returncode == 1


def test_an_interrupt_before_it_is_ready_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    script = held(tmp_path, shell.state / "clusters" / "tides" / "keeper.log")
    with shell.begins("up", "local", "--name", "tides", *SMALL, "--set", f"local.preload={script}") as starting:
        keeper = until(lambda: shell.keeper("tides"))
        starting.send_signal(signal.SIGINT)
        out, err = starting.communicate(timeout=PATIENCE)
    assert (starting.returncode, "nothing is left of it" in err) == (130, True), out + err
    assert keeper.life() is Life.DEAD
    assert shell("ls").stdout.startswith("no clusters live")


def test_a_cluster_that_only_starts_can_be_ended(shell: Shell) -> None:
    with shell.begins("up", "local", "--name", "tides", *SMALL) as starting:
        keeper = until(lambda: shell.keeper("tides"))
        down = shell("down", "tides")
        assert (down.returncode, "✔ tides has ended" in down.stdout) == (0, True), down.stderr
        starting.communicate(timeout=PATIENCE)
    assert keeper.life() is Life.DEAD
    assert shell("ls").stdout.startswith("no clusters live")


def test_a_keeper_that_is_stopped_is_not_counted_as_ended_and_a_killed_one_is_cleared(shell: Shell) -> None:
    assert shell("up", "local", "--name", "tides", *SMALL).returncode == 0
    keeper = shell.keeper("tides")
    end(keeper, signal.SIGSTOP)
    stopped = shell("down", "tides")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert f"kill -CONT {keeper.pid}" in stopped.stderr
    assert "left alone" in shell("gc").stdout
    end(keeper, signal.SIGKILL)
    until(lambda: keeper.life() is Life.DEAD)
    assert "would be removed" in shell("gc", "--dry-run").stdout
    down = shell("down", "tides")
    assert (down.returncode, "✔ tides was dead" in down.stdout) == (0, True), down.stderr
    assert shell("gc").stdout == "nothing to remove\n"
