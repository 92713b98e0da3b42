"""However a creator ends, its cluster notices; and a creator that only sleeps loses nothing."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from kept.conftest import eventually, family, gone, held, living

UNNAMED = """
    cluster = clusterhub.connect("local", workers=1, lifecycle={"host": "process"}, **SMALL)
    cluster.wait(timeout=60)
"""


@pytest.mark.parametrize(
    "leaves",
    [
        "pass",
        "os.fork() or time.sleep(600)",  # a child keeps the pipe open
        "__import__('subprocess').Popen(['sleep', '600'])",
        "__import__('multiprocessing').get_context('fork').Process(target=time.sleep, args=(600,)).start()",
    ],
)
def test_nothing_is_left_of_a_client_that_was_killed(program, store, leaves):
    client = program(f"{UNNAMED}    {leaves}\n    say(cluster.name)\n    time.sleep(600)")
    processes = family(living(store, client.says()[0]))
    assert len(processes) > 1
    client.kill()
    eventually(lambda: gone(processes))
    eventually(lambda: store.names() == [])


def test_a_client_that_becomes_another_program_has_let_go(program, store, tmp_path):
    seen = tmp_path / "seen"
    client = program(
        f"{UNNAMED}    say(cluster.name)\n    until_there({str(seen)!r})\n    os.execvp('sleep', ['sleep', '600'])"
    )
    processes = family(living(store, client.says()[0]))
    seen.touch()
    eventually(lambda: gone(processes))


def test_a_hangup_of_the_whole_session_leaves_no_orphan(program, store):
    client = program(f"{UNNAMED}    say(cluster.name)\n    time.sleep(600)")
    processes = family(living(store, client.says()[0]))
    os.killpg(client.process.pid, signal.SIGHUP)
    eventually(lambda: gone(processes))


def test_a_closed_laptop_loses_nothing(program, store, tmp_path):
    opened = tmp_path / "opened"
    client = program(
        f"{UNNAMED}    say(cluster.name)\n    until_there({str(opened)!r})\n    say(cluster.report().connected)"
    )
    name = client.says()[0]
    os.kill(client.process.pid, signal.SIGSTOP)
    time.sleep(6)
    living(store, name)
    os.kill(client.process.pid, signal.SIGCONT)
    opened.touch()
    assert client.says() == [1]


@pytest.mark.parametrize("known", [False, True])
def test_a_client_that_is_killed_while_it_starts_leaves_nothing(program, store, tmp_path, known):
    client = program(f"""
        SMALL["local"]["preload"] = {held(tmp_path, store.folder("eddies") / "keeper.log")!r}
        clusterhub.connect("local", name="eddies", workers=2, keep=True, **SMALL)
    """)
    record = eventually(lambda: (found := _starting(store)) and (found.keeper or not known) and found)
    keeper = psutil.Process(record.keeper.pid) if record.keeper else None
    client.kill()
    eventually(lambda: "eddies" not in store.names() or store.read("eddies").keeper is None)
    eventually(lambda: keeper is None or gone([keeper]))


def _starting(store):
    names = store.names()
    return store.read(names[0]) if names else None


@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupt_while_it_starts_leaves_nothing(program, store, tmp_path, keep):
    client = program(f"""
        SMALL["local"]["preload"] = {held(tmp_path, store.folder("eddies") / "keeper.log")!r}
        say("begin")
        try:
            clusterhub.connect("local", name="eddies", workers=2, keep={keep}, **SMALL)
        except KeyboardInterrupt:
            say("interrupted")
    """)
    client.says()
    record = eventually(lambda: (found := _starting(store)) and found.keeper and found)
    processes = [psutil.Process(record.keeper.pid)]
    os.killpg(client.process.pid, signal.SIGINT)
    assert client.says() == ["interrupted"]
    eventually(lambda: gone(processes))
    eventually(lambda: store.names() == [])


def test_a_notebook_that_restarts_finds_its_named_cluster(program, store):
    """A kernel that is restarted runs its exit handlers, and whoever runs all cells again wants what was there."""
    cell = """
        cluster = clusterhub.connect("local", name="notebook", workers=1, **SMALL)
        cluster.wait(timeout=60)
        client = cluster.get_client()
        say(client.list_datasets(), os.getpid())
    """
    first = program(
        cell
        + "    client.publish_dataset(answer=client.submit(sum, [1, 2]))\n        client.get_dataset('answer').result()"
    )
    assert first.says()[0] == []
    assert first.ends() == 0
    second = program(cell + "    say(client.get_dataset('answer').result()); cluster.close()")
    assert second.says()[0] == ["answer"]
    assert second.says() == [3]
    assert second.ends() == 0
    assert store.names() == []
