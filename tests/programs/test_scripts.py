"""Whole scripts, in a Python of their own: what they leave behind, and what they are told."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Script

Start = Callable[[str], Script]
SMALL = "workers=2, worker={'cores': 1, 'memory': '512 MiB'}, local={'dashboard': False}"
HELD = """
import time
from pathlib import Path

deadline = time.monotonic() + 60
while not Path({told!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.05)
"""
"""Keeps a worker from its start until the script has been interrupted, however late that is; then the start is waited for."""


def test_a_script_that_ends_with_an_open_cluster_exits_0_and_leaves_nothing(script: Start):
    run = script(f"""
        import clusterhub

        if __name__ == "__main__":
            cluster = clusterhub.connect("local", {SMALL})
            cluster.wait(timeout=60)
            print("ready", flush=True)
    """)
    run.says("ready")
    run.children()
    assert run.ends() == 0
    assert "Traceback" not in run.stderr
    assert run.leftovers() == []


def test_a_script_that_ends_with_an_open_client_too_exits_0(script: Start):
    run = script(f"""
        import clusterhub
        from distributed import Client

        if __name__ == "__main__":
            client = Client(clusterhub.connect("local", {SMALL}))
            print(client.submit(sum, [1, 2]).result(), flush=True)
    """)
    run.says("3")
    run.children()
    assert run.ends() == 0
    assert "Traceback" not in run.stderr
    assert run.leftovers() == []


def test_a_script_that_fails_inside_shows_its_own_error_alone(script: Start):
    run = script(f"""
        import clusterhub

        if __name__ == "__main__":
            with clusterhub.connect("local", {SMALL}) as cluster:
                raise ZeroDivisionError("mine")
    """)
    assert run.ends() == 1
    assert run.stderr.count("Traceback") == 1
    assert run.stderr.strip().endswith("ZeroDivisionError: mine")
    assert run.leftovers() == []


def test_an_interrupt_during_the_start_cleans_up(script: Start, tmp_path: Path):
    told, held = tmp_path / "told", tmp_path / "held.py"
    held.write_text(HELD.format(told=str(told)))
    run = script(f"""
        import pathlib, signal
        import clusterhub

        def interrupted(*arguments):
            pathlib.Path({str(told)!r}).touch()
            signal.default_int_handler(*arguments)

        if __name__ == "__main__":
            signal.signal(signal.SIGINT, interrupted)
            print("starting", flush=True)
            try:
                clusterhub.connect("local", {SMALL.removesuffix("}")}, "preload": {str(held)!r}}})
            except KeyboardInterrupt:
                print("interrupted", flush=True)
    """)
    run.says("starting")
    while not run.children():  # its workers are on their way
        assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    run.says("interrupted")
    assert run.ends() == 0
    assert run.leftovers() == []


def test_an_interrupt_of_a_wait_leaves_the_cluster_to_its_block(script: Start):
    run = script("""
        import threading
        import clusterhub

        if __name__ == "__main__":
            with clusterhub.connect("simulated", workers=1, simulated={"fault": "holds"}) as cluster:
                threading.Timer(0.5, print, ["waiting"], {"flush": True}).start()
                try:
                    cluster.wait()
                except KeyboardInterrupt:
                    print(cluster.status.name, flush=True)
    """)
    run.says("waiting")
    run.process.send_signal(signal.SIGINT)
    run.says("running")
    assert run.ends() == 0


def test_a_script_that_is_killed_leaves_no_worker(script: Start):
    run = script(f"""
        import clusterhub

        if __name__ == "__main__":
            cluster = clusterhub.connect("local", {SMALL})
            cluster.wait(timeout=60)
            print("ready", flush=True)
            import time
            time.sleep(600)
    """)
    run.says("ready")
    run.children()
    run.process.kill()
    run.ends()
    assert run.leftovers() == []


def test_a_script_without_a_guard_is_told_about_the_guard(script: Start):
    """Python's spawn imports the script again in each worker, and it would start clusters without end."""
    run = script(f"""
        import clusterhub

        cluster = clusterhub.connect("local", {SMALL})
        cluster.wait(timeout=60)
    """)
    assert run.ends() != 0
    assert 'if __name__ == "__main__"' in run.stderr.replace("'", '"')
    assert run.leftovers() == []


@pytest.mark.parametrize("method", ["close()", "report()"])
def test_a_forked_child_cannot_use_the_cluster_and_is_told_so(script: Start, method):
    run = script(f"""
        import os, warnings
        import clusterhub

        warnings.simplefilter("ignore", DeprecationWarning)
        if __name__ == "__main__":
            with clusterhub.connect("simulated", workers=0) as cluster:
                child = os.fork()
                if child == 0:
                    try:
                        cluster.{method}
                    except clusterhub.ClusterhubError as error:
                        print(error, flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
                print(cluster.report().connected, "connected", flush=True)
    """)
    assert run.ends() == 0
    assert "a forked process cannot use it" in run.stdout
    assert "0 connected" in run.stdout


def test_a_cluster_that_is_dropped_says_so(script: Start):
    run = script("""
        import gc
        import clusterhub

        if __name__ == "__main__":
            clusterhub.connect("simulated", workers=0)
            gc.collect()
            print("dropped", flush=True)
    """)
    assert run.ends() == 0
    assert "was dropped without close()" in run.stderr
