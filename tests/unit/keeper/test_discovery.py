"""`clusterhub ls` asks the backends whose clusters live elsewhere, and waits for none of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

import clusterhub
from clusterhub.backend import Ref
from clusterhub.errors import BackendUnavailable
from clusterhub.keeper import discovery


def backend(discover, unusable=None):
    async def attach(ref):
        raise NotImplementedError

    made = SimpleNamespace(discover=discover, attach=attach, unusable=lambda: unusable)
    return SimpleNamespace(load=lambda: made)


async def two():
    return [Ref(backend="far", name="tides"), Ref(backend="far", name="eddies")]


async def hangs():
    await asyncio.sleep(30)


async def fails():
    raise ConnectionError("no such host")


def broken():
    raise BackendUnavailable("not installed")


@pytest.fixture
def installed(monkeypatch):
    def install(**found):
        monkeypatch.setattr(discovery, "candidates", lambda: found)

    return install


def test_what_a_backend_knows_is_listed(installed, home):
    installed(far=backend(two))
    found = clusterhub.clusters()
    assert [(info.name, info.backend, info.state) for info in found] == [
        ("eddies", "far", "running"),
        ("tides", "far", "running"),
    ]
    assert found.remarks == ()


def test_one_that_hangs_or_fails_hides_no_other(installed):
    installed(far=backend(two), slow=backend(hangs), dead=backend(fails), broken=SimpleNamespace(load=broken))
    refs, remarks = discovery.discovered_refs(patience=0.5)
    assert [ref.name for ref in refs] == ["tides", "eddies"]
    assert len(remarks) == 2
    assert "slow did not answer within 0.5 s" in remarks[0] + remarks[1]
    assert "no such host" in remarks[0] + remarks[1]


def test_one_that_cannot_be_used_here_is_not_asked(installed):
    installed(far=backend(fails, unusable="no commands"))
    assert discovery.discovered_refs() == ([], ())


def test_what_could_not_be_looked_at_is_told_with_the_list(installed, home):
    installed(dead=backend(fails))
    assert str(clusterhub.clusters()).splitlines() == [
        "no clusters live",
        "dead could not be asked for its clusters: no such host",
    ]
