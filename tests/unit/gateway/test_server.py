"""Whatever can go wrong with a gateway's answer is one error that says what it was, and which key decides it."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clusterhub import BackendUnavailable, ClusterGone, ClusterhubError, SubmitRejected
from clusterhub_backends.gateway import server as module
from clusterhub_backends.gateway.options import Auth, GatewayOptions
from clusterhub_backends.gateway.server import NoSuchCluster, Server, Told, Unreachable
from labs.gateway import certificate

from .conftest import SECRET
from .serving import Answer, asked, complains, hangs_up, moved, page, says, serving, silence

OPTIONS = says(
    {
        "cluster_options": [
            {"field": "cores", "label": "Cores", "default": 1, "spec": {"type": "int", "min": 1, "max": 4}}
        ]
    }
)
REPORT = {
    "name": "c1", "options": {}, "status": "RUNNING", "dashboard_route": "/clusters/c1/status", "start_time": 1764000000000,
    "stop_time": None, "tls_cert": "cert", "tls_key": "key",
}  # fmt: skip
QUESTIONS: dict[str, Callable[[Server], Awaitable[Any]]] = {
    "offers": lambda server: server.offers(),
    "version": lambda server: server.version(),
    "submit": lambda server: server.submit({}),
    "report": lambda server: server.report("c1"),
    "wait": lambda server: server.report("c1", wait=True),
    "reports": lambda server: server.reports(),
    "scale": lambda server: server.scale("c1", 2),
    "adapt": lambda server: server.adapt("c1", 0, 2),
    "stop": lambda server: server.stop("c1"),
}
OF_A_CLUSTER = ("report", "wait", "scale", "adapt", "stop")
every_question = pytest.mark.parametrize("question", QUESTIONS)


async def error_of(answer: Answer, question: str = "offers", **said: Any) -> ClusterhubError:
    """What asking comes to where every answer is this one."""
    async with serving(answer) as (address, _), asked(address, **said) as server:
        with pytest.raises(ClusterhubError) as caught:
            await QUESTIONS[question](server)
        text = str(caught.value)
        assert "127.0.0.1" in text or "c1" in text, "it names what was asked"
        assert "<html" not in text
        assert "Traceback" not in text
        return caught.value


# What is asked, and understood


async def test_offers_are_read():
    async with serving(OPTIONS) as (address, heard), asked(f"{address}/services/dask-gateway/") as server:
        offers = await server.offers()
        assert (offers["cores"].most, offers["cores"].words) == (4, "a whole number from 1 to 4")
        assert heard.requests == [("GET", "/services/dask-gateway/api/v1/options", None)]


async def test_a_cluster_is_asked_for_and_told_its_target():
    answers = {
        "/clusters": says({"name": "c1"}, 201),
        "/scale": says({"ok": True}),
        "/adapt": says({"ok": True, "msg": None}),
    }
    async with serving(answers) as (address, heard), asked(address) as server:
        assert await server.submit({"cores": 2}) == "c1"
        assert await server.scale("c1", 3) == Told(None, "")
        assert await server.adapt("c1", 1, 3) == Told(None, "")
        assert heard.requests == [
            ("POST", "/api/v1/clusters/", {"cluster_options": {"cores": 2}}),
            ("POST", "/api/v1/clusters/c1/scale", {"count": 3}),
            ("POST", "/api/v1/clusters/c1/adapt", {"minimum": 1, "maximum": 3, "active": True}),
        ]


async def test_a_limit_is_heard_in_the_words_of_the_server_and_as_a_number():
    words = "Scale request of 9 workers would exceed resource limit of 8 workers. Scaling to 8 instead."
    async with serving(says({"ok": False, "msg": words})) as (address, _), asked(address) as server:
        assert await server.scale("c1", 9) == Told(8, words)
    async with serving(says({"ok": False, "msg": "no"})) as (address, _), asked(address) as server:
        assert await server.adapt("c1", 0, 9) == Told(None, "no")


def test_the_server_tells_a_limit_in_the_words_that_are_looked_for():
    """Another version may put it otherwise; then a limit is told in its words, but not counted with."""
    from dask_gateway_server import routes

    assert Path(routes.__file__).read_text(encoding="utf-8").count("limit of ") == 2


async def test_a_report_is_where_its_scheduler_and_its_dashboard_are():
    async with (
        serving(says(REPORT)) as (address, heard),
        asked(address, public_address="/services/dask-gateway/") as server,
    ):
        report = await server.report("c1", wait=True)
        assert report.scheduler_address == f"gateway://{address.partition('//')[2]}/c1"
        assert report.dashboard_link == "/services/dask-gateway/clusters/c1/status"
        assert heard.requests == [("GET", "/api/v1/clusters/c1?wait", None)]


@pytest.mark.parametrize(
    ("address", "proxy", "place"),
    [
        ("http://hub/x", None, "hub:80"), ("https://hub/x/", None, "hub:443"), ("https://hub:9/x", None, "hub:9"),
        ("https://hub/x", 8786, "hub:8786"), ("https://hub/x", "gateway://traefik:80", "traefik:80"),
        ("https://hub/x", "tls://other:8786", "other:8786"), ("https://hub/x", "other:8786", "other:8786"),
        ("http://[::1]:8000", None, "[::1]:8000"), ("https://[::1]/x", None, "[::1]:443"),
    ],
)  # fmt: skip
async def test_schedulers_are_reached_where_dask_gateway_reaches_them(address: str, proxy: Any, place: str):
    async with asked(address, proxy_address=proxy) as server:
        assert server.gateway.proxy_address == f"gateway://{place}"


async def test_no_dask_config_of_this_process_is_a_second_source():
    import dask

    other = {"gateway.proxy-address": "tls://elsewhere:1", "gateway.public-address": "https://elsewhere",
             "gateway.auth.kwargs": {"username": "eve"}, "gateway.http-client.proxy": "http://elsewhere:1"}  # fmt: skip
    with dask.config.set(other):
        async with serving(OPTIONS) as (address, heard), asked(address) as server:
            assert await server.offers()
            assert server.gateway.proxy_address == f"gateway://{address.partition('//')[2]}"
            assert server.gateway.auth.username == "ann"


# As whom


async def test_a_name_and_a_password_are_told_once_they_are_asked_for():
    async def guarded(request: web.Request) -> web.StreamResponse:
        if "Authorization" not in request.headers:
            return web.json_response({"error": "who?"}, status=401)
        return await OPTIONS(request)

    async with (
        serving(guarded) as (address, heard),
        asked(address, auth=Auth(username="ann", password=SECRET)) as server,
    ):
        assert await server.offers()
    assert heard.headers[-1]["Authorization"] == f"Basic {base64.b64encode(f'ann:{SECRET}'.encode()).decode()}"


async def test_a_hub_s_token_is_the_one_of_this_server_unless_another_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", SECRET)
    monkeypatch.setenv("OTHER", "other")
    for auth, token in ((Auth(type="jupyterhub"), SECRET), (Auth(type="jupyterhub", token_variable="OTHER"), "other")):
        async with serving(complains(401)) as (address, heard), asked(address, auth=auth) as server:
            with pytest.raises(
                BackendUnavailable, match=r"does not let us \(jupyterhub\) in \(401\).*token may have expired"
            ):
                await server.offers()
            assert heard.headers[-1]["Authorization"] == f"jupyterhub {token}"


def unmade(**auth: Any) -> str:
    """Why there is no way into a gateway."""
    with pytest.raises(BackendUnavailable) as caught:
        Server(GatewayOptions(address="https://hub", auth=Auth(**auth)))
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_way_in_that_is_missing_here_is_told_by_its_key(tmp_path: Path):
    assert "gateway.auth.password_variable names NOT_SET" in unmade(password_variable="NOT_SET")
    assert f"gateway.auth.token_file names {tmp_path}" in unmade(type="jupyterhub", token_file=str(tmp_path))
    assert "JUPYTERHUB_API_TOKEN" in unmade(type="jupyterhub")
    assert "gateway.auth.token_variable" in unmade(type="jupyterhub")


def test_kerberos_needs_its_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kerberos", None)
    assert unmade(type="kerberos") == "gateway.auth.type is kerberos, and the package kerberos is not installed here"


PLUGIN = """
from dask_gateway.auth import GatewayAuth

class Ours(GatewayAuth):
    def __init__(self, realm):
        self.realm = realm
    def pre_request(self, resp):
        return {"Authorization": f"ours {self.realm}"}, None

class Picky(GatewayAuth):
    def __init__(self, **arguments):
        raise RuntimeError("cannot use token=" + arguments["token"])

class Mute(GatewayAuth):
    pass

class Other:
    pass
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "our_site_auth.py").write_text(PLUGIN)
    (tmp_path / "our_broken_auth.py").write_text("raise RuntimeError('no such site')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "our_site_auth"


async def test_a_class_of_a_plugin_gets_its_arguments(plugin: str):
    auth = Auth(type=f"{plugin}.Ours", arguments={"realm": SECRET})
    async with serving(complains(401)) as (address, heard), asked(address, auth=auth) as server:
        with pytest.raises(
            BackendUnavailable, match=r"does not let us \(our_site_auth.Ours\) in \(401\): see gateway.auth"
        ):
            await server.offers()
        assert heard.headers[-1]["Authorization"] == f"ours {SECRET}"


def test_a_class_that_cannot_be_used_is_told(plugin: str):
    assert "the package no_such_site_auth is not installed here" in unmade(type="no_such_site_auth.Ours")
    assert "which is no class of dask_gateway's GatewayAuth" in unmade(type=f"{plugin}.Other")
    assert "which is no class of dask_gateway's GatewayAuth" in unmade(type=f"{plugin}.Missing")
    assert "does not take gateway.auth.arguments" in unmade(type=f"{plugin}.Ours", arguments={"relm": SECRET})
    assert "cannot use token=********" in unmade(type=f"{plugin}.Picky", arguments={"token": SECRET})
    assert "our_broken_auth cannot be imported: no such site" in unmade(type="our_broken_auth.Ours")


async def test_a_class_that_answers_nothing_is_told(plugin: str):
    async with serving(complains(401)) as (address, _), asked(address, auth=Auth(type=f"{plugin}.Mute")) as server:
        with pytest.raises(BackendUnavailable, match="our_site_auth.Mute failed: .*; see gateway.auth"):
            await server.offers()


# Refused


@every_question
async def test_whom_it_does_not_let_in_is_told_how_to_get_in(question: str):
    error = await error_of(complains(401), question)
    assert type(error) is BackendUnavailable
    assert "does not let 'ann' in (401): see gateway.auth.username" in str(error)


@every_question
async def test_what_belongs_to_somebody_else_is_told_by_its_name(question: str):
    error = await error_of(complains(403), question)
    if question in OF_A_CLUSTER:
        assert str(error).startswith("c1 is the cluster of another user")
        assert not isinstance(error, ClusterGone), "it lives"
    else:
        assert "lets 'ann' do nothing (403)" in str(error)


@every_question
async def test_a_cluster_that_is_not_there_any_more_is_gone(question: str):
    error = await error_of(complains(404, "Cluster c1 not found"), question)
    if question in OF_A_CLUSTER:
        assert isinstance(error, NoSuchCluster)
        assert error.final
    else:
        assert "is no dask-gateway; see gateway.address" in str(error)


@pytest.mark.parametrize("question", OF_A_CLUSTER)
async def test_a_scheduler_that_takes_no_message_is_dead(question: str):
    error = await error_of(complains(409, "Cluster c1 is not running"), question)
    assert isinstance(error, ClusterGone)
    assert "c1" in str(error)


async def test_what_the_site_s_own_rules_refuse_is_told_in_their_words():
    error = await error_of(complains(422, "ann: a worker may have 4 GiB, and token=abcdef99 is wrong"), "submit")
    assert isinstance(error, SubmitRejected)
    assert "ann: a worker may have 4 GiB" in str(error)
    assert "abcdef99" not in str(error)


@every_question
async def test_an_error_of_the_server_s_own_points_to_its_log(question: str):
    error = await error_of(complains(500, "Internal Server Error"), question)
    assert type(error) is ClusterhubError
    assert "its log says why" in str(error)


@every_question
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_stands_before_a_gateway_that_is_down_says_nothing_final(question: str, status: int):
    error = await error_of(page("<html>Service Unavailable</html>", status), question)
    assert isinstance(error, Unreachable)
    assert f"is not up: {status}" in str(error)


async def test_an_internal_error_that_is_a_web_page_is_not_repeated():
    assert "its log says why" in str(await error_of(page("<html>oops</html>", 500), "submit"))


# No gateway


@every_question
@pytest.mark.parametrize(
    "answer",
    [
        page(), page(status=404), page("", 404, "text/plain"), page("404 page not found", 404, "text/plain"),
        page("hello", kind="text/plain"), page("{", kind="application/json"),
        page("", kind="application/json"), says(None), says([]), says({}), says({"message": "no"}), says("hello"), says(5),
    ],
    ids=["login", "404", "404 empty", "404 plain", "plain", "broken", "empty", "null", "list", "nothing", "other", "text",
         "number"],
)  # fmt: skip
async def test_what_is_no_gateway_is_told_with_the_key_of_the_address(question: str, answer: Answer):
    """Of a cluster that was there a moment ago it is no last word: a proxy that has lost its gateway answers so."""
    async with serving(answer) as (address, _), asked(address) as server:
        told, error = await outcome(QUESTIONS[question](server))
        if error is None:  # nothing was asked to be told, or nothing that could be misunderstood
            assert told in (None, "unknown", [], Told(None, "")), told
            return
        assert "gateway.address" in str(error)
        assert "<html" not in str(error)
        assert isinstance(error, BackendUnavailable)
        assert isinstance(error, Unreachable) == (question in OF_A_CLUSTER)


async def outcome(question: Awaitable[Any]) -> tuple[Any, ClusterhubError | None]:
    try:
        return await question, None
    except ClusterhubError as error:
        return None, error


async def test_a_login_page_is_told_as_one():
    answers = {"/options": moved("/hub/login"), "/login": page()}
    async with serving(answers) as (address, _), asked(address) as server:
        with pytest.raises(BackendUnavailable, match="shows a web page.*gateway.address"):
            await server.offers()


@pytest.mark.parametrize("status", [400, 405, 410, 418])
async def test_an_answer_that_nobody_expects_is_told_with_its_number(status: int):
    error = await error_of(page("<html>?</html>", status))
    assert type(error) is BackendUnavailable
    assert f"answers {status}" in str(error)


# No answer


@every_question
async def test_silence_ends_with_patience(question: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    monkeypatch.setattr(module, "LONG_PATIENCE", 0.2)
    error = await error_of(silence, question)
    assert isinstance(error, Unreachable)
    assert "did not answer within 0.2 s" in str(error)


@every_question
async def test_a_gateway_that_hangs_up_may_be_back(question: str):
    assert isinstance(await error_of(hangs_up, question), Unreachable)


async def test_a_port_where_nobody_listens_is_told_plainly():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with asked(address) as server:
            with pytest.raises(Unreachable) as caught:
                await server.offers()
    assert str(caught.value).startswith(f"the gateway at {address} cannot be reached: ")
    assert "ssl:" not in str(caught.value)


async def test_a_host_that_does_not_exist_is_told():
    async with asked("http://gateway.invalid:8000") as server:
        with pytest.raises(Unreachable, match="the gateway at http://gateway.invalid:8000 cannot be reached"):
            await server.offers()


# Encrypted, or not


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate that no authority has signed, and what a server needs to show it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate.write(folder / "cert.pem", folder / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


async def test_a_certificate_that_nobody_has_signed_is_told_with_the_key_that_trusts_it(signed: Any):
    async with serving(OPTIONS, tls=signed[1]) as (address, _), asked(address) as server:
        with pytest.raises(BackendUnavailable, match="cannot be trusted: .*gateway.ca_file") as caught:
            await server.offers()
    assert not isinstance(caught.value, Unreachable), "it will not be better by itself"


async def test_an_authority_of_the_site_s_own_is_trusted(signed: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CERTS", str(signed[0].parent))
    async with serving(OPTIONS, tls=signed[1]) as (address, _), asked(address, ca_file="$CERTS/cert.pem") as server:
        assert "cores" in await server.offers()


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_file_that_holds_no_certificates_is_told_by_its_key(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(BackendUnavailable, match="gateway.ca_file names .*ca.pem, which is no file of certificates"):
        Server(GatewayOptions(address="https://hub", ca_file=str(tmp_path / "ca.pem")))


async def test_plain_words_to_an_encrypted_port_are_told_as_that(signed: Any):
    async with serving(OPTIONS, tls=signed[1]) as (address, _), asked(address.replace("https", "http")) as server:
        with pytest.raises(BackendUnavailable, match="does it speak https"):
            await server.offers()


async def test_encrypted_words_to_a_plain_port_are_told_as_that():
    async with serving(OPTIONS) as (address, _), asked(address.replace("http", "https")) as server:
        with pytest.raises(BackendUnavailable, match="gateway.address"):
            await server.offers()


# Half-built


async def test_hundreds_of_lines_that_were_made_in_vain_leave_nothing_open(monkeypatch: pytest.MonkeyPatch):
    """``Gateway.__del__`` of a synchronous client deadlocks where it is collected on the loop's own thread."""
    import gc

    async with serving(complains(401)) as (address, _):
        for _round in range(200):
            async with asked(address) as server:
                with pytest.raises(BackendUnavailable):
                    await server.offers()
        gc.collect()
