"""A machine on which nobody has configured Kubernetes hears nothing of it; a profile that leads nowhere is told as such."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import clusterhub
from clusterhub.api import elsewhere
from clusterhub.profile import resolve, starter

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "lab",
    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "ann", "namespace": "ocean"}}],
    "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:9"}}],
    "users": [{"name": "ann", "user": {"token": "t"}}],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "CLUSTERHUB_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTERHUB_STATE", str(tmp_path / "state"))
    return tmp_path


def write_profiles(home: Path, **options: str) -> None:
    said = {"cloud": {"backend": "kubernetes", "kubernetes": options}}
    (home / ".clusterhub.yaml").write_text(json.dumps({"profiles": said}))


def write_kubeconfig(home: Path) -> None:
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(json.dumps(KUBECONFIG))


def here(name: str) -> str:
    """What the listing of profiles says of whether it can be used here."""
    (found,) = [each for each in clusterhub.profiles() if each.name == name]
    return found.here


def asked() -> tuple[list[str], list[str]]:
    """The names of the systems of Kubernetes that are asked for their clusters, and what is told of those that are not."""
    found = elsewhere.systems()
    return [each.label for each in found.known if each.backend_name == "kubernetes"], list(found.remarks)


def test_without_a_kubeconfig_nobody_is_asked_and_nothing_is_told():
    assert asked() == ([], [])


def test_with_one_its_context_is_asked_by_the_bare_name(home):
    write_kubeconfig(home)
    assert asked() == (["kubernetes"], [])


def test_a_profile_without_a_kubeconfig_says_so_where_profiles_are_listed_and_where_clusters_are(home):
    write_profiles(home)
    assert here("cloud").startswith("no Kubernetes is known here: ")
    names, [remark] = asked()
    assert names == []
    assert "cloud was not asked for its clusters: no Kubernetes is known here" in remark


def test_a_profile_whose_context_is_not_there_says_so_and_one_whose_is_there_is_ready(home):
    write_kubeconfig(home)
    write_profiles(home, context="gke-ocean")
    assert "gke-ocean" in here("cloud")
    assert "lab" in here("cloud")
    write_profiles(home, context="lab")
    assert here("cloud") == "ready"


def test_a_first_config_has_a_profile_for_it_that_resolves_also_with_its_comments_opened(home):
    write_kubeconfig(home)
    text = starter()
    assert "~/.kube/config was found" in text
    (home / ".clusterhub.yaml").write_text(text)
    assert here("cloud") == "ready"
    before, _, after = text.partition("    # kubernetes:")
    opened = re.sub(r"^    # ", "    ", f"    # kubernetes:{after}".partition("\n\n")[0], flags=re.MULTILINE)
    names = opened.replace("context: NAME", "context: lab").replace("namespace: NAME", "namespace: sea")
    (home / ".clusterhub.yaml").write_text(before + names + "\n")
    options = resolve("cloud", {}).options
    assert (options.context, options.namespace, options.image) == ("lab", "sea", "registry/image:tag")
