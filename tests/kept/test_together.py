"""Several who want the same at the same moment."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import clusterhub
from clusterhub.keeper import end, opening
from clusterhub.keeper.joining import joined
from kept.conftest import SMALL, eventually, living

NONE = {"workers": 0, **SMALL}


def test_twenty_processes_with_one_name_get_one_cluster(program, store):
    body = """
        cluster = clusterhub.connect("local", name="x", keep=True, workers=1, **SMALL)
        client = cluster.get_client()
        say(cluster.scheduler_address, client.submit(os.getpid).result(timeout=120))
    """
    programs = [program(body) for _ in range(20)]
    said = [one.says() for one in programs]
    assert len({tuple(words) for words in said}) == 1, "more than one scheduler, or more than one worker"
    assert [one.ends(120) for one in programs] == [0] * 20
    living(store, "x")
    end("x")


def test_threads_of_one_process_with_one_name_get_one_cluster(store):
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(clusterhub.connect, "local", name="x", **NONE) for _ in range(4)]
        clusters = [call.result(120) for call in calls]
    assert len({cluster.scheduler_address for cluster in clusters}) == 1
    for cluster in clusters:
        cluster.close()
    assert store.names() == []


def test_one_that_ends_between_being_found_and_being_held_gives_way_to_another(store, monkeypatch):
    first = clusterhub.connect("local", name="x", **NONE)
    gone = first.scheduler_address

    async def late(*arguments):
        await asyncio.to_thread(first.close)
        return await joined(*arguments)

    monkeypatch.setattr(opening, "joined", late)
    with clusterhub.connect("local", name="x", **NONE) as second:
        assert second.scheduler_address != gone
        assert second.report().connected == 0
    assert store.names() == []


def test_when_the_first_fails_each_is_told_and_nothing_is_left(program, store):
    body = """
        broken = {"worker": SMALL["worker"], "local": {"dashboard": False, "preload": ["no_such_module"]}}
        try:
            clusterhub.connect("local", name="x", workers=1, **broken)
        except clusterhub.WorkersFailed as failed:
            say(failed.failure.summary)
    """
    programs = [program(body) for _ in range(3)]
    assert all("no_such_module" in one.says()[0] for one in programs)
    eventually(lambda: store.names() == [])  # a keeper tells why it failed, and then puts away its record
