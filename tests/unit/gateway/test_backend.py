"""What the backend says before anything is sent: what it offers, refuses and plans; and that saying so costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import clusterhub
from clusterhub import ClusterSpec, Plan, Unsupported
from clusterhub.backend import SupportsAttach
from clusterhub.profile import resolve
from clusterhub_backends.gateway import GatewayBackend
from clusterhub_backends.gateway.options import GatewayOptions

from .conftest import ADDRESS, profile


def refused(**said: Any) -> dict[str, str]:
    """Why a profile is refused before the gateway is asked."""
    with pytest.raises(Unsupported) as caught:
        clusterhub.plan("gateway", **said)
    return dict(caught.value.refusals)


def test_without_an_address_it_says_where_one_is_found():
    reason = refused()["gateway.address"]
    assert "connect('gateway')" in reason
    assert "extends: dask" in reason


def test_tls_cannot_be_left_out():
    assert "nothing but TLS" in refused(network={"tls": False}, gateway={"address": ADDRESS})["network.tls"]
    for tls in (True, "auto"):
        assert clusterhub.plan("gateway", network={"tls": tls}, gateway={"address": ADDRESS}).spec.network.tls == tls


@pytest.mark.parametrize(
    "said",
    [
        {"storage": {"scratch": "$TMPDIR"}}, {"storage": {"logs": "~/logs"}}, {"environment": {"python": "/usr/bin/python"}},
        {"environment": {"setup": ["module load conda"]}}, {"environment": {"directory": "~"}}, {"job": {"walltime": "1h"}},
        {"network": {"interface": "ib0"}}, {"lifecycle": {"host": "process"}}, {"lifecycle": {"host": "job"}},
    ],
)  # fmt: skip
def test_what_no_gateway_does_is_refused_by_its_key(said: dict[str, Any]):
    ((table, entries),) = said.items()
    (key,) = entries
    assert f"{table}.{key}" in refused(gateway={"address": ADDRESS}, **said)


def test_all_refusals_come_at_once():
    assert {"gateway.address", "network.tls", "storage.logs"} <= refused(
        network={"tls": False}, storage={"logs": "x"}
    ).keys()


def test_an_idle_or_old_cluster_ends_unless_that_is_taken_back():
    lifecycle = profile().spec.lifecycle
    assert (str(lifecycle.idle_timeout), str(lifecycle.max_age)) == ("1h", "7d")


def test_nothing_said_of_workers_is_a_range_from_none_to_ten():
    assert (profile().spec.workers.minimum, profile().spec.workers.maximum) == (0, 10)


def test_its_clusters_live_elsewhere():
    backend = GatewayBackend()
    assert isinstance(backend, SupportsAttach)
    assert (backend.remote, backend.home) == (True, "inline")


def test_a_plan_is_the_request_and_survives_being_written_down():
    resolved = profile(worker={"memory": "8 GiB"}, gateway={"map": {"worker": {"memory": "ram", "cores": False}}})
    plan = resolved.backend.plan("eddies", resolved.spec, resolved.options)
    (request,) = plan.documents
    head, _, body = request.text.partition("\n\n")
    assert head == f"POST {ADDRESS}/api/v1/clusters/"
    assert json.loads(body) == {"cluster_options": {"ram": 8.0}}
    again = Plan[GatewayOptions].model_validate_json(plan.model_dump_json())
    assert again.options == plan.options
    assert again.spec == plan.spec


def test_a_plan_of_no_address_can_be_made_where_a_cluster_is_only_attached_to():
    plan = GatewayBackend().plan("eddies", ClusterSpec(backend="gateway", workers=0), resolve("gateway", {}).options)
    assert plan.name == "eddies"


QUICK = """
import sys
from clusterhub.profile import profiles, resolve
assert {each.name for each in profiles()} >= {"hub", "built"}, profiles()
for name in ("hub", "built", "gateway"):
    resolved = resolve(name, {"gateway": {"address": "https://hub.example.org"}, "worker": {"memory": "8 GiB"}})
    assert resolved.backend.plan("eddies", resolved.spec, resolved.options).documents
print(sorted({"dask_gateway", "distributed", "aiohttp", "tornado"} & set(sys.modules)))
"""


def test_profiles_and_plans_import_neither_dask_gateway_nor_distributed(home: Any):
    folder = home / ".config" / "dask"
    folder.mkdir(parents=True)
    (folder / "gateway.yaml").write_text("gateway: {address: 'https://hub.example.org'}\n")
    (home / ".clusterhub.yaml").write_text(
        "profiles: {hub: {backend: gateway}, built: {backend: gateway, extends: dask}}\n", encoding="utf-8"
    )
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "dask_gateway", None)
    with pytest.raises(clusterhub.BackendUnavailable, match=r'not installed: pip install "clusterhub\[gateway\]"'):
        GatewayBackend().load()
