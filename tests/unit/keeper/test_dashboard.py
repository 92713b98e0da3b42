"""The dashboard: shut to who does not know its secret path, whole to who does, and linked to from wherever one is."""

from __future__ import annotations

import importlib
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.machinery import ModuleSpec
from urllib.parse import urljoin

import dask
import pytest
from distributed import LocalCluster, Scheduler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.iostream import IOStream
from tornado.websocket import websocket_connect

from clusterhub._dask import dashboard
from clusterhub._dask.dashboard import guard, guarded, link, linked_through, plain_link, relinked, secret_prefix, tunnel

PREFIX = "s3cret-Path_of-128-bits"

Get = Callable[..., Awaitable[HTTPResponse]]


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """Guarded as a keeper does it: before the loop that would answer runs again."""
    made = Scheduler(host="127.0.0.1", dashboard=True, dashboard_address="127.0.0.1:0")
    guard(made, PREFIX)
    async with made:
        yield made


@pytest.fixture
async def get(scheduler: Scheduler) -> AsyncIterator[Get]:
    client = AsyncHTTPClient(force_instance=True)

    async def get(path: str, **options: object) -> HTTPResponse:
        url = f"http://127.0.0.1:{scheduler.http_server.port}{path}"
        return await client.fetch(HTTPRequest(url, **options), raise_error=False)

    yield get
    client.close()


# Shut

GUESSES = [
    "/",
    "/sitemap.json",
    "/health",
    "/metrics",
    "/info",
    "/info/main/workers.html",
    "/info/main/logs.html",
    "/status",
    "/status/autoload.js",
    "/status/metadata",
    "/individual-plots.json",
    "/individual-task-stream",
    "/statics/css/base.css",
    "/static/js/bokeh.min.js",
    "/json/counts.json",
    "/json/index.html",
    "/api/v1/get_workers",
    "/proxy/80/127.0.0.1/",
    "/favicon.ico",
    f"/{PREFIX}",
    f"/{PREFIX}?x",
    f"/{PREFIX[:-1]}/status",
    f"/{PREFIX}x/status",
    f"/{PREFIX.upper()}/status",
    f"//{PREFIX}/status",
    f"/./{PREFIX}/status",
    f"/%73{PREFIX[1:]}/status",
    f"/x/../{PREFIX}/status",
    f"/x?/{PREFIX}/status",
    "/%ff%00/status",
]


@pytest.mark.parametrize("path", GUESSES)
async def test_without_the_secret_path_there_is_nothing(path, get):
    answer = await get(path, follow_redirects=False)
    assert (answer.code, answer.body) == (404, b"")
    assert PREFIX not in str(answer.headers)
    assert "Server" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_no_other_verb_gets_further(method, get):
    body = b"x" if method in {"POST", "PUT"} else None
    answer = await get("/sitemap.json", method=method, body=body)
    assert (answer.code, answer.body) == (404, b"")


async def test_every_page_that_dask_knows_of_is_shut(get):
    from distributed.dashboard.scheduler import applications

    modules = [importlib.import_module(name) for name in dask.config.get("distributed.scheduler.http.routes")]
    routes = [route for module in modules for route, *_ in module.routes]
    paths = {re.sub(r"[^\w/.-]+", "x", route).strip("/") for route in [*applications, *routes]}
    assert {"status", "metrics", "health", "info/main/workers.html"} < paths
    for path in paths:
        answer = await get(f"/{path}", follow_redirects=False)
        assert (answer.code, answer.body) == (404, b""), path


@pytest.mark.parametrize("path", ["/eventstream", "/status/ws", "/ws"])
async def test_no_websocket_opens_without_the_secret_path(path, scheduler):
    with pytest.raises(HTTPClientError, match="404"):
        await websocket_connect(f"ws://127.0.0.1:{scheduler.http_server.port}{path}", subprotocols=["bokeh", "x"])


async def test_a_request_that_follows_a_good_one_on_its_connection_is_judged_on_its_own(scheduler):
    stream = IOStream(socket.socket())
    await stream.connect(("127.0.0.1", scheduler.http_server.port))
    for path, code in ((f"/{PREFIX}/health", b"200"), ("/health", b"404"), (f"/{PREFIX}/health", b"200")):
        await stream.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await stream.read_until(b"\r\n\r\n")
        assert head.split()[1] == code
        await stream.read_until(b"ok" if code == b"200" else b"0\r\n\r\n")
    stream.close()


async def test_a_scheduler_without_a_dashboard_serves_as_much_and_is_shut_as_well():
    client = AsyncHTTPClient(force_instance=True)
    async with guarded(PREFIX)(host="127.0.0.1", dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
        root = f"http://127.0.0.1:{scheduler.http_server.port}"
        paths = ("/sitemap.json", "/health", f"/{PREFIX}/health")
        codes = [(await client.fetch(root + path, raise_error=False)).code for path in paths]
    client.close()
    assert codes == [404, 404, 200]


async def test_another_secret_path_shuts_the_one_before(get, scheduler):
    guard(scheduler, "another")
    assert [(await get(path)).code for path in (f"/{PREFIX}/status", "/another/status", "/status")] == [404, 200, 404]


@pytest.mark.parametrize("prefix", ["", "/", "a/b", "a b", "ä", "x\n"])
async def test_what_is_no_secret_path_guards_nothing(prefix, scheduler):
    with pytest.raises(ValueError, match="no secret path"):
        guard(scheduler, prefix)


async def test_a_cluster_that_makes_its_own_scheduler_is_guarded_from_its_first_request_on():
    client = AsyncHTTPClient(force_instance=True)
    cluster = LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", asynchronous=True)
    cluster.scheduler_spec["cls"] = guarded(PREFIX)
    async with cluster:
        assert cluster.scheduler.identity()["type"] == "Scheduler"
        root = f"http://127.0.0.1:{cluster.scheduler.http_server.port}"
        codes = [
            (await client.fetch(root + path, raise_error=False)).code for path in ("/sitemap.json", f"/{PREFIX}/status")
        ]
    client.close()
    assert codes == [404, 200]


# Whole


@pytest.mark.parametrize(
    "path", ["status", "workers", "info/main/workers.html", "individual-task-stream", "metrics", "json/counts.json"]
)
async def test_with_the_secret_path_all_pages_are_there(path, get):
    assert (await get(f"/{PREFIX}/{path}")).code == 200


@pytest.mark.parametrize("shown", ["status", "individual-task-stream"])
async def test_all_that_a_page_loads_is_there_and_relative_so_that_a_relay_finds_it_too(shown, get):
    page = (await get(f"/{PREFIX}/{shown}")).body.decode()
    parts = set(re.findall(r'(?:src|href)="([^":]*\.(?:js|css|svg|ico)[^"]*)"', page))
    assert any("bokeh" in part for part in parts), page[:2000]
    for part in parts:
        assert not part.startswith("/")
        answer = await get(urljoin(f"/{PREFIX}/{shown}", part))
        assert answer.code == 200, part
        assert answer.body


async def test_the_status_page_comes_to_life(scheduler, get):
    """Its websocket answers what a browser would ask: the server's document, with the plots of the scheduler."""
    page = (await get(f"/{PREFIX}/status")).body.decode()
    (token,) = re.findall(r'"token":"([^"]+)"', page)
    url = f"ws://127.0.0.1:{scheduler.http_server.port}/{PREFIX}/status/ws"
    browser = await websocket_connect(url, subprotocols=["bokeh", token])
    assert browser.selected_subprotocol == "bokeh"
    header, *_ = [await browser.read_message() for _ in range(3)]
    assert json.loads(header)["msgtype"] == "ACK"
    for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
        await browser.write_message(json.dumps(part))
    while '"PULL-DOC-REPLY"' not in (told := await browser.read_message()):
        assert told is not None
    await browser.read_message()
    document = await browser.read_message()
    assert "Task Stream" in document
    browser.close()
    while await browser.read_message() is not None:
        pass


# Links


@pytest.fixture
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_USER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def jupyterhub(plain_surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named server of a JupyterHub, where jupyter-server-proxy is installed."""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/big/")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    monkeypatch.setattr(dashboard, "find_spec", lambda name: ModuleSpec(name, None))


def template(text: object) -> dask.config.set:
    return dask.config.set({"distributed.dashboard.link": text})


def test_a_secret_path_is_128_bits_that_need_no_quoting():
    made = {secret_prefix() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[\w-]{22}", prefix, re.ASCII) for prefix in made)


@pytest.mark.usefixtures("plain_surroundings")
def test_a_link_without_any_surroundings_is_the_plain_one():
    assert link("127.0.0.1", 8787, "p") == "http://127.0.0.1:8787/p/status" == plain_link("127.0.0.1", 8787, "p")
    assert link("::1", 8787, "p") == "http://[::1]:8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
def test_in_a_jupyterhub_the_link_goes_through_the_users_server():
    assert link("127.0.0.1", 8787, "p") == "/user/ada/big/proxy/8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
def test_a_jupyterhub_that_relays_no_ports_is_left_aside(monkeypatch):
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    assert link("127.0.0.1", 8787, "p") == "http://127.0.0.1:8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/user/{JUPYTERHUB_USER}/proxy/{port}/status", "/user/ada/proxy/8787/p/status"),
        ("{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status", "/user/ada/big/proxy/8787/p/status"),
        ("https://status/status/{port:05d}/status?x=1", "https://status/status/08787/p/status?x=1"),
        ("https://viz.site/{host}/{port}/", "https://viz.site/hal/8787/p/status"),
        ("{scheme}://dash.site:{port}/status", "http://dash.site:8787/p/status"),
    ],
)
def test_a_configured_link_is_respected(written, expected):
    with template(written):
        assert link("hal", 8787, "p") == expected


@pytest.mark.usefixtures("plain_surroundings")
@pytest.mark.parametrize("written", ["/user/{NOT_THERE}/status", "{}/status", "{port/status", "{port.x}/status", None])
def test_a_configured_link_that_cannot_be_filled_gives_the_plain_one(written):
    with template(written):
        assert link("hal", 8787, "p") == "http://hal:8787/p/status"


@pytest.mark.usefixtures("plain_surroundings")
def test_a_dashboard_with_a_certificate_is_linked_by_https():
    with dask.config.set({"distributed.scheduler.dashboard.tls.cert": "cert.pem"}):
        assert link("hal", 8787, "p") == "https://hal:8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
def test_a_link_that_was_written_down_elsewhere_opens_from_here():
    assert relinked("http://127.0.0.1:8787/p/status") == "/user/ada/big/proxy/8787/p/status"
    with template("{scheme}://{host}.site:{port}/status"):
        assert relinked("https://hal:8787/p/status") == "https://hal.site:8787/p/status"
        assert relinked("http://[::1]:8787/p/status") == "http://[::1].site:8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
def test_a_dashboard_of_this_machine_without_a_secret_path_opens_through_the_users_server_too():
    assert relinked("http://127.0.0.1:8787/status") == "/user/ada/big/proxy/8787/status"


@pytest.mark.usefixtures("plain_surroundings")
def test_a_jupyter_server_can_be_asked_to_relay_every_link():
    written = "http://127.0.0.1:8787/p/status"
    with linked_through("/lab2/"):
        assert relinked(written) == "/lab2/proxy/8787/p/status"
    assert relinked(written) == written
    with template("https://site/lab2/proxy/{port}/status"), linked_through("/lab2/"):
        assert relinked(written) == "https://site/lab2/proxy/8787/p/status"
    with template("https://site/{host}/{port}/status"), linked_through("/{odd}/"):
        assert relinked(written) == "/{odd}/proxy/8787/p/status"


@pytest.mark.usefixtures("jupyterhub")
@pytest.mark.parametrize("text", ["", "/user/ada/proxy/8787/p/status", "http://hal:8787/status", "http://hal/p/status"])
def test_what_is_no_plain_link_stays_as_it_is(text):
    assert relinked(text) == text


def test_the_tunnel_for_a_dashboard_elsewhere():
    assert tunnel("hal-login2", 8787) == "ssh -L 8787:127.0.0.1:8787 hal-login2"
    assert tunnel("hal-login2", 8787, "ada") == "ssh -L 8787:127.0.0.1:8787 ada@hal-login2"
    assert tunnel("hal; rm", 8787) == "ssh -L 8787:127.0.0.1:8787 'hal; rm'"
