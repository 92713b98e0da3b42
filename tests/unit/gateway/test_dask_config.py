"""``connect("gateway")`` on a hub: what the Dask config says of its gateway is a profile already."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from click.testing import CliRunner

from clusterhub import ConfigError
from clusterhub.cli import clusterhub as command
from clusterhub.profile import Resolved, resolve
from clusterhub_backends.gateway.dask_config import converted

from .conftest import SECRET


class Hub:
    """A Dask config as a hub's administrators write it."""

    def __init__(self, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._files = files
        self._monkeypatch = monkeypatch

    def says(self, text: str, **where: Any) -> None:
        """The table ``gateway`` of a file."""
        self._files.write("gateway:\n" + textwrap.indent(textwrap.dedent(text), "  "), "gateway.yaml", **where)

    def sets(self, **variables: str) -> None:
        """Variables of the environment, as a hub sets them for its servers."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        self._files.read()


@pytest.fixture
def hub(dask_files: Any, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.delenv("DASK_GATEWAY__ADDRESS", raising=False)
    return Hub(dask_files, monkeypatch)


def pangeo(hub: Hub) -> None:
    """What the charts ``daskhub`` and ``pangeo`` set for every server of a hub."""
    hub.sets(
        DASK_GATEWAY__ADDRESS="http://proxy-public/services/dask-gateway",
        DASK_GATEWAY__PROXY_ADDRESS="gateway://traefik-dask-gateway.prod:80",
        DASK_GATEWAY__PUBLIC_ADDRESS="/services/dask-gateway/",
        DASK_GATEWAY__AUTH__TYPE="jupyterhub",
        DASK_GATEWAY__CLUSTER__OPTIONS__IMAGE="{JUPYTER_IMAGE_SPEC}",
        JUPYTER_IMAGE_SPEC="pangeo/pangeo-notebook:2026.11.01",
        JUPYTERHUB_API_TOKEN=SECRET,
    )


def taken(**said: Any) -> dict[str, tuple[Any, str]]:
    """What the Dask config came to, without defaults: by key of the table, with its origin."""
    return found(resolve("gateway", said))


def found(resolved: Resolved) -> dict[str, tuple[Any, str]]:
    return {
        leaf.path.removeprefix("gateway."): (leaf.text, leaf.origin)
        for leaf in resolved.leaves()
        if leaf.path.startswith("gateway.") and not leaf.is_default
    }


def problems() -> dict[str, tuple[str, str]]:
    """What is wrong, by key of the Dask config: the origin and the message."""
    with pytest.raises(ConfigError) as caught:
        converted()
    assert SECRET not in str(caught.value)
    return {problem.path: (problem.origin, problem.message) for problem in caught.value.problems}


# A hub


def test_a_pangeo_hub_needs_no_profile(hub: Hub):
    pangeo(hub)
    assert taken() == {
        "address": ("http://proxy-public/services/dask-gateway", "$DASK_GATEWAY__ADDRESS"),
        "proxy_address": ("gateway://traefik-dask-gateway.prod:80", "$DASK_GATEWAY__PROXY_ADDRESS"),
        "public_address": ("/services/dask-gateway/", "$DASK_GATEWAY__PUBLIC_ADDRESS"),
        "auth.type": ("jupyterhub", "$DASK_GATEWAY__AUTH__TYPE"),
        "options.image": ("pangeo/pangeo-notebook:2026.11.01", "$DASK_GATEWAY__CLUSTER__OPTIONS__IMAGE"),
    }


def test_show_and_plan_tell_what_a_hub_says_and_where(hub: Hub):
    pangeo(hub)
    shown = CliRunner().invoke(command, ["show", "gateway"])
    assert shown.exit_code == 0, shown.output
    assert "$DASK_GATEWAY__PUBLIC_ADDRESS" in shown.output
    assert SECRET not in shown.output
    plan = CliRunner().invoke(command, ["plan", "gateway", "--set", "worker.memory=8GiB"])
    assert plan.exit_code == 0, plan.output
    assert "POST http://proxy-public/services/dask-gateway/api/v1/clusters/" in plan.output
    assert '"image": "pangeo/pangeo-notebook:2026.11.01"' in plan.output


def test_what_the_call_says_is_stronger(hub: Hub):
    pangeo(hub)
    said = taken(gateway={"address": "https://other.example.org", "options": {"image": "mine:1"}})
    assert said["address"] == ("https://other.example.org", "call")
    assert said["options.image"] == ("mine:1", "call")
    assert said["auth.type"] == ("jupyterhub", "$DASK_GATEWAY__AUTH__TYPE")


def test_a_file_is_told_with_its_line(hub: Hub):
    hub.says(
        """\
        address: https://hub.example.org/services/dask-gateway
        proxy-address: 8786
        auth:
          type: jupyterhub
        """
    )
    assert taken() == {
        "address": ("https://hub.example.org/services/dask-gateway", "~/.config/dask/gateway.yaml:2"),
        "proxy_address": ("8786", "~/.config/dask/gateway.yaml:3"),
        "auth.type": ("jupyterhub", "~/.config/dask/gateway.yaml:5"),
    }


@pytest.mark.parametrize("key", ["proxy-address", "proxy_address"])
def test_a_key_is_written_in_either_way(hub: Hub, key: str):
    hub.says(f"{key}: tls://hub.example.org:8786\n")
    assert taken()["proxy_address"][0] == "tls://hub.example.org:8786"


def test_no_other_profile_sees_it_unless_it_extends_dask(hub: Hub, home: Any):
    hub.says("address: https://hub.example.org\n")
    (home / ".clusterhub.yaml").write_text(
        """\
profiles:
  built: {extends: dask, backend: gateway, worker: {memory: 8 GiB}}
  apart: {backend: gateway, gateway: {address: "https://apart.example.org"}}
"""
    )
    assert found(resolve("built", {})) == {"address": ("https://hub.example.org", "~/.config/dask/gateway.yaml:2")}
    assert found(resolve("apart", {})) == {"address": ("https://apart.example.org", "~/.clusterhub.yaml:3")}


def test_without_any_config_the_address_is_missing_and_no_default_of_dask_gateway_is_said(dask_files: Any):
    dask_files.read()
    assert converted() == {}
    resolved = resolve("gateway", {})
    assert "gateway.address" in resolved.backend.refusals(resolved.spec, resolved.options)


# Templates, as dask-gateway fills them in


def test_templates_are_filled_in_from_the_environment(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HUB", "hub.example.org")
    monkeypatch.setenv("SIZE", "large")
    hub.says(
        """\
        address: https://{HUB}/services/dask-gateway
        public-address: https://{HUB}
        proxy-address: tls://{HUB}:8786
        auth: {type: basic, kwargs: {username: "ann-{SIZE}"}}
        http-client: {proxy: "http://{HUB}:3128"}
        cluster: {options: {profile: "{SIZE}", cores: 2, literal: "{{SIZE}}"}}
        """
    )
    said = {key: value for key, (value, _) in taken().items()}
    assert said == {
        "address": "https://hub.example.org/services/dask-gateway", "public_address": "https://hub.example.org",
        "proxy_address": "tls://hub.example.org:8786", "auth.type": "basic", "auth.username": "ann-large",
        "http_proxy": "http://hub.example.org:3128", "options.profile": "large", "options.cores": "2",
        "options.literal": '"{SIZE}"',
    }  # fmt: skip


def test_all_that_the_environment_lacks_is_told_with_its_place(hub: Hub):
    hub.says("address: https://{NO_HUB}/x\ncluster: {options: {image: '{NO_IMAGE}', fine: '{{NO_SUCH}}'}}\n")
    assert problems() == {
        "gateway.address": ("~/.config/dask/gateway.yaml:2", "needs NO_HUB, which the environment has not"),
        "gateway.cluster.options.image": (
            "~/.config/dask/gateway.yaml:3",
            "needs NO_IMAGE, which the environment has not",
        ),
    }


@pytest.mark.parametrize("template", ["https://{", "https://}x", "https://{0}", "https://{}", "{HOME.x}", "{HOME[x]}"])
def test_what_dask_gateway_could_not_fill_in_is_refused(hub: Hub, template: str):
    hub.says(f'address: "{template}"\n')
    origin, message = problems()["gateway.address"]
    assert origin == "~/.config/dask/gateway.yaml:2"
    assert "no template that dask-gateway could fill in" in message


# The way in


@pytest.mark.parametrize(
    ("auth", "table"),
    [
        ("{type: basic, kwargs: {username: ann}}", {"type": "basic", "username": "ann"}),
        ("{kwargs: {username: ann}}", {"username": "ann"}),
        ("{type: kerberos}", {"type": "kerberos"}),
        ("{type: our.Auth, kwargs: {realm: science}}", {"type": "our.Auth", "arguments": {"realm": "science"}}),
    ],
)
def test_the_classes_of_dask_gateway_and_their_arguments_are_known(hub: Hub, auth: str, table: dict[str, Any]):
    hub.says(f"address: https://h\nauth: {auth}\n")
    found = resolve("gateway", {}).options.auth
    plain = {key: getattr(found, key) for key in table}
    plain |= {"arguments": {k: v.get_secret_value() for k, v in found.arguments.items()}} if found.arguments else {}
    assert plain == table


@pytest.mark.parametrize(
    "auth", [f"{{kwargs: {{username: ann, password: {SECRET}}}}}", f"{{type: jupyterhub, kwargs: {{api_token: {SECRET}}}}}",
             f"{{type: our.Auth, kwargs: {{realm: {SECRET}}}}}"],
)  # fmt: skip
def test_a_secret_of_the_dask_config_is_used_and_not_shown(hub: Hub, auth: str):
    hub.says(f"address: https://h\nauth: {auth}\n")
    resolved = resolve("gateway", {})
    auth_ = resolved.options.auth
    secrets = {auth_.secret.read(), *(each.get_secret_value() for each in auth_.arguments.values())}
    assert SECRET in secrets
    assert SECRET not in "\n".join(leaf.text for leaf in resolved.leaves())
    assert SECRET not in repr(resolved.options)


def test_arguments_that_say_nothing_to_a_class_are_refused(hub: Hub):
    hub.says(f"address: https://h\nauth:\n  type: jupyterhub\n  kwargs:\n    username: ann\n    password: {SECRET}\n")
    assert problems() == {
        "gateway.auth.kwargs.username": ("~/.config/dask/gateway.yaml:6", "says nothing to jupyterhub"),
        "gateway.auth.kwargs.password": ("~/.config/dask/gateway.yaml:7", "says nothing to jupyterhub"),
    }


def test_a_missing_variable_of_a_secret_tells_no_secret(hub: Hub):
    hub.says(f'address: https://h\nauth: {{kwargs: {{password: "{SECRET}-{{NOT_SET}}"}}}}\n')
    assert problems()["gateway.auth.kwargs.password"][1] == "needs NOT_SET, which the environment has not"


# What it says nothing of, or wrongly


def test_no_proxy_is_no_proxy(hub: Hub):
    """Dask-gateway minds HTTP_PROXY by default; whoever takes that back wants none."""
    for text, said in (("false", False), ("null", False), ("true", True), ("http://p:1", "http://p:1")):
        hub.says(f"address: https://h\nhttp-client: {{proxy: {text}}}\n")
        assert resolve("gateway", {}).options.http_proxy == said


def test_what_says_nothing_takes_nothing_back(hub: Hub):
    hub.says("address: https://h\nproxy-address: null\nauth: null\ncluster: {options: null}\nhttp-client: null\n")
    assert taken() == {"address": ("https://h", "~/.config/dask/gateway.yaml:2")}


def test_an_option_that_is_null_is_not_sent(hub: Hub):
    hub.says("address: https://h\ncluster: {options: {image: null}}\n")
    assert resolve("gateway", {}).options.options == {}


@pytest.mark.parametrize(
    "text", ["auth: jupyterhub", "auth: {kwargs: [1]}", "cluster: {options: 5}", "cluster: 5", "http-client: 5"]
)
def test_what_is_no_table_is_told_with_its_line(hub: Hub, text: str):
    hub.says(f"address: https://h\n{text}\n")
    ((origin, message),) = problems().values()
    assert origin == "~/.config/dask/gateway.yaml:3"
    assert message == "must be a table of keys and values"


def test_a_config_whose_gateway_is_no_table_is_told(dask_files: Any):
    dask_files.write("gateway: https://h\n", "gateway.yaml")
    assert problems() == {"gateway": ("~/.config/dask/gateway.yaml:1", "must be a table of keys and values")}


def test_an_address_that_is_none_is_told_with_the_line_of_the_dask_config(hub: Hub):
    hub.says("address: hub.example.org\n")
    with pytest.raises(ConfigError, match="~/.config/dask/gateway.yaml:2  gateway.address = hub.example.org"):
        resolve("gateway", {})


def test_the_config_is_read_without_dask_gateway(home: Any):
    """So that profiles are told quickly, and a hub's as well where the package is missing."""
    folder = home / ".config" / "dask"
    folder.mkdir(parents=True)
    (folder / "gateway.yaml").write_text("gateway: {address: 'https://hub.example.org'}\n")
    script = """
        import json, sys
        from clusterhub_backends.gateway.dask_config import converted
        print(json.dumps({key: said.value for key, said in converted()["gateway"].items()}))
        print(sorted({"dask_gateway", "distributed"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config, imported = done.stdout.splitlines()
    assert json.loads(config) == {"address": "https://hub.example.org"}
    assert imported == "[]"


def test_what_it_comes_to_is_the_same_once_dask_gateway_has_added_its_defaults(hub: Hub):
    pangeo(hub)
    before = converted()
    import dask_gateway.client  # noqa: F401
    from dask import config

    config.refresh(paths=config.paths)
    assert any("gateway" in default for default in config.defaults)
    assert converted() == before


@pytest.mark.parametrize(
    ("variables", "file", "may"),
    [
        ({}, "", False),
        ({}, "jobqueue: {pbs: {queue: q}}", False),
        ({}, "gateway: {address: http://x}", True),
        ({"DASK_GATEWAY__ADDRESS": "http://x"}, "", True),
        ({"DASK_JOBQUEUE__PBS__QUEUE": "q"}, "", False),
    ],
)
def test_dask_is_imported_only_where_its_config_could_speak_of_a_gateway(tmp_path, monkeypatch, variables, file, may):
    import sys

    from clusterhub.profile.dask_config import may_say

    monkeypatch.delitem(sys.modules, "dask")
    for name in ("DASK_CONFIG", "DASK_INTERNAL_INHERIT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DASK_ROOT_CONFIG", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config.yaml").write_text(file)
    assert may_say("gateway") is may
