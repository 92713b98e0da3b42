"""The page of the gateway says all that there is, by the names that it has."""

from __future__ import annotations

import re
from pathlib import Path

from clusterhub_backends.gateway.options import Auth, GatewayOptions
from clusterhub_backends.gateway.request import USUAL

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
SOURCE = "".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "backends" / "clusterhub_backends" / "gateway").glob("*.py")
)


def test_it_names_every_option_and_every_way_in():
    names = {*GatewayOptions.model_fields, *Auth.model_fields} - {"type"}
    assert {name for name in names if name not in PAGE} == set()


def test_it_names_all_words_and_all_usual_names_in_their_order():
    for word, names in USUAL.items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{word}` | `")]
        assert re.findall(r"`(\w+)`", row.partition(" | ")[2]) == list(names), word


def test_what_it_says_is_said_is_said():
    """Word for word, but for what stands in their places."""
    table = PAGE.partition("| it says |")[2].partition("## ")[0]
    told = re.findall(r"^\| (.*?) \| ", table, re.MULTILINE)[1:]
    phrases = [
        part
        for cell in told
        for quoted in re.findall(r"`([^`]+)`", cell)
        for part in re.split(r"'ann'|…|15|: 503", quoted)
    ]
    wanted = [
        phrase.strip(" :,()") for phrase in phrases if len(phrase.strip(" :,()")) > 3 and "certificate" not in phrase
    ]
    assert len(wanted) >= 10
    assert [phrase for phrase in wanted if phrase not in SOURCE] == []
