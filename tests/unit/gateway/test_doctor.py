"""What ``check`` tells of a gateway, in the order in which a person would look."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest

from clusterhub import Finding
from clusterhub_backends.gateway.doctor import findings, proxy_place

from .conftest import SECRET, options, profile
from .serving import Answer, complains, page, says, serving

OFFERS = says(
    {
        "cluster_options": [
            {
                "field": "worker_memory",
                "label": "Memory (GiB)",
                "default": 1,
                "spec": {"type": "float", "min": 1, "max": 8},
            },
            {"field": "environment", "label": "Environment", "default": {}, "spec": {"type": "mapping"}},
            {"field": "api_token", "label": "Token", "default": "", "spec": {"type": "string"}},
        ]
    }
)
HEALTHY: dict[str, Answer] = {
    "/api/version": says({"version": version("dask-gateway")}),
    "/api/v1/options": OFFERS,
    "/api/v1/clusters": says({}),
}


def line(finding: Finding) -> str:
    mark = {"ok": "✔", "warn": "!", "fail": "✘"}[finding.mark]
    because = f" <{finding.because}>" if finding.because else ""
    return f"{mark} {finding.title}: {finding.text}{because}"


async def checked(answers: Mapping[str, Answer] | Answer, **said: Any) -> list[str]:
    """The findings, each as a line; the address of the server is left out."""
    async with serving(answers) as (address, _):
        table = {"address": address, "auth": {"username": "ann"}, "http_proxy": False, **said.pop("gateway", {})}
        resolved = profile(gateway=table, **said)
        found = await asyncio.to_thread(lambda: list(findings(resolved.spec, resolved.options)))
        lines = [line(each).replace(address, "ADDRESS").replace(address.partition("//")[2], "PLACE") for each in found]
        assert SECRET not in "\n".join(lines)
        return lines


async def test_where_all_is_well_it_tells_what_would_be_sent_and_what_is_offered():
    lines = await checked(
        HEALTHY,
        worker={"memory": "8 GiB"},
        environment={"variables": {"TOKEN": SECRET}},
        lifecycle={"idle_timeout": "never"},
    )
    assert lines == [
        f"✔ gateway: ADDRESS answers, version {version('dask-gateway')}",
        "✔ credentials: ann is let in, with 0 clusters there now",
        "✔ options: sends worker_memory = 8.0, environment = {TOKEN}",
        "✔ offers: worker_memory: a number from 1 to 8, 1 unless said\nenvironment: a table of names and values\n"
        "api_token: a text",
        "✔ proxy: PLACE, where its schedulers are reached, takes connections",
    ]


async def test_another_version_is_told_and_nothing_to_send_as_well():
    lines = await checked({**HEALTHY, "/api/version": says({"version": "2023.1.0"})})
    assert lines[0] == f"✔ gateway: ADDRESS answers, version 2023.1.0 (dask-gateway here is {version('dask-gateway')})"
    assert "✔ options: sends none: everything is as the gateway has it" in lines


async def test_a_secret_among_the_options_is_not_told():
    lines = await checked(HEALTHY, gateway={"options": {"api_token": SECRET}})
    assert "✔ options: sends api_token = ********" in lines


async def test_every_refusal_is_told_by_its_key_and_what_is_offered_all_the_same():
    lines = await checked(HEALTHY, worker={"memory": "16 GiB", "cores": 2})
    assert lines[2:4] == [
        "✘ options: it has no option for that (it has worker_memory, environment, api_token); gateway.map can name one"
        " <worker.cores>",
        "✘ options: worker_memory must be a number from 1 to 8 there, in GiB <worker.memory>",
    ]
    assert lines[4].startswith("✔ offers: worker_memory")


async def test_a_gateway_that_is_not_there_is_the_last_finding():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        resolved = profile(gateway={"address": f"http://127.0.0.1:{taken.getsockname()[1]}"})
        (found,) = await asyncio.to_thread(lambda: list(findings(resolved.spec, resolved.options)))
    assert (found.mark, found.title, found.because) == ("fail", "gateway", "gateway.address")
    assert "cannot be reached" in found.text


async def test_what_is_no_gateway_is_the_last_finding():
    (told,) = await checked(page())
    assert told == "✘ gateway: ADDRESS shows a web page; see gateway.address <gateway.address>"


async def test_whom_it_does_not_let_in_is_told_after_that_it_answers():
    lines = await checked({**HEALTHY, "/api/v1/options": complains(401)})
    assert len(lines) == 2
    assert lines[1].startswith("✘ credentials: the gateway at ADDRESS does not let 'ann' in (401)")
    assert lines[1].endswith("<gateway.auth>")


async def test_a_missing_secret_is_a_matter_of_credentials():
    (told,) = await checked(HEALTHY, gateway={"auth": {"password_variable": "NOT_SET"}})
    assert told == (
        "✘ credentials: no way into the gateway: gateway.auth.password_variable names NOT_SET, which is not set in this"
        " environment <gateway.auth>"
    )


async def test_a_file_of_certificates_that_is_none_is_told_by_its_key():
    (told,) = await checked(HEALTHY, gateway={"ca_file": "/nonexistent.pem"})
    assert told.startswith("✘ gateway: gateway.ca_file names /nonexistent.pem")
    assert told.endswith("<gateway.ca_file>")


async def test_a_proxy_behind_a_firewall_is_told_by_its_key():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        lines = await checked(HEALTHY, gateway={"proxy_address": taken.getsockname()[1]})
    assert lines[-1].startswith("✘ proxy: 127.0.0.1:")
    assert lines[-1].endswith("<gateway.proxy_address>")


@pytest.mark.parametrize(
    ("address", "proxy", "place"),
    [
        ("http://hub/x", None, ("hub", 80)), ("https://hub/x", None, ("hub", 443)), ("https://hub:9/x", None, ("hub", 9)),
        ("https://hub/x", 8786, ("hub", 8786)), ("https://hub/x", "gateway://traefik:80", ("traefik", 80)),
        ("https://hub/x", "other:8786", ("other", 8786)), ("http://[::1]:8000", None, ("::1", 8000)),
        ("https://hub/x", "tls://[::1]:8786", ("::1", 8786)),
    ],
)  # fmt: skip
def test_schedulers_are_looked_for_where_dask_gateway_reaches_them(address: str, proxy: Any, place: tuple[str, int]):
    assert proxy_place(options(address=address, proxy_address=proxy)) == place
