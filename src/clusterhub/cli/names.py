"""Clusters that live already, as commands name them and as they are told of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster
    from clusterhub.display import Report
    from clusterhub.keeper import ClusterInfo

F = TypeVar("F", bound=Callable[..., Any])


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The clusters in this home whose names begin so, and which the line has not yet. Nobody is asked: a shell waits for it."""
    try:
        from clusterhub.keeper import recorded

        given = ctx.params.get(param.name or "")
        taken = given if isinstance(given, tuple) else ()
        fitting = [info for info in recorded() if info.name.startswith(incomplete) and info.name not in taken]
    except Exception:  # noqa: BLE001 - whatever is wrong, completion has nothing to offer, and `ls` will tell
        return []
    return [CompletionItem(info.name, help=f"{info.profile}, {info.state}") for info in fitting]


def name_argument(function: F) -> F:
    """The argument N."""
    return click.argument("name", metavar="N", shell_complete=complete_name)(function)


def info_of(name: str) -> ClusterInfo | None:
    """What the files say of that cluster; None where there is none."""
    from clusterhub.keeper import recorded

    return next((info for info in recorded() if info.name == name), None)


@dataclass(frozen=True)
class At:
    """A living cluster that is not attached to yet."""

    info: ClusterInfo | None
    """What is known of it, if it is still there."""
    recorded: bool
    """Whether it is written down in this home; else it lives elsewhere, in a system that knows of it."""
    attach: Callable[[], Cluster]

    @property
    def host(self) -> str:
        """The host that its keeper runs on; empty where it has none."""
        return self.info.host if self.info is not None and self.recorded else ""


def find(name: str) -> At:
    """The cluster of that name, in this home or else elsewhere. Raises as ``attach`` does."""
    from clusterhub.api import attach
    from clusterhub.api.attaching import located

    info = info_of(name)
    if info is None or info.state == "dead":
        if (elsewhere := located(name)) is not None:
            return At(elsewhere.info, False, elsewhere.attach)
        info = info_of(name)
    return At(info, True, partial(attach, name))


def place(name: str, profile: str, backend: str, host: str) -> str:
    """``eddies on hal (pbs, hal-login2)``: a bare backend is not named twice."""
    inner = ", ".join(dict.fromkeys(part for part in (backend, host) if part not in ("", profile)))
    return f"{name} on {profile}" + (f" ({inner})" if inner else "")


def headline(report: Report, host: str) -> str:
    """``eddies on hal (pbs, hal-login2): 8 workers asked, 6 connected``."""
    from clusterhub.display import counted

    target = report.target
    adapting = f" (adapts between {target.minimum} and {target.maximum})" if target.adapts else ""
    where = place(report.name, report.profile, report.backend, host)
    return f"{where}: {counted(report.asked, 'worker')} asked{adapting}, {report.connected} connected"


def dashboard_line(link: str, host: str) -> str:
    """The link, and how somebody at another machine comes to it; empty where there is no dashboard."""
    if not link:
        return ""
    from urllib.parse import urlsplit

    from clusterhub._dask.dashboard import tunnel

    parts = urlsplit(link)
    here = host == os.uname().nodename
    if parts.hostname not in ("127.0.0.1", "localhost", "::1") or parts.port is None or not host:
        return f"dashboard  {link}"  # it is a relayed one, or can be reached from elsewhere as it is
    # On another host, as where its keeper is a job there, it opens through a tunnel only.
    return f"dashboard  {link}     {'elsewhere' if here else 'after'}: {tunnel(host, parts.port)}"


def what_next(name: str) -> str:
    """How to see and to end a cluster that goes on living."""
    return f"clusterhub status {name} shows it, clusterhub down {name} ends it"
