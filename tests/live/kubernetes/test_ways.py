"""The direct ways to the scheduler: from where pods are reached, and by what a profile shows outside."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clusterhub.display.waiting import silent
from live.kubernetes.stories import asked, connected, eventually, lab, left
from live.outages import answers

SLOW = 90.0


@pytest.fixture(autouse=True)
def _nothing_left(admin: Path):
    yield
    eventually("nothing is left", lambda: not left(admin))


@pytest.fixture
def _beside_the_cluster():
    lab("route", "on")
    yield
    lab("route", "off")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_beside_the_cluster")
def test_by_a_direct_way_clients_notice_nothing_of_an_outage_of_the_api_server(user):
    def slow(index: int) -> int:
        import time

        time.sleep(0.5)
        return index

    with connected(user, 2, kubernetes={"route": "direct"}) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        assert cluster.dashboard_link.endswith(":8787/status")
        with cluster.get_client(set_as_default=False) as client:
            running = client.map(slow, range(100), pure=False)
            lab("api", "stop")
            try:
                eventually("it is noticed", lambda: not answers(cluster))
                assert client.gather(running) == list(range(100))
                assert client.submit(sum, [1, 2]).result(timeout=SLOW) == 3
                time.sleep(10)  # 35 s in all: longer than a client waits for a scheduler
                assert client.submit(sum, [3, 4]).result(timeout=SLOW) == 7
            finally:
                lab("api", "start")
            eventually("it answers again", lambda: answers(cluster))
            cluster.scale(3)
            cluster.wait(timeout=3 * SLOW, display=silent())  # the operator may take minutes to resume
            assert client.submit(sum, [5, 6]).result(timeout=SLOW) == 11
        assert cluster.report().connected == 3


def test_a_service_for_the_outside_has_dasks_port_alone_and_leads_to_the_scheduler(user, admin):
    said = {"service_type": "NodePort", "route": "direct"}
    with connected(user, 1, kubernetes=said) as cluster:
        cluster.wait(timeout=SLOW, display=silent())
        services = {each["metadata"]["name"]: each["spec"] for each in asked(admin, lambda api: api.list("services"))}
        outside = services[f"{cluster.name}-outside"]
        assert services[f"{cluster.name}-scheduler"]["type"] == "ClusterIP", "the dashboard's port stays inside"
        (port,) = outside["ports"]
        assert (outside["type"], port["port"]) == ("NodePort", 8786)
        assert cluster.scheduler_address.endswith(f":{port['nodePort']}")
        assert cluster.dashboard_link == ""
        with cluster.get_client(set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=SLOW) == 3
