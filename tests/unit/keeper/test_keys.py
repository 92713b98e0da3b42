"""The keys of one cluster: who may read them, how long they hold, and whom a scheduler lets in with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from distributed import Client, Scheduler, Security, Worker
from distributed.comm.core import CommClosedError, FatalCommClosedError, connect

from clusterhub.errors import BackendUnavailable
from clusterhub.keeper.keys import VALID, make_keys
from clusterhub.tls import TlsFiles


@pytest.fixture
def keys(tmp_path: Path) -> TlsFiles:
    return make_keys(tmp_path, "eddies")


@pytest.fixture
def others_keys(tmp_path: Path) -> TlsFiles:
    """Those of another cluster of the same name."""
    folder = tmp_path / "other"
    folder.mkdir()
    return make_keys(folder, "eddies")


def certificate(files: TlsFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(files.cert).read_bytes())


# The files


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_only_the_owner_can_read_the_files_whatever_the_umask(mask, tmp_path):
    with umask(mask):
        files = make_keys(tmp_path, "eddies")
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in (files.ca, files.cert, files.key)} == {0o600}


def test_keys_that_are_there_are_never_overwritten(keys, tmp_path):
    before = Path(keys.key).read_bytes()
    with pytest.raises(FileExistsError):
        make_keys(tmp_path, "eddies")
    assert Path(keys.key).read_bytes() == before
    assert Path(keys.cert).exists()


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "tls-key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        make_keys(tmp_path, "eddies")
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_pair_does_not_stay_behind(tmp_path):
    (tmp_path / "tls-cert.pem").mkdir()
    with pytest.raises(FileExistsError):
        make_keys(tmp_path, "eddies")
    assert not (tmp_path / "tls-key.pem").exists()


def test_the_files_say_where_they_are_and_nothing_secret(keys):
    told = f"{keys!r} {keys.model_dump_json()} {keys.security()!r}"
    body = Path(keys.key).read_text().splitlines()[1]
    assert body not in told
    assert TlsFiles.model_validate_json(keys.model_dump_json()) == keys


def test_without_cryptography_the_error_names_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BackendUnavailable, match=r'pip install "clusterhub\[tls\]".*network.tls: false'):
        make_keys(tmp_path, "eddies")
    assert list(tmp_path.iterdir()) == []


# The certificate


def test_a_certificate_is_valid_since_yesterday_since_clocks_differ(keys):
    made = certificate(keys)
    assert made.not_valid_before_utc < datetime.now(UTC) - timedelta(hours=23)
    assert made.not_valid_after_utc - made.not_valid_before_utc == VALID + timedelta(days=1)


def test_a_certificate_ends_when_it_was_told_to(tmp_path):
    made = certificate(make_keys(tmp_path, "eddies", timedelta(days=2)))
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=3)


@pytest.mark.parametrize("name", ["eddies", "a-very-long-name" * 10])
def test_a_certificate_tells_whose_it_is(name, tmp_path):
    (told,) = certificate(make_keys(tmp_path, name)).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert told.value == f"clusterhub {name}"[:64]


def test_strict_verification_has_nothing_to_say(keys):
    """What Python does by default since 3.13, and distributed switches off."""
    here, there = ssl.create_default_context(cafile=keys.ca), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    there.load_cert_chain(keys.cert, keys.key)
    here.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = here.wrap_bio(down, up, server_hostname="dask-internal")
    server = there.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.getpeercert()


# Whom a scheduler lets in


async def test_a_cluster_runs_on_the_files_in_every_role(keys):
    security = keys.security()
    async with (
        Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0", security=security) as scheduler,
        Worker(scheduler.address, security=security, dashboard_address="127.0.0.1:0"),
        Client(scheduler.address, security=security, asynchronous=True) as client,
    ):
        assert scheduler.address.startswith("tls://")
        assert await client.submit(sum, [1, 2]) == 3
        assert await client.gather(client.submit(sum, [2, 2]), direct=True) == 4


@pytest.fixture
async def guarded_address(keys):
    async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0", security=keys.security()) as scheduler:
        yield scheduler.address


# An attempt that is tried again would take as long as this, and the test fails for its timeout first.
PATIENCE = 3600


@pytest.mark.timeout(30)
async def test_who_speaks_no_tls_is_refused_at_once(guarded_address):
    with pytest.raises(CommClosedError):
        await connect(guarded_address.replace("tls://", "tcp://"), timeout=PATIENCE)


@pytest.mark.timeout(30)
async def test_a_client_refuses_a_cluster_whose_keys_are_others(guarded_address, others_keys):
    args = others_keys.security().get_connection_args("client")
    with pytest.raises(FatalCommClosedError):
        await connect(guarded_address, timeout=PATIENCE, **args)


@pytest.mark.timeout(30)
async def test_an_intruder_with_keys_of_their_own_is_refused_by_the_scheduler(guarded_address, others_keys):
    """One that does not mind whom it talks to: the scheduler must mind."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(others_keys.cert, others_keys.key)
    with pytest.raises(OSError):  # noqa: PT011  # a closed comm or an alert of TLS, as the platform has it
        await connect(guarded_address, timeout=PATIENCE, ssl_context=context)


@pytest.mark.timeout(30)
async def test_an_intruder_without_keys_is_refused_by_the_scheduler(guarded_address):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = guarded_address.removeprefix("tls://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    with contextlib.suppress(ssl.SSLError):
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ssl.SSLError):
        await writer.wait_closed()


async def test_nothing_goes_out_unencrypted_with_these_keys(keys):
    async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0", security=Security()) as scheduler:
        with pytest.raises(RuntimeError, match="encryption required"):
            await connect(scheduler.address, **keys.security().get_connection_args("client"))
