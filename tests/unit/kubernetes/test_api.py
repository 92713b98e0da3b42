"""Whatever can go wrong between us and an API server is one error that says what it was, and what to do."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clusterhub import BackendUnavailable, ClusterGone, ClusterhubError, SubmitRejected
from clusterhub_backends.kubernetes import api as module
from clusterhub_backends.kubernetes.api import AlreadyThere, Api, Forbidden, NoSuchThing, Unreachable

from .serving import DASK, EMPTY, Answer, asked, hangs_up, kubeconfig, page, refuses, says, serving, signed, silence

FORBIDDEN = (
    'daskclusters.kubernetes.dask.org is forbidden: User "ann" cannot create resource "daskclusters" in API group'
    ' "kubernetes.dask.org" in the namespace "ocean"'
)


def listing(api: Api) -> Any:
    return api.list("daskclusters")


async def error_of(answer: Answer, folder: Path, ask: Callable[[Api], Any] = listing) -> ClusterhubError:
    """What asking comes to where every answer is this one."""
    async with serving(answer) as (address, _), asked(kubeconfig(folder, address)) as api:
        with pytest.raises(ClusterhubError) as caught:
            await ask(api)
        text = str(caught.value)
        assert "<html" not in text
        assert "Traceback" not in text
        return caught.value


def create(api: Api) -> Any:
    return api.create("daskclusters", {"metadata": {"name": "eddies"}})


# What it is asked


async def test_questions_go_where_kubernetes_has_the_answers(tmp_path: Path) -> None:
    answers = {
        f"GET {DASK}": says({"items": [{"metadata": {"name": "eddies"}}]}),
        f"GET {DASK}/eddies": says({"metadata": {"name": "eddies"}}),
        f"GET {DASK}/tides": refuses(404, 'daskclusters "tides" not found', "NotFound", kind="daskclusters", name="tides"),
        f"POST {DASK}": says({"metadata": {"uid": "1"}}, 201),
        f"PATCH {DASK}/eddies": says({}),
        f"DELETE {DASK}/eddies": says({"status": "Success"}),
        "GET /apis/apps/v1/namespaces/ocean/deployments": says({"items": []}),
        "GET /api/v1/namespaces/ocean/pods/p/log": page("line\n", kind="text/plain"),
        "GET /apis/scheduling.k8s.io/v1/priorityclasses/low": says({"value": 1}),
        "GET /version": says({"gitVersion": "v1.34.9"}),
        "GET /apis/kubernetes.dask.org": says({"preferredVersion": {"version": "v1"}}),
    }  # fmt: skip
    async with serving(answers) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        assert await api.version() == "v1.34.9"
        assert await api.dask_version() == "v1"
        assert [each["metadata"]["name"] for each in await api.list("daskclusters", labels={"a": "b", "c": "d"})] == [
            "eddies"
        ]
        assert await api.get("daskclusters", "eddies") is not None
        assert await api.get("daskclusters", "tides") is None
        assert await api.create("daskclusters", {"metadata": {"name": "eddies"}}, dry_run=True) == {
            "metadata": {"uid": "1"}
        }
        assert await api.patch("daskclusters", "eddies", {"spec": {"worker": {"replicas": 3}}}) == {}
        assert await api.delete("daskclusters", "eddies", uid="1", wait=True) is True
        assert await api.list("deployments") == []
        assert await api.logs("p", container="worker", previous=True, lines=5) == "line\n"
        assert await api.get("priorityclasses", "low") == {"value": 1}
    asked_for = {(method, path): body for method, path, body in heard.requests}
    assert ("GET", f"{DASK}?labelSelector=a%3Db%2Cc%3Dd") in asked_for
    assert asked_for["POST", f"{DASK}?fieldValidation=Strict&dryRun=All"] == {
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "metadata": {"name": "eddies"},
    }  # fmt: skip
    assert asked_for["DELETE", f"{DASK}/eddies"] == {"propagationPolicy": "Foreground", "preconditions": {"uid": "1"}}
    assert ("GET", "/api/v1/namespaces/ocean/pods/p/log?container=worker&previous=true&tailLines=5") in asked_for
    assert set(heard.tokens) == {"Bearer t0ken"}


async def test_what_is_gone_was_not_deleted_and_cannot_be_changed(tmp_path: Path) -> None:
    gone = refuses(404, 'daskclusters "eddies" not found', "NotFound", kind="daskclusters", name="eddies")
    async with serving(gone) as (address, _), asked(kubeconfig(tmp_path, address)) as api:
        assert await api.delete("daskclusters", "eddies") is False
        assert await api.logs("p") is None
        with pytest.raises(NoSuchThing, match=r"no daskclusters eddies in namespace ocean \(any more\)") as caught:
            await api.patch("daskclusters", "eddies", {})
        assert isinstance(caught.value, ClusterGone)


async def test_another_of_the_same_name_is_not_deleted(tmp_path: Path) -> None:
    conflict = refuses(409, "Precondition failed: UID in precondition: 1, UID in object meta: 2", "Conflict")
    async with serving(conflict) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        assert await api.delete("secrets", "keys", uid="1") is False
    assert len(heard.requests) == 1


async def test_two_changes_at_once_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFLICT_PAUSE", 0.0)
    answers = iter(
        [refuses(409, "Operation cannot be fulfilled on resourcequotas: please apply your changes", "Conflict")] * 2
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        return await next(answers, says({"metadata": {}}, 201))(request)

    async with serving(answer) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        assert await create(api) == {"metadata": {}}
    assert len(heard.requests) == 3


@pytest.mark.parametrize(
    "message",
    [
        'container "worker" in pod "p" is waiting to start: ContainerCreating',
        'previous terminated container "worker" in pod "p" not found',
    ],
)
async def test_a_log_that_there_is_not_yet_is_none(message: str, tmp_path: Path) -> None:
    async with (
        serving(refuses(400, message, "BadRequest")) as (address, _),
        asked(kubeconfig(tmp_path, address)) as api,
    ):
        assert await api.logs("p") is None


async def test_rights_are_asked_for_one_by_one(tmp_path: Path) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with (
        serving({f"POST {path}": says({"status": {"allowed": True}}, 201)}) as (address, heard),
        asked(kubeconfig(tmp_path, address)) as api,
    ):
        assert await api.may("get", "pods", "log")
    [(_, _, body)] = heard.requests
    assert body["spec"]["resourceAttributes"] == {
        "verb": "get", "group": "", "resource": "pods", "subresource": "log", "namespace": "ocean",
    }  # fmt: skip


async def noon(request: web.Request) -> web.StreamResponse:
    return web.json_response({"items": []}, headers={"Date": "Wed, 25 Nov 2099 12:00:00 GMT"})


async def test_times_are_those_of_the_servers_clock(tmp_path: Path) -> None:
    async with serving(noon) as (address, _), asked(kubeconfig(tmp_path, address)) as api:
        await api.list("pods")
        assert api.now.year == 2099
        api._hear_time("nonsense")
        assert api.now.year == 2099


@pytest.mark.parametrize("here", ["11:59:59.100", "12:00:00.000", "12:00:01.900"])
async def test_a_clock_that_agrees_is_not_corrected(here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromisoformat(f"2099-11-25T{here}+00:00")

    monkeypatch.setattr(module, "datetime", Clock)
    async with serving(noon) as (address, _), asked(kubeconfig(tmp_path, address)) as api:
        await api.list("pods")
        assert api._ahead == timedelta()


# What it refuses


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refuses(403, FORBIDDEN, "Forbidden"), Forbidden,
         ["ann may not create daskclusters in namespace ocean", "ask for a Role with",
          'apiGroups: ["kubernetes.dask.org"], resources: ["daskclusters"], verbs: ["create"]', "kubernetes.namespace"]),
        (refuses(403, 'nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope'),
         Forbidden, ["ann may not list nodes", "ClusterRole"]),
        (refuses(403, 'secrets "x" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=5, limited: secrets=5'),
         SubmitRejected, ["quota q of namespace ocean is used up: asked for secrets=1, secrets=5 of secrets=5 in use"]),
        (refuses(403, 'secrets "x" is forbidden: unable to create new content in namespace ocean because it is being terminated'),
         SubmitRejected, ["namespace ocean is being deleted", "kubernetes.namespace"]),
        (refuses(403, 'admission webhook "rules.example.org" denied the request: no cost centre'), SubmitRejected,
         ["webhook rules.example.org", "no cost centre"]),
        (refuses(422, "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not today",
                 "Invalid"), SubmitRejected, ["policy p", "not today"]),
        (refuses(422, 'DaskCluster "x" is invalid', "Invalid", causes=[{"field": "spec.worker", "message": "Required value"}]),
         SubmitRejected, ["does not take daskclusters eddies", "spec.worker: Required value"]),
        (refuses(404, 'namespaces "ocean" not found', "NotFound", kind="namespaces", name="ocean"), BackendUnavailable,
         ["no namespace ocean", "kubectl --context sea create namespace ocean", "kubernetes.namespace"]),
        (page("404 page not found\n", 404, "text/plain"), BackendUnavailable, ["no DaskClusters", "helm install"]),
        (refuses(409, 'daskclusters "eddies" already exists', "AlreadyExists"), AlreadyThere, ["daskclusters eddies", "already"]),
        (refuses(400, "the object provided is unrecognized", "BadRequest"), SubmitRejected, ["unrecognized"]),
        (refuses(401, "Unauthorized", "Unauthorized"), BackendUnavailable, ["does not know us (401)", "may have expired"]),
        (refuses(500, "etcdserver: request timed out", "InternalError"), Unreachable, ["cannot answer now", "etcdserver"]),
        (refuses(429, "too many requests", "TooManyRequests"), Unreachable, ["too many requests"]),
        (page("<html>Bad gateway</html>", 502), Unreachable, ["502", "web page"]),
        (page("<html>Sign in</html>"), BackendUnavailable, ["not as a Kubernetes does", "kubernetes.context"]),
        (says([1, 2]), BackendUnavailable, ["not as a Kubernetes does"]),
        (page("Client sent an HTTP request to an HTTPS server.", 400, "text/plain"), BackendUnavailable, ["HTTPS server"]),
        (hangs_up, Unreachable, ["cannot be reached"]),
    ],
)  # fmt: skip
async def test_each_refusal_says_what_was_wrong_and_what_to_do(
    answer: Answer, kind: type[ClusterhubError], words: list[str], tmp_path: Path
) -> None:
    error = await error_of(answer, tmp_path, create)
    assert type(error) is kind
    for each in words:
        assert each in str(error)


async def test_an_answer_without_items_is_no_list(tmp_path: Path) -> None:
    assert "not as a Kubernetes does" in str(await error_of(says({"kind": "Sheep"}), tmp_path))
    assert "not as a Kubernetes does" in str(await error_of(says({}), tmp_path, lambda api: api.version()))


async def test_no_secret_of_an_answer_is_shown(tmp_path: Path) -> None:
    error = await error_of(refuses(422, "token=hunter2xyz is not valid", "Invalid"), tmp_path, create)
    assert "hunter2xyz" not in str(error)


async def test_a_right_that_is_lacking_is_told_once_and_nobody_logs_in_again_for_it(tmp_path: Path) -> None:
    async with serving(refuses(403, FORBIDDEN)) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        with pytest.raises(Forbidden) as caught:
            await api.list("daskclusters")
        assert (caught.value.verb, caught.value.resource) == ("create", "daskclusters")
    assert len(heard.requests) == 1


# The way there


async def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    error = await error_of(silence, tmp_path)
    assert type(error) is Unreachable
    assert "did not answer within 0.2 s" in str(error)


async def test_a_server_that_is_away_and_comes_back_is_asked_again_on_the_same_line(tmp_path: Path) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    async with asked(kubeconfig(tmp_path, f"http://127.0.0.1:{port}")) as api:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await api.list("pods")
        runner = web.AppRunner(web.Application())
        runner.app.router.add_get("/{path:.*}", EMPTY)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        assert await api.list("pods") == []
        await runner.cleanup()
        with pytest.raises(Unreachable):
            await api.list("pods")


async def test_a_server_that_cannot_be_trusted_is_not_merely_away(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed(tmp_path))
    async with serving(EMPTY, tls=context) as (address, _), asked(kubeconfig(tmp_path, address)) as api:
        with pytest.raises(
            BackendUnavailable, match=r"cannot be trusted: self.signed certificate.*certificate-authority"
        ) as caught:
            await api.list("pods")
        assert not isinstance(caught.value, Unreachable)


async def test_http_is_not_taken_for_https(tmp_path: Path) -> None:
    async with serving(EMPTY) as (address, _), asked(kubeconfig(tmp_path, address.replace("http:", "https:"))) as api:
        with pytest.raises(BackendUnavailable, match="does not speak https"):
            await api.list("pods")


async def test_a_question_that_is_broken_off_in_the_handshake_leaves_no_connection(tmp_path: Path) -> None:
    """httpcore would leave it to the garbage collector, as long as the event loop lives."""
    greeted, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(2**16)
        greeted.set()
        assert await reader.read() == b""
        ended.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asked(kubeconfig(tmp_path, f"https://127.0.0.1:{port}")) as api:
            question = asyncio.create_task(api.list("pods"))
            await asyncio.wait_for(greeted.wait(), 30)
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
            await asyncio.wait_for(ended.wait(), 30)


async def test_an_address_that_is_none_is_told_as_such(tmp_path: Path) -> None:
    async with asked(kubeconfig(tmp_path, "gopher://nowhere")) as api:
        with pytest.raises(BackendUnavailable, match="names gopher://nowhere as its server"):
            await api.list("pods")


async def test_a_line_that_was_closed_opens_no_other(tmp_path: Path) -> None:
    async with serving(EMPTY) as (address, heard):
        api = await Api.of(str(kubeconfig(tmp_path, address)), None, None)
        await api.close()
        await api.close()
        with pytest.raises(ClusterhubError, match="has been closed"):
            await api.list("pods")
    assert heard.requests == []


# Lines that share nothing


async def test_two_lines_to_the_same_server_do_not_close_one_another(tmp_path: Path) -> None:
    async with serving(EMPTY) as (address, _):
        file = kubeconfig(tmp_path, address)
        async with asked(file) as one:
            async with asked(file) as other:
                assert one.kr8s is not other.kr8s
                await other.list("pods")
            assert await one.list("pods") == []
            import kr8s

            theirs = await kr8s.asyncio.Api(bypass_factory=True, kubeconfig=str(file)).auth
            assert theirs is not one.kr8s.auth


def test_loops_in_threads_and_loops_after_one_another_each_have_their_own(tmp_path: Path) -> None:
    """Ids of loops are used again; kr8s keeps its objects by them."""

    async def asks(file: Path) -> int:
        async with asked(file) as api:
            return len(await api.list("pods"))

    async def main() -> list[int]:
        async with serving(EMPTY) as (address, _):
            file = kubeconfig(tmp_path, address)
            threads = [asyncio.to_thread(lambda: [asyncio.run(asks(file)) for _ in range(3)]) for _ in range(4)]
            return [length for each in await asyncio.gather(*threads) for length in each]

    assert asyncio.run(main()) == [0] * 12
    gc.collect()  # a socket that was left open would be told of now


async def test_many_questions_at_once_go_over_one_session(tmp_path: Path) -> None:
    async with serving(EMPTY) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        session = api.kr8s._session
        await asyncio.gather(*(api.list("pods") for _ in range(30)))
        assert api.kr8s._session is session
    assert len(heard.requests) == 30
