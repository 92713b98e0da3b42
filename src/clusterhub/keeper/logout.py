"""Whether the processes of this login survive it: where logind ends them, a keeper beside us would end with them.

Sources: systemd's logind.conf(5), of KillUserProcesses, KillOnlyUsers and KillExcludeUsers; and org.freedesktop.login1(5).
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

CGROUP = Path("/proc/self/cgroup")
SESSION = re.compile(r"/session-[^/]+\.scope(/|$)")
"""The cgroup of what belongs to a login, by the name that logind gives it. Nothing else is its to end."""
PATIENCE = 1.0
"""Seconds in which logind has to answer."""


@cache
def ends_with_login() -> bool:
    """Whether logind will end this process, and what it starts, at logout. False where that cannot be told: quick, and by
    what logind itself says rather than by its files, which may have changed since it read them.
    """
    try:
        placed = CGROUP.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    if not any(SESSION.search(line) for line in placed.splitlines()):
        return False
    return ends(_property("KillUserProcesses"), _property("KillOnlyUsers"), _property("KillExcludeUsers"), _user())


def ends(kill: list[str], only: list[str], excluded: list[str], user: str) -> bool:
    """What these properties mean for ``user``; each as ``busctl`` prints it, without its type. Pure."""
    return kill == ["true"] and (not only[1:] or user in only[1:]) and user not in excluded[1:]


def _property(name: str) -> list[str]:
    """The words of a property; none where it cannot be had."""
    busctl = shutil.which("busctl")
    if busctl is None:
        return []
    argv = [
        busctl,
        "get-property",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
    ]
    try:
        said = subprocess.run([*argv, name], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        return shlex.split(said)[1:]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
