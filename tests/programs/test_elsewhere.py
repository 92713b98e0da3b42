"""Several processes and one system: one of twenty starts a cluster, and every other program finds it by its name alone."""

from __future__ import annotations

import contextlib
import json
import signal

import psutil

from .conftest import Shell

CONNECT = """
import sys, clusterhub
cluster = clusterhub.connect("detached", name="eddies", keep=True, workers=0)
print(cluster.scheduler_address)
"""


def test_of_twenty_processes_that_ask_at_one_moment_one_starts_it(shell: Shell) -> None:
    asking = [shell.begins("-c", CONNECT) for _ in range(20)]
    told = [process.communicate(timeout=150) for process in asking]
    assert [process.returncode for process in asking] == [0] * 20, told
    assert len(shell.schedulers()) == 1
    assert len({stdout for stdout, _ in told}) == 1


def test_a_program_that_is_killed_while_it_starts_one_frees_the_name(shell: Shell) -> None:
    killed = shell.begins("-c", CONNECT)
    locks = shell.system.parent / ".local" / "state" / "clusterhub" / "locks"
    while not (locks / "eddies.lock").exists():
        assert killed.poll() is None, killed.communicate()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = shell.runs("-c", CONNECT)
    assert again.returncode == 0, again.stderr


def test_every_command_knows_it(shell: Shell) -> None:
    up = shell("up", "detached", "--name", "eddies", "--workers", "0")
    assert up.returncode == 0, up.stderr
    assert up.stdout.splitlines()[0] == "eddies on detached"
    assert "✔ cluster ready, scheduler tls://127.0.0.1:" in up.stdout
    assert 'attach     clusterhub.attach("eddies")   or   Client("hub://eddies")' in up.stdout
    again = shell("up", "detached", "--name", "eddies", "--workers", "0")
    assert "✔ it lives already, for" in again.stdout
    assert len(shell.schedulers()) == 1

    (row,) = json.loads(shell("ls", "--json").stdout)
    assert (row["name"], row["profile"], row["kept"], row["connected"]) == ("eddies", "detached", True, 0)
    assert shell("scale", "eddies", "3").stdout == "eddies: 3 workers, from now on; 0 connected\n"
    assert "eddies on detached: 3 workers asked, 0 connected" in shell("status", "eddies").stdout
    assert "Scheduler at:" in shell("logs", "eddies").stdout
    ticket = shell("report", "eddies").stdout
    assert "──── clusterhub report of eddies" in ticket
    assert "──── log of scheduler ────" in ticket
    assert "PRIVATE KEY" not in ticket

    assert shell("scale", "eddies", "0").returncode == 0  # else `run` waits for the first of its workers
    code = "from distributed import Client\nwith Client() as client: print(client.scheduler.address)\n"
    (shell.system.parent / "script.py").write_text(code)
    ran = shell("run", "--on", "eddies", "script.py")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("tls://127.0.0.1:")


def test_a_program_that_only_knows_dask_finds_it_by_its_name_with_its_keys(shell: Shell) -> None:
    assert shell("up", "detached", "--name", "eddies", "--workers", "0").returncode == 0
    code = """
from distributed import Client
with Client("hub://eddies") as client:
    print(client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address))
"""
    found = shell.runs("-c", code)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("tls://127.0.0.1:")


def test_down_ends_it_by_either_name_and_a_second_time_says_so(shell: Shell) -> None:
    for name in ("eddies", "tides"):
        assert shell("up", "detached", "--name", name, "--workers", "0").returncode == 0
    own = next(row["own_name"] for row in json.loads(shell("ls", "--json").stdout) if row["name"] == "tides")
    down = shell("down", "eddies", own)
    assert (down.returncode, down.stdout) == (0, "  ✔ eddies has ended\n  ✔ tides has ended\n"), down.stderr
    assert shell("ls").stdout == "no clusters live; clusterhub up P starts one\n"
    for pid in shell.schedulers():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # nobody reaps orphans in a container
    gone = shell("down", "eddies")
    assert gone.returncode == 2
    assert "there is no cluster of that name" in gone.stderr
