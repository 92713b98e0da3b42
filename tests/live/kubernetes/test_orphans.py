"""What nobody would end is found and ended by ``gc``, with proof; what lives, or may live, is left alone."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import clusterhub
from clusterhub import ClusterGone
from clusterhub.cli import clusterhub as command
from clusterhub.display.waiting import silent
from live.kubernetes.stories import (
    asked,
    connected,
    eventually,
    lab,
    left,
    on_the_lab_alone,
    pods,
    started,
    write_profile,
)

SLOW = 90.0
STARTER = "clusterhub/starter"
NEVER_READY = {"containers": [{"readinessProbe": {"httpGet": {"path": "/no-such-page"}}}]}


@pytest.fixture(autouse=True)
def _all_is_known_and_nothing_is_left(user: Path, admin: Path, home: Path):
    write_profile(home, user)
    yield
    eventually("nothing is left", lambda: not left(admin))


def hub(*argv: str) -> str:
    """What the command prints, on both channels. It runs in this process, where it has the time that ./conftest.py gives it."""
    done = CliRunner().invoke(command, argv, prog_name="clusterhub")
    assert done.exit_code == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def marked(admin: Path, name: str) -> Any:
    """The DaskCluster, once somebody is written on it as who needs it."""

    def look() -> Any:
        cluster = asked(admin, lambda api: api.get("daskclusters", name))
        return cluster if cluster is not None and cluster["metadata"]["annotations"].get(STARTER) else None

    return eventually("it is written down who starts it", look)


def seen(name: str) -> Any:
    """What ``ls`` tells of it, once the API server has answered in time."""
    return eventually("it is listed", lambda: next((each for each in clusterhub.clusters() if each.name == name), None))


@pytest.mark.parametrize("named", [{"name": "killed"}, {}], ids=["a named one", "an unnamed one"])
def test_a_start_that_is_killed_before_there_is_a_caretaker_is_found_and_ended(user, admin, named):
    # However late it is stopped, it has not met the scheduler: until that is ready it waits.
    program = started(user, wait=False, kubernetes={"scheduler_pod": NEVER_READY}, **named)
    (name,) = eventually("it has begun", lambda: names(admin))
    marked(admin, name)
    program.send_signal(signal.SIGSTOP)  # so that it stays between the two
    eventually("it is told to be stopped, and how it goes on", lambda: "kill -CONT" in seen(name).reason)
    assert hub("gc") == "nothing to remove\n"
    assert names(admin) == [name]
    program.send_signal(signal.SIGKILL)
    program.wait()
    found = seen(name)
    assert found.state == "dead"
    assert f"process {program.pid}" in found.reason
    assert found.reason.endswith("clusterhub gc removes what is left")
    assert "would be removed" in hub("gc", "--dry-run")
    assert names(admin) == [name]
    told = hub("gc")
    assert name in told
    assert f"process {program.pid}" in told
    assert not left(admin)


def test_one_whose_starter_has_done_its_part_is_nobody_s_orphan(user, admin):
    """It is killed as well; but its caretaker is there, and knows how long a named one waits for its makers."""
    program = started(user, name="lingers", lifecycle={"linger": "10m"})
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert STARTER not in asked(admin, lambda api: api.get("daskclusters", "lingers"))["metadata"]["annotations"]
    assert hub("gc") == "nothing to remove\n"
    found = seen("lingers")
    assert (found.state, found.connected, found.asked) == ("running", 1, 1)
    assert found.ends is not None, "its caretaker tells when"
    clusterhub.attach("lingers").shutdown()


def test_a_cluster_whose_operator_does_not_run_ends_and_says_what_holds_its_name(user, admin, caplog):
    on_the_lab_alone()
    cluster = connected(user, 1, name="held")
    cluster.wait(timeout=SLOW, display=silent())
    lab("operator", "stop")
    try:
        with caplog.at_level(logging.WARNING, logger="clusterhub_backends.kubernetes.deployment"):
            cluster.shutdown()
        (warning,) = [each.getMessage() for each in caplog.records if "held was told to end" in each.getMessage()]
        assert "its name is taken until Dask's operator lets go of it" in warning
        assert warning.endswith("clusterhub gc")
        assert not pods(admin)
        with pytest.raises(ClusterGone):
            clusterhub.attach("held")
        told = eventually("that it hangs is proven", lambda: "removed" in (said := hub("gc")) and said)
        assert "only Dask's operator, which does not run, has not let go of it" in told
        assert not left(admin)
    finally:
        lab("operator", "start")


def names(admin: Path) -> list[str]:
    """The DaskClusters."""
    return [str(each["metadata"]["name"]) for each in asked(admin, lambda api: api.list("daskclusters"))]
