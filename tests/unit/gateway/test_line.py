"""The line to a scheduler: the caretaker travels there by value, or the cluster goes without and says why."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from distributed import Scheduler
from distributed.security import Security

from clusterhub import ClusterGone
from clusterhub._dask import caretaker
from clusterhub._dask import line as module
from clusterhub._dask.caretaker import Caretaker
from clusterhub._dask.line import Line
from clusterhub_backends.gateway import caretaker as own
from clusterhub_backends.gateway.caretaker import GatewayCaretaker

from .cared import Cared, cared, eventually

MEMORY: Mapping[str, Any] = {
    "plan": {"name": "eddies"}, "named": True, "kept": True, "created": 0.0, "asked": [1, 1], "limit": None, "linger": 600.0,
    "idle_timeout": None, "max_age": None,
}  # fmt: skip


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cared]:
    monkeypatch.setattr(module, "CONNECT_PATIENCE", 60.0)  # this machine may be busy, too
    async with cared() as made:
        yield made


@asynccontextmanager
async def lined(cluster: Cared) -> AsyncIterator[Line]:
    """A line to its scheduler, without TLS."""
    line = Line(cluster.scheduler.address, Security(), GatewayCaretaker)
    try:
        yield line
    finally:
        await line.close()


class Heard:
    """What comes over a line on which somebody stays."""

    def __init__(self, line: Line, *, holds: bool = True) -> None:
        self.ups = 0
        self.heard: list[Any] = []
        self.task = asyncio.ensure_future(line.stay("ann", holds, self._up, self.heard.append))

    def _up(self) -> None:
        self.ups += 1


# A caretaker


async def test_a_caretaker_is_met_or_installed_and_remembers_what_the_first_was_told(cluster: Cared):
    async with lined(cluster) as first, lined(cluster) as second:
        assert not first.attended
        await first.meet(MEMORY)
        await second.meet({**MEMORY, "asked": [9, 9]})
        assert first.attended
        assert second.attended
        assert first.memory == second.memory
        told = await second.tell("observe")
        assert (told["count"], list(told["asked"]), told["kept"]) == (0, [1, 1], True)
        assert list(second.memory["asked"]) == [1, 1]
        assert (first.remark, second.remark) == ("", "")


UNAIDED = """
    import importlib.abc, pickle, sys

    class Without(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.partition(".")[0] in ("clusterhub", "clusterhub_backends"):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Without())
    install, kind = pickle.loads(sys.stdin.buffer.read())
    recall = install.__globals__["recall"] if "recall" in install.__globals__ else None

    class Scheduler:
        def __init__(self):
            from types import SimpleNamespace
            self.services = {"gateway": SimpleNamespace(count=0, closing_workers=set())}
            self.plugins, self.handlers, self.workers = {}, {}, {}
        def add_plugin(self, plugin, name):
            self.plugins[name] = plugin
        def check_idle(self):
            return None

    import asyncio

    async def main():
        scheduler = Scheduler()
        answer = install(scheduler, kind, {"kept": True, "idle_timeout": None, "max_age": None, "created": 0.0})
        await asyncio.sleep(0.1)
        await scheduler.plugins["clusterhub-caretaker"].close()
        print(answer["version"], sorted(scheduler.handlers))
        assert not [name for name in sys.modules if name.startswith("clusterhub")]

    asyncio.run(main())
"""


async def test_what_travels_runs_where_clusterhub_is_not_installed():
    import sys

    from clusterhub._dask.scheduler import _by_value
    from clusterhub.parts import draining

    there = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(UNAIDED), stdin=-1, stdout=-1, stderr=-1
    )
    out, error = await there.communicate(_by_value((caretaker.install, GatewayCaretaker), (draining, caretaker, own)))
    assert there.returncode == 0, error.decode()
    assert out.decode().split(maxsplit=1) == [str(caretaker.VERSION), "['clusterhub-attend', 'clusterhub-order']\n"]


async def test_what_a_caretaker_remembers_is_recalled_with_who_is_connected(cluster: Cared):
    async with lined(cluster) as line:
        assert await line.recall() is None
        await line.meet(MEMORY)
        recalled = await line.recall()
        assert recalled is not None
        assert (recalled["plan"], recalled["connected"]) == ({"name": "eddies"}, 0)


# Without


async def test_another_python_on_the_scheduler_goes_without_and_says_so(
    cluster: Cared, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_python_here", lambda: "3.99")
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        assert not line.attended
        assert "no caretaker of ours could be put into its scheduler (its scheduler runs Python 3." in line.remark
        assert "this is 3.99): scaling down may interrupt tasks" in line.remark
        assert await line.recall() is None
        assert Caretaker.name not in cluster.scheduler.plugins
        identity = await line.link.identity()
        assert identity["workers"] == {}, "it is asked what any scheduler answers"


async def test_a_scheduler_that_takes_no_functions_goes_without(cluster: Cared):
    async def refuses(**call: Any) -> Any:
        raise ValueError("not allowed here")

    cluster.scheduler.handlers["run_function"] = refuses
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        assert not line.attended
        assert "not allowed here" in line.remark


async def test_one_without_dask_gateway_s_service_goes_without(cluster: Cared):
    del cluster.scheduler.services["gateway"]
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        assert not line.attended
        assert "could not run install" in line.remark


async def test_a_caretaker_of_another_version_is_left_alone(cluster: Cared):
    theirs = cluster.care()
    theirs.version = caretaker.VERSION - 1
    theirs.life = None  # it knows other things, and is asked for none of them
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        assert not line.attended
        assert "another version of clusterhub made it" in line.remark
        assert await line.recall() is None


# Staying on the line


async def test_who_stays_holds_the_cluster_and_hears_why_it_ends(cluster: Cared, monkeypatch: pytest.MonkeyPatch):
    there = cluster.care()
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        heard = Heard(line)
        await eventually(lambda: there._holders)
        assert heard.ups == 1
        await there.remember(max_age=1.0, created=0.0)
        there.kick.set()
        await eventually(lambda: {"ends": "it reached its age of 1 s"} in heard.heard)
        heard.task.cancel()
        await eventually(lambda: not there._holders)


async def test_who_only_watches_holds_nothing(cluster: Cared):
    there = cluster.care()
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        heard = Heard(line, holds=False)
        await eventually(lambda: there._watchers)
        assert not there._holders
        heard.task.cancel()
        await eventually(lambda: not there._watchers)


async def test_without_a_caretaker_the_line_is_up_all_the_same(cluster: Cared):
    async with lined(cluster) as line:
        heard = Heard(line)
        await eventually(lambda: heard.ups)
        assert not heard.task.done()
        await cluster.scheduler.close()
        await asyncio.wait_for(heard.task, 60)


async def test_a_line_returns_when_its_scheduler_ends(cluster: Cared):
    async with lined(cluster) as line:
        await line.meet(MEMORY)
        heard = Heard(line)
        await eventually(lambda: heard.ups)
        await cluster.scheduler.close()
        assert await asyncio.wait_for(heard.task, 60) is None


async def test_where_nobody_answers_no_line_can_be_made():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
        address = scheduler.address
    line = Line(address, Security(), GatewayCaretaker)
    with pytest.raises(ClusterGone, match=f"the scheduler at {address} cannot be reached") as caught:
        await line.stay("ann", True, lambda: None, lambda said: None)
    assert not caught.value.final
    with pytest.raises(ClusterGone):
        await line.meet(MEMORY)
    await line.close()


async def test_where_somebody_listens_and_says_nothing_patience_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CONNECT_PATIENCE", 3.0)  # of which Dask has 2.4 s to connect
    let_go = asyncio.Event()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        let_go.set()

    silent = await asyncio.start_server(listens, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        line = Line(f"tcp://127.0.0.1:{port}", Security(), GatewayCaretaker)
        with pytest.raises(ClusterGone, match=r"cannot be reached: no answer within 3 s"):
            await line.stay("ann", True, lambda: None, lambda said: None)
        await line.close()
        await asyncio.wait_for(let_go.wait(), 60)


# Tasks


async def test_a_task_is_ended_once_and_for_all():
    async def works() -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(works())
    await asyncio.sleep(0)
    await module.ended(task)
    assert task.cancelled()
    await module.ended(task)
    await module.ended(None)


async def test_a_task_that_nobody_awaits_tells_what_it_failed_with(caplog: pytest.LogCaptureFixture):
    async def fails() -> None:
        raise RuntimeError("of no use")

    async def works() -> None:
        return None

    for work in (fails, works):
        task: asyncio.Task[None] = asyncio.create_task(work(), name=work.__name__)
        task.add_done_callback(module.logged)
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert "clusterhub: fails failed" in caplog.text
    assert "of no use" in caplog.text
    assert "works failed" not in caplog.text
