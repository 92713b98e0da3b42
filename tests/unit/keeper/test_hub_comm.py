"""``Client("hub://eddies")``: a name is enough, wherever the scheduler is and whatever keys it wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, Scheduler, Security, Worker
from distributed.comm import addressing, connect, listen
from distributed.comm.core import FatalCommClosedError
from distributed.comm.registry import backends

from clusterhub._dask.hub_comm import Hub
from clusterhub.errors import ClusterGone
from clusterhub.keeper.keys import make_keys


class Names(Hub):
    """Knows what it was told."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, Security]] = {}
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.troubles: list[OSError] = []

    def resolve(self, name: str) -> tuple[str, dict[str, Any]]:
        self.asked.append(name)
        self.threads.add(threading.get_ident())
        if self.troubles:
            raise self.troubles.pop()
        if name not in self.known:
            raise ClusterGone(f"there is no cluster {name}; clusterhub ls shows those there are")
        address, security = self.known[name]
        return address, security.get_connection_args("client")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setitem(backends, "hub", names)
    return names


@pytest.fixture
def security(tmp_path: Path) -> Security:
    return make_keys(tmp_path, "eddies").security()


@pytest.fixture
async def scheduler(hub: Names, security: Security) -> AsyncIterator[Scheduler]:
    """That of cluster eddies, over TLS, with two workers."""
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "security": security}
    async with Scheduler(dashboard=False, **here) as made:
        hub.known["eddies"] = (made.address, security)
        async with Worker(made.address, name="a", **here), Worker(made.address, name="b", **here):
            yield made


@pytest.fixture
async def client(scheduler: Scheduler) -> AsyncIterator[Client]:
    async with Client("hub://eddies", asynchronous=True) as made:
        yield made


# A client by name


async def test_a_client_needs_the_name_and_no_keys(client, scheduler):
    assert await client.submit(sum, [1, 2]) == 3
    assert client.status == "running"
    assert scheduler.address in repr(client)


async def test_everything_that_goes_through_the_scheduler_works(client, scheduler):
    spread = await client.scatter([1, 2, 3], broadcast=True)
    assert await client.gather(spread) == [1, 2, 3]
    assert await client.gather(client.map(lambda x: x + 1, spread)) == [2, 3, 4]
    assert set(await client.run(lambda dask_worker: dask_worker.name)) == set(scheduler.workers)
    assert await client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address) == scheduler.address
    await client.publish_dataset(numbers=spread)
    assert await client.list_datasets() == ("numbers",)
    assert await client.gather(await client.get_dataset("numbers")) == [1, 2, 3]
    await client._update_scheduler_info(n_workers=-1)
    assert set(client.scheduler_info()["workers"]) == set(scheduler.workers)


async def test_a_client_in_ordinary_code_works_as_well(scheduler):
    def ordinary() -> tuple[int, int]:
        with Client("hub://eddies") as client:
            return client.submit(sum, [1, 2]).result(), len(client.scheduler_info(n_workers=-1)["workers"])

    assert await asyncio.to_thread(ordinary) == (3, 2)


async def test_a_task_that_asks_for_a_client_finds_its_own_scheduler(client):
    async def nested() -> int:
        from distributed import get_client

        return int(await get_client().submit(sum, [2, 3]))

    assert await client.submit(nested) == 5


async def test_names_are_looked_up_beside_the_event_loop(client, hub):
    assert hub.asked
    assert threading.get_ident() not in hub.threads


async def test_a_connection_that_breaks_is_made_again(client, scheduler, hub):
    asked = len(hub.asked)
    client.scheduler_comm.comm.abort()
    while client.id in scheduler.clients and len(hub.asked) == asked:
        await asyncio.sleep(0.01)
    while client.status != "running":
        await asyncio.sleep(0.01)
    assert await client.submit(sum, [4, 5]) == 9
    assert len(hub.asked) > asked


async def test_a_cluster_that_came_back_elsewhere_is_found_there(hub, security):
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "security": security}
    async with Scheduler(dashboard=False, **here) as first, Scheduler(dashboard=False, **here) as second:
        hub.known["eddies"] = (first.address, security)
        async with Client("hub://eddies", asynchronous=True) as client:
            hub.known["eddies"] = (second.address, security)
            await first.close()
            while client.id not in second.clients or client.status != "running":
                await asyncio.sleep(0.01)
            assert await client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address) == second.address


# Directly to workers


async def test_scattering_to_workers_directly_needs_the_keys_in_the_client(client):
    """Dask takes the client's own security there: the name stands for the scheduler alone."""
    with pytest.raises(TypeError, match="TLS expects a `ssl_context`"):
        await client.scatter([1, 2], direct=True)


async def test_gathering_from_workers_directly_goes_through_the_scheduler_then(client, caplog):
    future = client.submit(sum, [1, 2])
    assert await client.gather(future, direct=True) == 3
    assert "TLS expects a `ssl_context`" in caplog.text


LOADED: dict[str, Security] = {}


def loader(info: dict[str, str]) -> Security | None:
    """What ``distributed.client.security-loader`` may name."""
    return LOADED.get(info["address"])


async def test_with_a_security_loader_a_client_by_name_talks_to_workers_directly(scheduler, security, monkeypatch):
    monkeypatch.setitem(LOADED, "hub://eddies", security)
    with dask.config.set({"distributed.client.security-loader": f"{__name__}.loader"}):
        client = Client("hub://eddies", asynchronous=True)
    async with client:
        spread = await client.scatter([1, 2], direct=True)
        assert await client.gather(spread, direct=True) == [1, 2]


# Names that lead nowhere

# An attempt that is tried again would take as long as this, and the test fails for its timeout first.
PATIENCE = 3600


@pytest.mark.timeout(30)
async def test_a_name_that_nobody_knows_fails_at_once_and_says_what_to_do(hub):
    with pytest.raises(FatalCommClosedError, match="there is no cluster vortices; clusterhub ls"):
        await Client("hub://vortices", asynchronous=True, timeout=PATIENCE)
    assert len(hub.asked) == 1


@pytest.mark.timeout(30)
async def test_the_wrong_keys_fail_at_once(scheduler, hub, tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    hub.known["eddies"] = (scheduler.address, make_keys(folder, "eddies").security())
    with pytest.raises(FatalCommClosedError):
        await connect("hub://eddies", timeout=PATIENCE)


async def test_a_file_system_that_stumbles_is_asked_again(scheduler, hub):
    hub.troubles = [OSError("stale file handle")]
    comm = await connect("hub://eddies")
    await comm.close()
    assert len(hub.asked) == 2


# Keys


async def test_the_keys_of_the_cluster_count_and_not_the_callers(scheduler, tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    mistaken = make_keys(folder, "eddies").security()
    async with Client("hub://eddies", security=mistaken, asynchronous=True) as client:
        assert await client.submit(sum, [1, 2]) == 3


async def test_who_demands_encryption_gets_no_open_connection(hub):
    async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
        hub.known["open"] = (scheduler.address, Security())
        comm = await connect("hub://open")
        await comm.close()
        with pytest.raises(RuntimeError, match="encryption required"):
            await connect("hub://open", require_encryption=True)


# Addresses


async def test_the_address_of_a_name_is_that_of_its_scheduler(scheduler):
    host, port = addressing.get_address_host_port(scheduler.address)
    assert addressing.get_address_host("hub://eddies") == host
    assert addressing.get_address_host_port("hub://eddies") == (host, port)
    assert addressing.get_local_address_for("hub://eddies") == "hub://127.0.0.1"
    assert addressing.resolve_address("hub://eddies") == "hub://eddies"


def test_nothing_can_listen_on_a_name(hub):
    with pytest.raises(NotImplementedError, match="clients connect to.*cluster.scheduler_address"):
        listen("hub://eddies", print)
