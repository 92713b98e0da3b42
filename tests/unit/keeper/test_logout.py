"""Whether logind ends our processes: by what it said itself when it was asked (systemd 252), and where we are."""

from __future__ import annotations

import shlex

import pytest

from clusterhub.keeper import logout

SAID = {"kill": "b true", "keep": "b false", "nobody": "as 0", "two": 'as 2 "root" "carl"', "no bus": ""}


def words(said):
    return shlex.split(SAID[said])[1:]


@pytest.mark.parametrize(
    ("kill", "only", "excluded", "user", "ends"),
    [
        ("kill", "nobody", "two", "ann", True),
        ("kill", "nobody", "two", "carl", False),
        ("kill", "two", "nobody", "ann", False),
        ("kill", "two", "nobody", "carl", True),
        ("keep", "nobody", "nobody", "ann", False),
        ("no bus", "no bus", "no bus", "ann", False),
    ],
)
def test_what_its_properties_mean(kill, only, excluded, user, ends):
    assert logout.ends(words(kill), words(only), words(excluded), user) is ends


@pytest.mark.parametrize(
    ("cgroup", "asked"),
    [
        ("0::/user.slice/user-1000.slice/session-3.scope\n", True),
        ("9:name=systemd:/user.slice/user-1000.slice/session-c2.scope\n0::/\n", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/tmux.scope\n", False),
        ("0::/system.slice/jupyterhub.service\n", False),
        ("0::/\n", False),
    ],
)
def test_logind_is_asked_only_where_a_login_is_around_us(tmp_path, monkeypatch, cgroup, asked):
    (tmp_path / "cgroup").write_text(cgroup)
    busctl = tmp_path / "busctl"
    busctl.write_text(
        '#!/bin/sh\ncase "$5" in KillUserProcesses) echo "b true";; *) echo "as 0";; esac\n',
    )
    busctl.chmod(0o755)
    monkeypatch.setattr(logout, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(logout, "PATIENCE", 60.0)
    monkeypatch.setenv("PATH", str(tmp_path))
    logout.ends_with_login.cache_clear()
    assert logout.ends_with_login() is asked
    logout.ends_with_login.cache_clear()


def test_without_anybody_to_ask_nothing_is_claimed(tmp_path, monkeypatch):
    (tmp_path / "cgroup").write_text("0::/user.slice/user-1000.slice/session-3.scope\n")
    monkeypatch.setattr(logout, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setenv("PATH", str(tmp_path))
    logout.ends_with_login.cache_clear()
    assert logout.ends_with_login() is False
    logout.ends_with_login.cache_clear()
