"""Nothing secret is echoed: not in problems, not in listings, not in what is printed to be pasted."""

from __future__ import annotations

from typing import Any

import pytest

import effort
from clusterhub.profile import parse_set
from clusterhub.profile.secrets import HIDDEN, is_secret_name, redact_text
from clusterhub.profile.written import one_line

SECRET = "hunter2xyz"


@pytest.mark.parametrize(
    "name", ["token", "GITHUB_TOKEN", "password", "db-passwd", "apiKey", "API_KEY", "client_secret", "AWS_SECRET_ACCESS_KEY",
             "private_key", "credentials", "Passphrase"],
)  # fmt: skip
def test_names_that_say_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "queue",
        "account",
        "token_file",
        "secret_name",
        "key",
        "PATH",
        "monkey",
        "author",
        "secretKeyRef",
        "image_pull_secrets",
        "automountServiceAccountToken",
    ],
)
def test_names_that_say_no_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_what_is_listed_with_a_secret_name_is_hidden() -> None:
    listed = {"env": [{"name": "API_TOKEN", "value": SECRET}, {"name": "TZ", "value": "UTC"}]}
    assert one_line(listed) == f"{{env: [{{name: API_TOKEN, value: {HIDDEN}}}, {{name: TZ, value: UTC}}]}}"


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{SECRET}@example.org/x", f"export DB_PASSWORD={SECRET}", f"TOKEN='{SECRET} more'; echo",
        f"--password {SECRET}", f"login --token={SECRET} x", f"Authorization: Bearer {SECRET}", f"password: {SECRET}",
        f"proxy://:{SECRET}@h",
    ],
)  # fmt: skip
def test_secrets_in_texts_are_hidden(text: str) -> None:
    assert SECRET not in redact_text(text)


def test_harmless_texts_stay_as_they_are() -> None:
    for text in (
        "module load conda",
        "/softs/bin/python",
        "run `myaccounts`",
        "http://host:8080/x",
        "select=1:ncpus=4",
    ):
        assert redact_text(text) == text


@pytest.mark.parametrize("part", ["a", "a://", "--a ", "token=", "a:", " "])
def test_redaction_of_anything_is_work_in_proportion(part: str) -> None:
    assert effort.growth(lambda size: redact_text(part * size), 1000, 8) < 20, "64 were quadratic"


@pytest.mark.parametrize(
    "options",
    [
        f"token: [{SECRET}]", f"opener: [{SECRET}]", f"opener: {{a: {SECRET}}}", f"login: {SECRET}",
        f"login: {{pin: [{SECRET}]}}",
        f"tokne: {SECRET}", f"password: {SECRET}", f"address: [https://me:{SECRET}@x]", f"labels: {{api_token: [{SECRET}]}}",
        f"login: {{user: [5], pin: {SECRET}}}", f"login: [{SECRET}]",
    ],
)  # fmt: skip
def test_no_problem_tells_a_secret(machine: Any, options: str) -> None:
    machine.user(f"profiles: {{c: {{backend: cloud, cloud: {{{options}}}}}}}")
    assert SECRET not in str(machine.refused("c"))


@pytest.mark.parametrize(
    "overrides", [{"token": SECRET}, {"password": SECRET}, {"opener": SECRET}, {"api_key": SECRET}]
)
def test_no_advice_tells_a_secret(machine: Any, overrides: dict[str, Any]) -> None:
    error = machine.refused("cloud", **overrides)
    assert SECRET not in str(error)


def test_no_problem_tells_a_secret_variable(machine: Any) -> None:
    error = machine.refused("cloud", environment={"variables": {"MY_TOKEN": SECRET, "5x": "y"}})
    assert SECRET not in str(error)


def test_leaves_and_yaml_hide_secrets(machine: Any) -> None:
    machine.user(
        f"""
        profiles:
          c:
            backend: cloud
            environment:
              setup: [export GITHUB_TOKEN={SECRET}]
              variables: {{MY_TOKEN: {SECRET}, PLAIN: fine}}
            cloud: {{token: {SECRET}, opener: {SECRET}, address: "https://me:{SECRET}@x", login: {{pin: {SECRET}}}}}
        """
    )
    resolved = machine.resolve("c")
    assert resolved.options.token.get_secret_value() == SECRET
    assert SECRET not in str(resolved.leaves())
    text = resolved.as_yaml()
    assert SECRET not in text
    assert "# token: left out, it is or holds a secret" in text
    assert "PLAIN: fine" in text
    assert SECRET not in repr(resolved.origins)
    machine.user(text)
    assert machine.resolve("c").options.token is None


def test_a_wrong_argument_of_the_command_line_tells_no_secret() -> None:
    for text in (f"cloud.token=[{SECRET}", f"token={{{SECRET}", f"cloud.address='https://me:{SECRET}@x"):
        with pytest.raises(ValueError, match="--set") as caught:
            parse_set(text)
        assert SECRET not in str(caught.value)
