"""The table ``gateway`` of a profile: what it takes, what contradicts itself, and what is shown of it."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from clusterhub.cli import clusterhub as command
from clusterhub_backends.gateway.options import Auth, GatewayOptions, Mapped

from .conftest import ADDRESS, SECRET, options, profile, refused

# What it takes


def test_a_way_in_can_be_named_by_a_word():
    assert options(auth="jupyterhub").auth == Auth(type="jupyterhub")
    assert options().auth == Auth(type="basic")


@pytest.mark.parametrize("address", [ADDRESS, f"{ADDRESS}/", "http://127.0.0.1:8000", "https://[::1]:8000/x"])
def test_an_address_is_that_of_a_web_page(address: str):
    assert options(address=address).address == address


@pytest.mark.parametrize(
    "address", ["hub.example.org", "gateway://hub.example.org:8786", "https://", "https://h/a b", ""]
)
def test_what_is_no_web_address_is_refused(address: str):
    assert "gateway.address" in refused(gateway={"address": address})


def test_the_public_address_may_be_a_path_of_the_page_it_is_shown_on():
    """As the hubs of the chart ``daskhub`` have it: ``/services/dask-gateway/``."""
    assert options(public_address="/services/dask-gateway/").public_address == "/services/dask-gateway/"
    assert "gateway.public_address" in refused(gateway={"public_address": "services"})


@pytest.mark.parametrize(
    "place", [8786, "hub.example.org:8786", "tls://hub.example.org:8786", "gateway://traefik.hub:80"]
)
def test_the_proxy_is_a_port_or_a_place(place: Any):
    assert options(proxy_address=place).proxy_address == place


def test_words_are_mapped_in_one_table_or_in_tables_as_profiles_have_them():
    flat = options(map={"worker.memory": "ram", "worker.cores": False})
    nested = options(map={"worker": {"memory": "ram", "cores": False}})
    assert flat.map == nested.map == {"worker.memory": Mapped(option="ram"), "worker.cores": Mapped(option=None)}


def test_a_mapped_word_may_say_what_its_numbers_count():
    said = options(
        map={
            "worker": {"memory": {"option": "ram", "unit": "MiB"}},
            "lifecycle.idle_timeout": {"option": "t", "unit": "m"},
        }
    )
    assert said.map["worker.memory"] == Mapped(option="ram", unit="MiB")
    assert said.map["lifecycle.idle_timeout"] == Mapped(option="t", unit="m")


def test_a_word_that_no_gateway_knows_cannot_be_mapped():
    assert "worker.cores, worker.memory" in refused(gateway={"map": {"job.walltime": "walltime"}})
    assert "GiB" in refused(gateway={"map": {"worker.memory": {"option": "ram", "unit": "parsec"}}})


def test_an_option_that_is_misspelled_is_told_with_the_right_one():
    assert "did you mean proxy_address?" in refused(gateway={"proxy_adress": 8786})


# What contradicts itself


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({"type": "jupyterhub", "username": "ann"}, "username says nothing to jupyterhub"),
        ({"type": "jupyterhub", "password_file": "x"}, "password_file says nothing to jupyterhub"),
        ({"type": "basic", "token_variable": "T"}, "token_variable says nothing to basic"),
        ({"type": "kerberos", "username": "ann"}, "username says nothing to kerberos"),
        ({"type": "basic", "arguments": {"realm": "x"}}, "arguments says nothing to basic"),
        ({"type": "our.Auth", "username": "ann"}, "username says nothing to our.Auth"),
        ({"password_file": "x", "password_variable": "Y"}, "password_variable and password_file say the same thing"),
        ({"type": "jupyterhub", "token": SECRET, "token_file": "x"}, "token_file and token say the same thing"),
        ("ldap", "must be basic, jupyterhub, kerberos, or the dotted name of a class"),
    ],
)  # fmt: skip
def test_a_way_in_that_contradicts_itself_is_refused(auth: Any, told: str):
    text = refused(gateway={"auth": auth})
    assert told in text
    assert SECRET not in text


# Secrets

SECRETIVE: dict[str, dict[str, Any]] = {
    "password": {"auth": {"password": SECRET}},
    "token": {"auth": {"type": "jupyterhub", "token": SECRET}},
    "arguments": {"auth": {"type": "our.Auth", "arguments": {"realm": SECRET}}},
    "proxy": {"http_proxy": f"http://ann:{SECRET}@proxy.example.org:3128"},
    "option": {"options": {"api_token": SECRET, "tags": {"db_password": SECRET}}},
}


@pytest.mark.parametrize("said", SECRETIVE.values(), ids=SECRETIVE.keys())
def test_no_secret_is_shown_planned_or_written_down(said: dict[str, Any]):
    resolved = profile(gateway=said)
    plan = resolved.backend.plan("eddies", resolved.spec, resolved.options)
    for text in (repr(resolved.options), str(resolved.options), repr(plan), *map(repr, plan.documents), plan.summary):
        assert SECRET not in text
    shown = "\n".join(f"{leaf.path} {leaf.text}" for leaf in resolved.leaves())
    assert SECRET not in shown


@pytest.mark.parametrize("what", ["password", "token", "arguments", "proxy"])
def test_no_secret_is_in_the_data_that_leaves_this_process(what: str):
    resolved = profile(gateway=SECRETIVE[what])
    plan = resolved.backend.plan("eddies", resolved.spec, resolved.options)
    assert SECRET not in plan.model_dump_json()
    assert SECRET not in str(plan.model_dump(mode="json"))


@pytest.mark.parametrize("said", SECRETIVE.values(), ids=SECRETIVE.keys())
@pytest.mark.parametrize("words", [["show", "hub"], ["show", "hub", "--yaml"], ["show", "hub", "--json"], ["plan", "hub"],
                                   ["plan", "hub", "--json"]], ids=" ".join)  # fmt: skip
def test_no_command_prints_a_secret(home: Any, said: dict[str, Any], words: list[str]):
    import json

    table = json.dumps({"address": ADDRESS, **said})
    (home / ".clusterhub.yaml").write_text(f"profiles: {{hub: {{backend: gateway, gateway: {table}}}}}\n")
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    assert "hub.example.org" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize("key", ["address", "public_address"])
def test_an_address_that_holds_a_password_is_refused_and_not_repeated(key: str):
    text = refused(gateway={key: f"https://ann:{SECRET}@hub.example.org"})
    assert f"gateway.{key}" in text
    assert "gateway.auth" in text
    assert SECRET not in text


def test_a_secret_is_read_where_it_lies(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("OURS", SECRET)
    assert Auth(password_file="$FOLDER/password").secret.read() == SECRET
    assert Auth(password_variable="OURS").secret.read() == SECRET
    assert options(auth={"password": SECRET}).auth.secret.read() == SECRET
    assert Auth(type="jupyterhub", token_variable="OURS").secret.read() == SECRET
    assert Auth().secret.read() is None


def test_a_file_of_the_home_is_found(home: Any):
    (home / "token").write_text(SECRET)
    assert Auth(type="jupyterhub", token_file="~/token").secret.read() == SECRET


def test_a_secret_that_is_not_there_is_told_with_the_key_that_asks_for_it(tmp_path: Any):
    with pytest.raises(LookupError, match="gateway.auth.password_variable names NOT_SET, which is not set"):
        Auth(password_variable="NOT_SET").secret.read()
    with pytest.raises(LookupError, match="gateway.auth.token_file names .*/none, which cannot be read: No such file"):
        Auth(type="jupyterhub", token_file=str(tmp_path / "none")).secret.read()


def test_a_file_that_holds_no_text_is_told_by_its_key(tmp_path: Any):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LookupError, match="gateway.auth.password_file names .*/binary, which holds no text"):
        Auth(password_file=str(tmp_path / "binary")).secret.read()


@pytest.mark.parametrize("content", ["", "\n"])
def test_a_file_without_a_secret_is_not_taken_for_an_empty_one(tmp_path: Any, content: str):
    (tmp_path / "empty").write_text(content)
    with pytest.raises(LookupError, match="gateway.auth.token_file names .*/empty, which is empty"):
        Auth(type="jupyterhub", token_file=str(tmp_path / "empty")).secret.read()


def test_every_option_is_told_in_the_schema():
    properties = GatewayOptions.model_json_schema()["properties"]
    assert {name for name, told in properties.items() if not (told.get("description") or "$ref" in str(told))} == set()
