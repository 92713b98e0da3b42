"""The table "What ends when" of docs/keeping.md, cell by cell."""

from __future__ import annotations

import time

import pytest

import clusterhub
from clusterhub.errors import ClusterGone, ConfigError, Unsupported
from clusterhub.keeper import end
from kept.conftest import SMALL, eventually, family, gone, how_it_ended, living

NONE = {"workers": 0, **SMALL}
IN_KEEPER = {"lifecycle": {"host": "process"}}
KINDS = {
    "unnamed": ("**NONE, lifecycle={'host': 'process'}", None),
    "named": ("name='eddies', **NONE", "eddies"),
    "kept": ("name='eddies', keep=True, **NONE", "eddies"),
}


def make(kind: str) -> str:
    """The first lines of a program that makes a cluster of that kind, and says its name."""
    call = KINDS[kind][0]
    return f"""
        NONE = {{"workers": 0, **SMALL}}
        cluster = clusterhub.connect("local", {call})
        say(cluster.name)
    """


# `with` and close()


@pytest.mark.parametrize(("kind", "lives"), [("unnamed", False), ("named", False), ("kept", True)])
def test_closing_ends_what_is_not_kept(program, store, kind, lives):
    maker = program(make(kind) + "    cluster.close()\n        say('closed')")
    name = maker.says()[0]
    assert maker.says() == ["closed"]
    assert maker.ends() == 0
    assert (name in store.names()) is lives
    if not lives:
        assert how_it_ended(store, name) == "it was closed"


def test_an_error_in_a_with_ends_what_is_not_kept(store):
    with pytest.raises(ZeroDivisionError), clusterhub.connect("local", name="eddies", **NONE):
        raise ZeroDivisionError
    assert store.names() == []


# The process ends


@pytest.mark.parametrize(("kind", "lives"), [("unnamed", False), ("named", True), ("kept", True)])
@pytest.mark.parametrize("how", ["exit", "kill", "os._exit", "hangup"])
def test_the_end_of_its_process_leaves_what_is_to_be_found_again(program, store, kind, lives, how):
    last = {"exit": "pass", "os._exit": "os._exit(0)"}.get(how, "time.sleep(600)")
    maker = program(make(kind) + f"    {last}")
    name = maker.says()[0]
    processes = family(living(store, name)) if how in ("kill", "hangup") else []
    if how == "kill":
        maker.kill()
    elif how == "hangup":
        maker.kill(1)
    else:
        maker.ends()
    if lives:
        time.sleep(1)  # time enough to end, had it meant to
        living(store, name)
        end(name)
    else:
        eventually(lambda: gone(processes))
        eventually(lambda: name not in store.names())


def test_a_named_cluster_is_found_again_within_its_linger_and_held_by_the_finder(program, store):
    maker = program("""
        clusterhub.connect("local", name="eddies", workers=0, lifecycle={"linger": "12s"}, **SMALL)
        say("made")
        time.sleep(600)
    """)
    maker.says()
    uid = living(store, "eddies").uid
    maker.kill()
    with clusterhub.connect("local", name="eddies", **NONE) as found:
        assert living(store, "eddies").uid == uid
        time.sleep(13)  # longer than the linger
        assert found.report().connected == 0
    assert store.names() == []


def test_a_named_cluster_ends_after_its_linger(program, store):
    maker = program("""
        clusterhub.connect("local", name="eddies", workers=0, lifecycle={"linger": "1s"}, **SMALL)
        say("made")
        time.sleep(600)
    """)
    maker.says()
    processes = family(living(store, "eddies"))
    maker.kill()
    eventually(lambda: gone(processes))
    assert "nobody came back" in how_it_ended(store, "eddies")


# shutdown() and `clusterhub down`


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("how", ["shutdown", "down"])
def test_being_told_to_ends_every_kind(program, store, kind, how):
    maker = program(make(kind) + "    time.sleep(600)")
    name = maker.says()[0]
    processes = family(living(store, name))
    if how == "shutdown":
        clusterhub.attach(name).shutdown()
    else:
        assert name in end(name)
    assert gone(processes)
    assert store.names() == []
    with pytest.raises(ClusterGone, match="ended"):
        clusterhub.attach(name)


# Idle, and old


@pytest.mark.parametrize("kind", [{}, {"name": "eddies"}, {"name": "eddies", "keep": True}])
def test_idleness_ends_every_kind_whoever_is_connected(store, kind):
    lifecycle = {"host": "process", "idle_timeout": "12s"}  # which run from its start on, before a client is there
    cluster = clusterhub.connect("local", workers=1, lifecycle=lifecycle, **kind, **SMALL)
    cluster.wait(timeout=60)
    with cluster.get_client() as client:
        assert client.submit(_sleep(), 15).result() == 15, "it ended while something was processing"
        eventually(lambda: store.names() == [])
    assert "nothing was processing for 12s" in how_it_ended(store, cluster.name)
    with pytest.raises(ClusterGone, match="idle_timeout"):
        cluster.report()
    cluster.close()


@pytest.mark.parametrize("kind", [{}, {"name": "eddies"}, {"name": "eddies", "keep": True}])
def test_age_ends_every_kind(store, kind):
    lifecycle = {"host": "process", "max_age": "12s"}
    cluster = clusterhub.connect("local", lifecycle=lifecycle, **kind, **NONE)
    eventually(lambda: store.names() == [])
    assert "age of 12s" in how_it_ended(store, cluster.name)
    cluster.close()


def test_what_goes_with_an_idle_cluster_is_told(store):
    lifecycle = {"idle_timeout": "15s"}
    cluster = clusterhub.connect("local", name="eddies", keep=True, workers=1, lifecycle=lifecycle, **SMALL)
    with cluster.get_client() as client:
        held = client.submit(lambda: bytes(30_000_000))
        client.publish_dataset(held=held)
        held.result()
        eventually(lambda: "28.6 MiB of results" in clusterhub.clusters()[0].reason)
    eventually(lambda: store.names() == [])
    assert "28.6 MiB of results went with it" in how_it_ended(store, "eddies")
    cluster.close()


# Between two


def test_detaching_keeps_it(store):
    cluster = clusterhub.connect("local", name="eddies", **NONE)
    assert not cluster.kept
    cluster.detach()
    with clusterhub.attach("eddies") as again:
        assert again.kept
    assert clusterhub.clusters()[0].kept
    end("eddies")


def test_an_inline_cluster_cannot_be_detached_or_kept():
    with clusterhub.connect("local", **NONE) as cluster:
        with pytest.raises(Unsupported, match="keep=True"):
            cluster.detach()
        assert cluster.report().connected == 0, "it was closed by the attempt"
    with pytest.raises(Unsupported, match="lifecycle.host"):
        clusterhub.connect("local", keep=True, lifecycle={"host": "inline"}, **NONE)


def test_the_last_of_two_holders_ends_it(program, store):
    other = program(make("named") + "    time.sleep(1.5); cluster.close(); say('closed')")
    other.says()
    with clusterhub.connect("local", name="eddies", **NONE) as cluster:
        assert other.says() == ["closed"]
        assert cluster.report().connected == 0
        living(store, "eddies")
    assert store.names() == []


def test_two_facades_of_one_process_let_go_on_their_own(store):
    one = clusterhub.connect("local", name="eddies", **NONE)
    other = clusterhub.connect("local", name="eddies", **NONE)
    one.close()
    assert other.report().connected == 0
    other.close()
    assert store.names() == []


def test_attaching_ends_nothing_by_closing(store):
    with clusterhub.connect("local", name="eddies", **NONE):
        with clusterhub.attach("eddies") as attached:
            assert attached.report().name == "eddies"
        living(store, "eddies")
        with pytest.raises(ClusterGone, match="let go"):
            attached.shutdown()


def test_an_attached_process_that_holds_keeps_a_named_cluster_from_ending(program, store):
    maker = program("""
        clusterhub.connect("local", name="eddies", workers=0, lifecycle={"linger": "1s"}, **SMALL)
        say("made")
        time.sleep(600)
    """)
    maker.says()
    with clusterhub.attach("eddies", hold=True) as cluster:
        maker.kill()
        time.sleep(2.5)
        assert cluster.report().connected == 0
    eventually(lambda: store.names() == [])


def test_connecting_with_keep_keeps_one_that_lives(store):
    with clusterhub.connect("local", name="eddies", **NONE):
        clusterhub.connect("local", name="eddies", keep=True, **NONE).close()
    living(store, "eddies")
    end("eddies")


def test_another_shape_is_refused_with_every_difference_and_a_way_out(store):
    with clusterhub.connect("local", name="eddies", **NONE):
        with pytest.raises(ConfigError) as refused:
            clusterhub.connect("local", name="eddies", workers=0, worker={"cores": 2, "memory": "600 MiB"})
        assert {problem.path for problem in refused.value.problems} >= {"worker.cores", "worker.memory"}
        assert "attach('eddies')" in str(refused.value)


def test_connecting_applies_the_target_that_is_said_and_leaves_it_otherwise(store):
    with clusterhub.connect("local", name="eddies", workers=1, **SMALL) as cluster:
        cluster.wait(timeout=60)
        with clusterhub.connect("local", name="eddies", workers={"minimum": 0, "maximum": 3}, **SMALL) as other:
            assert (other.minimum, other.maximum) == (0, 3)
        assert str(cluster.report().target) == "0 to 3", "the first facade does not see what the other said"
        with clusterhub.connect("local", name="eddies", **SMALL) as third:
            assert (third.minimum, third.maximum) == (0, 3)


def _sleep():
    def sleep(seconds):
        import time

        time.sleep(seconds)
        return seconds

    return sleep
