"""Which Kubernetes is asked, as whom, and in which namespace; and that logging in leaves nothing and holds nobody up."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clusterhub import BackendUnavailable
from clusterhub_backends.kubernetes import api as module
from clusterhub_backends.kubernetes import login
from clusterhub_backends.kubernetes.api import Api

from .serving import EMPTY, asked, kubeconfig, refuses, serving, signed


@pytest.fixture
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file is left in the folder for temporary ones."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


# Who we are


def token_of(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


async def test_a_token_that_was_renewed_on_disk_is_read_once_for_all_that_were_refused(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)  # all are on their way
        return await (EMPTY if token_of(request) == "new" else refuses(401, "Unauthorized"))(request)

    async with serving(answer) as (address, heard), asked(kubeconfig(tmp_path, address)) as api:
        kubeconfig(tmp_path, address, user={"token": "new"})
        session = api.kr8s._session
        assert await asyncio.gather(*(api.list("pods") for _ in range(5))) == [[]] * 5
        assert api.kr8s._session is session, "tunnels go over it"
    assert heard.tokens.count("Bearer t0ken") == heard.tokens.count("Bearer new") == 5


def logging_in(folder: Path, script: str) -> dict[str, Any]:
    """A user whose kubeconfig names a command that logs in."""
    command = folder / "login"
    command.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    command.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(command), "args": [], "env": []}}


async def test_a_command_that_logs_in_is_run_again_where_its_token_is_not_taken_any_more(tmp_path: Path) -> None:
    credential = json.dumps({"kind": "ExecCredential", "status": {"token": "TOKEN"}})
    user = logging_in(
        tmp_path, f"echo x >>{tmp_path}/runs; echo '{credential}' | sed s/TOKEN/$(wc -l <{tmp_path}/runs)/"
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (EMPTY if token_of(request) == "2" else refuses(401, "Unauthorized"))(request)

    async with serving(answer) as (address, _), asked(kubeconfig(tmp_path, address, user=user)) as api:
        assert await api.list("pods") == []


async def test_a_command_that_does_not_log_in_says_why(tmp_path: Path) -> None:
    user = logging_in(tmp_path, "echo 'session expired' >&2; exit 1")
    with pytest.raises(
        BackendUnavailable, match=r"(?s)logs in by .*/login, which failed.*session expired.*log in again"
    ):
        await Api.of(str(kubeconfig(tmp_path, "https://127.0.0.1:1", user=user)), None, None)


async def test_a_command_that_there_is_not_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "gke-gcloud-auth-plugin-x"}}
    with pytest.raises(BackendUnavailable, match="gke-gcloud-auth-plugin-x, which does not exist here; install it"):
        await Api.of(str(kubeconfig(tmp_path, "https://127.0.0.1:1", user=user)), None, None)


async def test_a_command_that_asks_for_something_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGIN_PATIENCE", 0.3)
    user = logging_in(tmp_path, "exec sleep 60")
    with pytest.raises(BackendUnavailable, match="did not end within 0.3 s; does it ask for something"):
        await Api.of(str(kubeconfig(tmp_path, "https://127.0.0.1:1", user=user)), None, None)


@pytest.mark.usefixtures("leaves_nothing")
async def test_keys_of_a_kubeconfig_are_not_left_in_files(tmp_path: Path) -> None:
    cert, key = signed(tmp_path)
    coded = [base64.b64encode(each.read_bytes()).decode() for each in (cert, key)]
    user = {"client-certificate-data": coded[0], "client-key-data": coded[1]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    answers = iter([refuses(401, "Unauthorized")])

    async def answer(request: web.Request) -> web.StreamResponse:
        return await next(answers, EMPTY)(request)

    async with serving(answer, tls=context) as (address, _):
        file = kubeconfig(tmp_path, address, user=user, cluster={"certificate-authority-data": coded[0]})
        async with asked(file) as api:
            assert await api.list("pods") == [], "also after another login, with another session"


# Which one


async def test_a_context_has_its_own_namespace_and_a_namespace_that_is_said_counts_more(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    for context, namespace, found in ((None, None, "ocean"), ("lake", None, "pond"), ("lake", "sky", "sky")):
        async with asked(file, context, namespace) as api:
            assert api.namespace == found
            assert api.place == f"context {context or 'sea'} of {file}"
            assert api.server == "http://127.0.0.1:1"
            assert not api.in_cluster


async def test_a_context_that_there_is_not_is_told_with_those_there_are(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(BackendUnavailable, match="kubernetes.context is gke, which is not in .*; there are lake, sea"):
        await Api.of(str(file), "gke", None)
    kubeconfig(tmp_path, "http://127.0.0.1:1", **{"current-context": None})
    with pytest.raises(
        BackendUnavailable, match="says no current context, and kubernetes.context is not set; there are"
    ):
        await Api.of(str(file), None, None)
    kubeconfig(tmp_path, "http://127.0.0.1:1", **{"current-context": "moon"})
    with pytest.raises(BackendUnavailable, match="its current context is moon, which is not in"):
        await Api.of(str(file), None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [b", "not YAML"),
        ("- a\n", "no kubeconfig"),
        ("contexts: [{a: b}]\n", "one of its contexts has no name"),
        ("", "it has none"),
    ],
)
async def test_a_file_that_is_no_kubeconfig_is_told_as_such(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BackendUnavailable, match=words):
        await Api.of(str(file), None, None)


async def test_a_context_that_lacks_something_is_told_as_such(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", users=[])
    with pytest.raises(
        BackendUnavailable, match="context sea of .* cannot be used: .*does kubectl --context sea version work"
    ):
        await Api.of(str(file), None, None)


async def test_without_a_kubeconfig_it_is_told_where_one_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="there is no ~/.kube/config, and this is no pod"):
        await Api.of(None, None, None)
    with pytest.raises(BackendUnavailable, match="kubernetes.context is gke, and there is no kubeconfig here"):
        await Api.of(None, "gke", None)
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    with pytest.raises(BackendUnavailable, match="KUBECONFIG names /no/such/file, which does not exist"):
        await Api.of(None, None, None)
    with pytest.raises(BackendUnavailable, match="kubernetes.kubeconfig names /none, and there is no such file"):
        await Api.of("/none", None, None)


async def test_the_first_of_several_kubeconfigs_says_the_current_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = kubeconfig(tmp_path / "one", "http://127.0.0.1:1", **{"current-context": None})
    two = kubeconfig(tmp_path / "two", "http://127.0.0.1:2", contexts=[
        {"name": "sea", "context": {"cluster": "c", "user": "u", "namespace": "other"}}
    ])  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", f"{one}:/no/such/file:{two}")
    api = await Api.of(None, None, None)
    assert (api.namespace, api.server) == ("ocean", "http://127.0.0.1:1"), "where two say the same, the first counts"
    await api.close()


async def test_a_pod_asks_as_its_service_account_in_its_own_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = tmp_path / "account"
    account.mkdir()
    cert, key = signed(tmp_path)
    (account / "token").write_text("of-the-pod", encoding="utf-8")
    (account / "namespace").write_text("ocean\n", encoding="utf-8")
    (account / "ca.crt").write_bytes(cert.read_bytes())
    monkeypatch.setattr(login, "ACCOUNT", account)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (EMPTY if token_of(request) == "renewed" else refuses(401, "Unauthorized"))(request)

    async with serving(answer, tls=context) as (address, heard):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", address.rpartition(":")[2])
        api = await Api.of(None, None, None)
        assert (api.namespace, api.in_cluster, api.kubectl) == ("ocean", True, "kubectl")
        assert api.place == "the Kubernetes that this pod is in"
        (account / "token").write_text("renewed", encoding="utf-8")
        assert await api.list("pods") == []
        await api.close()
    assert heard.tokens == ["Bearer of-the-pod", "Bearer renewed"]
