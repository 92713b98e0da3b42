"""What is told while a cluster starts reaches whoever waits, on the thread that waits where there is one."""

from __future__ import annotations

import asyncio
import threading

import pytest

import clusterhub
from clusterhub.cluster import AsyncCluster, Cluster, Opening
from clusterhub.display import news as news_
from clusterhub.display.news import News


def test_without_anybody_to_show_it_news_is_shown_at_once(capsys):
    News().tell("eddies: its keeper waits")
    assert capsys.readouterr().err == "eddies: its keeper waits\n"


def test_news_waits_for_whoever_shows_it(capsys):
    news = News()
    news.fronted = True
    news.tell("one")
    news.tell("two")
    assert capsys.readouterr().err == ""
    news.show()
    news.show()
    assert capsys.readouterr().err == "one\ntwo\n"


def opening(then, ready=lambda: True):
    """Opens a cluster after saying so, and once it is ``ready``."""
    news = News()
    resolved = clusterhub.plan("simulated", workers=0)

    async def open_():
        from clusterhub import registry

        news.tell("it takes a while")
        async with asyncio.timeout(60):
            while not ready():
                await asyncio.sleep(0.01)
        then()
        return await registry.backend("simulated").start(resolved)

    return resolved, Opening(open_, news=news)


@pytest.fixture
def shown_on(monkeypatch):
    """The threads on which something was shown."""
    threads = []
    choose = news_.choose
    monkeypatch.setattr(news_, "choose", lambda: threads.append(threading.current_thread()) or choose())
    return threads


def test_a_blocking_start_shows_it_while_it_lasts_and_on_the_callers_thread(shown_on, capsys):
    seen = []
    with Cluster(*opening(lambda: seen.append(list(shown_on)), ready=lambda: shown_on)):
        assert seen == [[threading.current_thread()]]
    assert "it takes a while" in capsys.readouterr().err


async def test_an_asynchronous_start_shows_it_too(capsys):
    async with AsyncCluster(*opening(lambda: None)):
        assert "it takes a while" in capsys.readouterr().err


def test_what_was_told_of_a_start_that_failed_is_shown(capsys):
    def fail():
        raise clusterhub.ClusterhubError("no")

    with pytest.raises(clusterhub.ClusterhubError, match="no"):
        Cluster(*opening(fail))
    assert "it takes a while" in capsys.readouterr().err
