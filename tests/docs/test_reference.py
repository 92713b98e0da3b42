"""The reference is whole: every key, feature, state, cause, error and public name is told of, since the code itself is asked."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

import pytest

import clusterhub
from clusterhub import ClusterSpec, Feature, UnitState, errors, registry
from clusterhub.keeper.standing import Condition
from clusterhub_backends.batch.driver import Ending
from clusterhub_backends.batch.stages import Stage
from docs.pages import ROOT, blocks_of

DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))


def extension(name: str) -> Any:
    """A module that makes tables while the site is built."""
    return importlib.import_module(name)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("module", ["clusterhub", "clusterhub.aio", "clusterhub.testing", "clusterhub.parts"])
def test_every_public_name_is_documented(module: str) -> None:
    public = importlib.import_module(module)
    api = page("reference/api.md")
    if f"automodule:: {module}\n   :members:" in api:  # all of its public names, but those that are told of elsewhere
        return
    names = {name for name in public.__all__ if not isinstance(getattr(public, name), ModuleType)}
    told = set(re.findall(r"auto\w+:: (?:[\w.]+\.)?(\w+)$", api, re.MULTILINE))
    assert names <= told


def test_what_the_api_page_leaves_out_of_parts_is_no_name_of_its_own() -> None:
    left_out = re.search(
        r"automodule:: clusterhub\.parts\n.*:exclude-members: ([^\n]+)", page("reference/api.md"), re.DOTALL
    )
    assert left_out
    ours = {
        name
        for name in re.findall(r"\w+", left_out[1])
        if name in clusterhub.parts.__all__ and not isinstance(getattr(clusterhub.parts, name), ModuleType)
    }
    assert ours == {"Caretaker"}, "which backends whose clusters live elsewhere use, by way of other parts"


def test_every_key_of_a_profile_is_in_the_reference() -> None:
    tables = extension("tables")
    told = set(first_cells(tables.spec_keys()))
    assert set(tables.keys_of("", ClusterSpec)) <= told


@pytest.mark.parametrize("backend", ["local", "pbs", "slurm", "kubernetes", "gateway"])
def test_every_option_of_a_backend_is_in_the_reference_with_what_it_means(backend: str) -> None:
    tables = extension("tables")
    text = tables.option_keys(backend)
    assert set(tables.keys_of(f"{backend}.", registry.backend(backend).options_type)) <= set(first_cells(text))
    assert f"options {backend}\n" in page("reference/config.md")
    assert [row for row in text.splitlines() if row.startswith("|") and row.endswith("|  |")] == [], (
        "an option without docstring"
    )


def test_every_backend_and_feature_is_in_the_matrix() -> None:
    tables = extension("tables")
    assert set(tables.BACKENDS) == set(registry.candidates()) - {"detached", "opaque", "simulated"}
    assert first_cells(tables.feature_matrix()) == [str(feature) for feature in Feature]


def test_every_state_is_explained_with_what_to_do() -> None:
    states = page("status.md").partition("## States")[2].partition("## A failure")[0]
    units, _, clusters = states.partition("Of the cluster as a whole")
    assert first_cells(units) == [str(state) for state in UnitState]
    assert {str(each) for each in Condition} - {"living"} <= set(first_cells(clusters))


def test_every_error_is_in_the_tree_that_the_page_shows() -> None:
    (tree,) = [block.text for block in blocks_of(DOCS / "status.md") if "ClusterhubError\n" in block.text]
    public = {name: getattr(errors, name, None) for name in clusterhub.__all__}
    ours = {name for name, found in public.items() if isinstance(found, type) and issubclass(found, Exception)}
    assert set(re.findall(r"^[├└─ ]*(\w+)", tree, re.MULTILINE)) == ours


def test_every_way_in_which_a_job_can_end_badly_is_in_the_list_of_causes() -> None:
    causes = extension("causes")
    seen = [words for words, _ in causes.endings()]
    assert {f"exit code {stage.value}" for stage in Stage} <= set(seen)
    assert len(seen) >= len(Stage) + len(Ending)
    patterns = importlib.import_module("clusterhub_backends.batch.causes")._LOG
    unmet = [pattern.pattern for pattern, *_ in patterns if not any(pattern.search(line) for line in causes.LOG_LINES)]
    assert unmet == [], "a cause that is read from logs has no row"


def test_the_causes_that_the_status_page_tells_of_are_the_code_s_own_words() -> None:
    known = extension("causes").job_causes()
    told = page("status.md").partition("The causes that people meet most:")[2].partition("All of them")[0]
    for words, key in re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\|", told, re.MULTILINE):
        assert re.search(rf"\| {re.escape(words)} \| (?:`{re.escape(key)}`|none) \|", known), words


def test_what_the_kubernetes_page_says_of_pods_are_the_code_s_own_words() -> None:
    """As they stand in the code, or put together in the stories that are told of it."""
    places = ("backends/clusterhub_backends/kubernetes", "tests/unit/kubernetes", "tests/live")
    sources = " ".join(path.read_text(encoding="utf-8") for place in places for path in (ROOT / place).rglob("*.py"))
    plain = re.sub(r'"\s*\n?\s*f?"', "", sources)  # a sentence goes on in the next line
    table = page("kubernetes.md").partition("## What it says, and what to do")[2].partition("`logs()` and")[0]
    told = [
        words
        for cell in re.findall(r"^\| (`[^|]+?) \|", table, re.MULTILINE)
        for words in re.findall(r"`([^`]+)`", cell)
    ]
    assert len(told) > 20
    for words in told:
        for part in re.split(r"…|: |\d[\d.]*(?: GiB)?", words):
            assert part.strip(" ,:'") in plain, words


def test_pods_troubles_are_found_wherever_the_code_puts_them_together() -> None:
    text = extension("sentences").pod_troubles()
    for words in (
        "is over the quota …",
        "out of memory: it outgrew its …",
        "runs, but its worker never came",
        "pulled: there is none of that name",
    ):
        assert words in text
    assert len(text.splitlines()) > 60
