"""Backends are found by entry points, loaded late, and one that is broken harms only itself."""

from __future__ import annotations

import sys

import pytest

from clusterhub import registry
from clusterhub.backend import CONTRACT
from clusterhub.errors import BackendUnavailable


def complaint(name: str) -> str:
    """What is said when the backend ``name`` is asked for."""
    with pytest.raises(BackendUnavailable) as caught:
        registry.backend(name)
    return str(caught.value)


def test_a_backend_is_found_by_its_entry_point(plugins):
    plugins.fine()
    assert type(registry.backend("fine")).__module__ == "fine_plugin_module"


def test_the_local_backend_is_always_there():
    assert registry.backend("local").name == "local"


def test_listing_backends_imports_none(plugins):
    plugins.fine()
    assert "fine" in registry.candidates()
    assert "fine_plugin_module" not in sys.modules


def test_the_list_is_in_alphabetical_order(plugins):
    plugins.fine("zebra", "zebra-plugin")
    plugins.fine("ant", "ant-plugin")
    names = list(registry.candidates())
    assert names == sorted(names)


def test_a_candidate_names_its_distribution(plugins):
    plugins.fine()
    assert registry.candidates()["fine"].distributions == ("fine-plugin 1.0",)


def test_a_plugin_whose_import_fails_says_whose_it_is_and_why(plugins):
    plugins.install("sad", {"sad": "sad_module:Sad"}, {"sad_module": "import no_such_library"})
    said = complaint("sad")
    assert all(
        word in said for word in ("'sad'", "sad 1.0", "sad_module:Sad", "ModuleNotFoundError", "no_such_library")
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("class Other: pass", "AttributeError"),
        ("syntax error here", "SyntaxError"),
        ("Sad = 3", "no subclass of clusterhub.Backend"),
        ("class Sad: pass", "no subclass of clusterhub.Backend"),
        ("def Sad(): pass", "no subclass of clusterhub.Backend"),
    ],
)
def test_whatever_is_wrong_with_a_plugins_module_is_told(plugins, module, words):
    plugins.install("sad", {"sad": "sad_module:Sad"}, {"sad_module": module})
    assert words in complaint("sad")


def test_the_cause_of_a_failed_import_is_kept(plugins):
    plugins.install("sad", {"sad": "sad_module:Sad"}, {"sad_module": "import no_such_library"})
    with pytest.raises(BackendUnavailable) as caught:
        registry.backend("sad")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_an_entry_point_that_names_nothing_is_told(plugins):
    plugins.install("sad", {"sad": "no_such_module:Sad"})
    assert "no_such_module" in complaint("sad")


def test_two_distributions_that_claim_one_name_are_both_named(plugins):
    plugins.fine(distribution="fine-one")
    plugins.fine(distribution="fine-two")
    said = complaint("fine")
    assert all(word in said for word in ("'fine'", "fine-one 1.0", "fine-two 1.0", "uninstall one"))


def test_one_distribution_seen_twice_is_one_claim(plugins, tmp_path, monkeypatch):
    """As with an editable install beside a stale copy of its metadata."""
    plugins.fine()
    again = tmp_path / "again"
    (tmp_path / "site" / "fine_plugin-1.0.dist-info").rename(tmp_path / "moved")
    for folder in (tmp_path / "site", again):
        target = folder / "fine_plugin-1.0.dist-info"
        target.mkdir(parents=True)
        for file in (tmp_path / "moved").iterdir():
            (target / file.name).write_text(file.read_text())
    monkeypatch.syspath_prepend(str(again))
    assert registry.backend("fine").name == "fine"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"contract = {CONTRACT - 1}", ["contract", str(CONTRACT - 1), str(CONTRACT), "upgrade the plugin"]),
        (f"contract = {CONTRACT + 1}", ["contract", str(CONTRACT + 1), str(CONTRACT), "upgrade clusterhub"]),
        ("pass", ["does not say which contract", str(CONTRACT)]),
        ("contract = '1'", ["contract", "'1'"]),
        ("contract = None", ["does not say which contract"]),
    ],
)
def test_a_plugin_of_another_contract_says_who_has_to_be_upgraded(plugins, line, words):
    plugins.fine(contract=line)
    said = complaint("fine")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("attribute", "words"),
    [("features", "lacks features"), ("options_type", "lacks options_type"), ("name", "lacks name")],
)
def test_a_plugin_that_lacks_a_declaration_is_told_which(plugins, attribute, words):
    plugins.fine(**{attribute: "pass"})
    assert words in complaint("fine")


def test_a_plugin_under_a_name_that_is_not_its_own_is_refused(plugins):
    plugins.fine("odd", name='name = "other"')
    said = complaint("odd")
    assert all(word in said for word in ("'other'", "'odd'", "entry point"))


def test_a_plugin_that_is_still_abstract_says_what_is_not_defined(plugins):
    plugins.install(
        "half",
        {"half": "half_module:Half"},
        {
            "half_module": """
            from clusterhub.backend import CONTRACT, Backend, NoOptions
            class Half(Backend):
                name, contract, features, options_type = "half", CONTRACT, frozenset(), NoOptions
            """
        },
    )
    assert "does not define plan, start" in complaint("half")


def test_a_plugin_that_cannot_be_constructed_is_told(plugins):
    plugins.fine(features="features = frozenset()\n    def __init__(self): raise OSError('no licence')")
    assert "OSError: no licence" in complaint("fine")


def test_a_broken_plugin_hides_no_other(plugins):
    plugins.install("sad", {"sad": "sad_module:Sad"}, {"sad_module": "raise RuntimeError"})
    plugins.fine()
    assert {"sad", "fine", "local"} <= set(registry.candidates())
    assert registry.backend("fine").name == "fine"


@pytest.mark.parametrize(("written", "meant"), [("locall", "local"), ("lcoal", "local"), ("Slurm", "slurm")])
def test_an_unknown_name_is_told_what_may_be_meant(written, meant):
    said = complaint(written)
    assert f"unknown backend {written!r}; did you mean {meant!r}?" in said


def test_an_unknown_name_is_told_which_are_installed():
    assert "installed: " in complaint("nothing-like-it")
    assert "local" in complaint("nothing-like-it")


@pytest.mark.parametrize("name", sorted(registry.EXTRAS))
def test_a_known_name_that_is_not_installed_gets_the_line_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(registry, "candidates", dict)
    assert f'pip install "clusterhub[{name}]"' in complaint(name)
