"""How commands end: exit codes, one message, never a traceback unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from clusterhub.cli import main
from clusterhub.errors import (
    BackendUnavailable,
    ClusterGone,
    Failure,
    Problem,
    SubmitRejected,
    Unsupported,
    WaitTimeout,
    WorkersFailed,
)

from .conftest import config_error

Hub = Callable[..., Result]


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (config_error(Problem("f:9", "worker.memmory", "unknown key")), 2),
        (BackendUnavailable("not installed"), 2),
        (Unsupported("local", {"worker.gpus": "none here"}), 2),
        (WorkersFailed(Failure("their python does not exist")), 1),
        (WaitTimeout("nobody came"), 1),
        (ClusterGone("gone"), 1),
        (SubmitRejected("no", source="qsub: no"), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("oh"), 1),
    ],
)
def test_exit_codes_of_errors(error: BaseException, code: int, hub: Hub, profile_room: Any) -> None:
    profile_room.resolve = raising(error)
    result = hub("show", "hal")
    assert result.exit_code == code
    assert result.stderr.strip().startswith("✘ ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_all_problems_of_a_config_are_told_at_once(hub: Hub, profile_room: Any) -> None:
    problems = (Problem("f:9", "worker.memmory", "unknown key"), Problem("call", "workers", "must be 0 or more", "-3"))
    profile_room.resolve = raising(config_error(*problems))
    assert hub("show", "hal").stderr.splitlines() == [
        "✘ profile hal has 2 problems",
        "  f:9   worker.memmory  unknown key",
        "  call  workers = -3    must be 0 or more",
    ]


def test_a_bug_says_where_to_report_and_shows_the_traceback_on_demand(
    hub: Hub, profile_room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile_room.resolve = raising(ZeroDivisionError("oh"))
    assert "this is a bug in clusterhub or in a plugin of it: ZeroDivisionError: oh" in hub("show", "hal").stderr
    assert "--debug" in hub("show", "hal").stderr
    for args in (("--debug", "show", "hal"), ("show", "hal", "--debug")):
        assert "Traceback" in hub(*args).stderr
    assert "Traceback" not in hub("show", "hal").stderr  # asked for once is not asked for ever
    monkeypatch.setenv("CLUSTERHUB_DEBUG", "1")
    assert "Traceback" in hub("show", "hal").stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("shwo",), "did you mean show?"),
        (("show",), "missing argument 'P'"),
        (("show", "hal", "--wrokers", "3"), "--workers"),
        (("show", "hal", "--workers", "many"), "write 20, or a range as 0..200"),
        (("show", "hal", "--yaml", "--json"), "choose one"),
        (("show", "hal", "--set", "name=x"), "unknown key"),
        (("show", "hal", "--set", "workers=3", "--workers", "4"), "given twice"),
        (("show", "hull"), "did you mean hal?"),
        (("init", "--backend", "pbs"), "goes with --from-jobqueue"),
        (("run", "hal"), "missing argument"),
    ],
)
def test_mistakes_on_the_command_line(args: tuple[str, ...], words: str, hub: Hub) -> None:
    result = hub(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("✘ ")
    assert words in result.stderr


def test_help_and_version_are_no_errors(hub: Hub) -> None:
    for args in (("-h",), ("--help",), ("run", "-h"), ("show", "--help")):
        assert hub(*args).exit_code == 0
        assert hub(*args).stdout.startswith("Usage: clusterhub")
    assert hub("--version").stdout.startswith("clusterhub 0.")


def test_without_a_command_there_is_help(hub: Hub) -> None:
    result = hub()
    assert result.exit_code == 2
    for command in ("demo", "profiles", "show", "plan", "check", "run", "init", "schema", "backends"):
        assert f"\n  {command} " in result.stderr


def test_the_function_returns_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert main(["--version"]) == 0


def command_line(*args: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "clusterhub", *args], capture_output=True, timeout=60, **more)


def test_a_terminal_without_utf8_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = command_line("nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith(b"x no such command: nonsense")


def test_a_reader_that_has_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "clusterhub", "backends", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(60) == 141


def test_no_stdout_at_all_is_no_traceback() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "clusterhub", "backends"], stderr=subprocess.PIPE, timeout=60, close_fds=True,
        preexec_fn=lambda: __import__("os").close(1),
    )  # fmt: skip
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["profiles", "backends", "schema"])
def test_the_quick_commands_import_neither_dask_nor_rich(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("profiles: {laptop: {backend: local, workers: 2}}\n")
    monkeypatch.setenv("CLUSTERHUB_CONFIG", str(config))
    code = (
        f"import sys; from clusterhub.cli import main; code = main([{command!r}]);"
        "found = {'dask', 'distributed', 'rich', 'IPython', 'numpy'} & set(sys.modules);"
        "sys.exit(str(found) if found else code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
