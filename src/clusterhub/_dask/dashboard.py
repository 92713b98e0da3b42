"""A dashboard that only who knows its link can open, and the links to it.

Dask's dashboard asks nobody who they are, shows code, logs and call stacks, and listens where every user of a login node
can reach it. So all of it is served below a secret path, as Jupyter does with its token. It is no ``http_prefix``: that does not
keep the secret, since ``/sitemap.json`` lists every route and ``/`` redirects to the prefix (``RoutingApplication`` in
distributed/http/routing.py, ``connect`` in distributed/dashboard/scheduler.py, 2026.8), and with one Bokeh loads its scripts by
absolute paths, which lead past a relay such as jupyter-server-proxy (``BokehTornado.resources``, 3.9).
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Scheduler

TEMPLATE = "{scheme}://{host}:{port}/status"
"""The default of ``distributed.dashboard.link``."""
PAGE = "/status"
LOOPBACKS = ("127.0.0.1", "localhost", "[::1]")


def secret_prefix() -> str:
    """A path of 128 random bits that needs no quoting in an address."""
    return secrets.token_urlsafe(16)


def guard(scheduler: Scheduler, prefix: str) -> None:
    """From now on ``scheduler`` answers a bare 404 to whatever does not begin with ``/<prefix>/``, websockets included.

    Below it stands all that the scheduler serves, whose pages link to one another and to what they load by relative paths.
    The HTTP server listens from the scheduler's constructor on, and until the guard stands it answers whoever asks: call it
    before the event loop runs again, or use :func:`guarded`. Idempotent.
    """
    from tornado.routing import Router

    class Below(Router):  # type: ignore[misc]  # tornado is taken for unannotated
        """Hands a request for ``/<prefix>/x`` on as one for ``/x``; letter by letter: nothing is decoded or normalised."""

        def find_handler(self, request: Any, **options: Any) -> Any:
            # Tornado reads a path as latin-1; utf-8 takes all of that. The time of the comparison tells nothing of the secret.
            if not secrets.compare_digest(request.path[: len(start)].encode(), start.encode()):
                return None
            request.path, request.uri = request.path[len(start) - 1 :], request.uri[len(start) - 1 :]
            return scheduler.http_application.find_handler(request, **options)

    if not re.fullmatch(r"[A-Za-z0-9_-]+", prefix):
        raise ValueError(f"{prefix!r} is no secret path; secret_prefix() makes one")
    # In front of the application, since its own routes cannot be taken back. The server asks this for every request, also
    # on connections that are open already; a router that finds no handler answers with an empty 404.
    start = f"/{prefix}/"
    scheduler.http_server.request_callback = Below()


def guarded(prefix: str) -> type[Scheduler]:
    """A Scheduler that serves everything below ``prefix`` and is guarded from its first request on.

    For whoever does not construct the scheduler: ``cluster.scheduler_spec["cls"] = guarded(prefix)`` before an
    asynchronous SpecCluster (LocalCluster) is awaited.
    """
    from distributed import Scheduler as Plain

    class Scheduler(Plain):  # type: ignore[misc]  # distributed carries no annotations
        # Its name is Dask's own: it is part of what a scheduler says of itself.
        def start_http_server(self, *args: Any, **options: Any) -> None:
            super().start_http_server(*args, **options)
            guard(self, prefix)

    return Scheduler


def can_be_served() -> bool:
    """Whether what draws the dashboard is installed."""
    return find_spec("bokeh") is not None


async def serve(scheduler: Scheduler) -> None:
    """Serve the dashboard of a scheduler that was started without one: drawing it takes a third of a second to import.

    As ``Scheduler.__init__`` does it; below the secret path of a guarded one, as all else.
    """
    import asyncio
    from importlib import import_module

    # In a thread: the scheduler has workers to greet meanwhile.
    dashboard = await asyncio.to_thread(import_module, "distributed.dashboard.scheduler")
    dashboard.connect(scheduler.http_application, scheduler.http_server, scheduler, prefix="/")


def plain_link(host: str, port: int, prefix: str) -> str:
    """The link as it is where the dashboard can be reached directly; what a record should hold."""
    return _plain(_scheme(), host, port, prefix)


def link(template_host: str, port: int, prefix: str) -> str:
    """A link that opens from this process's surroundings.

    A ``distributed.dashboard.link`` that somebody has configured counts, the secret path put before its page. Without one,
    in a JupyterHub whose notebook servers can relay ports, a path of the hub's own; it reaches the machine of the notebook
    server. Else, and where a configured template names what is not in the environment, the plain link.
    """
    return _link(_scheme(), template_host, port, prefix)


def relinked(plain: str) -> str:
    """The link for a dashboard whose plain link somebody has written down, as it opens from here.

    What is no plain link with a secret path, nor one to this machine's loopback, comes back as it is.
    """
    found = re.fullmatch(r"(https?)://(\[[^]/]+\]|[^:/]+):(\d+)(?:/([^/]+))?/status", plain)
    if found is None:
        return plain
    scheme, host, port, prefix = found.groups("")
    if not prefix and host not in LOOPBACKS:  # Dask's own, of a manager that knows better than we where it is
        return plain
    return _link(scheme, host.strip("[]"), int(port), prefix)


@contextmanager
def linked_through(server: str) -> Iterator[None]:
    """Within it links lead through the Jupyter server whose base URL is ``server``, which has to have jupyter-server-proxy.

    A configured link that does so already is left as it is. Not to be held across an ``await``: it holds for the process.
    """
    import dask

    proxy = server.rstrip("/") + "/proxy/"
    configured = str(dask.config.get("distributed.dashboard.link", None) or "")
    if proxy in _filled(configured, scheme="", host="", port=0):
        yield
        return
    escaped = proxy.replace("{", "{{").replace("}", "}}")
    with dask.config.set({"distributed.dashboard.link": escaped + "{port}" + PAGE}):
        yield


def tunnel(host: str, port: int, user: str | None = None) -> str:
    """The command that makes a dashboard on the loopback of ``host`` one of this machine's, at the same port."""
    there = f"{user}@{host}" if user else host
    return f"ssh -L {port}:127.0.0.1:{port} {shlex.quote(there)}"


def _scheme() -> str:
    import dask

    return "https" if dask.config.get("distributed.scheduler.dashboard.tls.cert", None) else "http"


def _plain(scheme: str, host: str, port: int, prefix: str) -> str:
    return f"{scheme}://{_bracketed(host)}:{port}{_path(prefix)}{PAGE}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _link(scheme: str, host: str, port: int, prefix: str) -> str:
    written = _filled(_template(), scheme=scheme, host=_bracketed(host), port=port)
    if not written:
        return _plain(scheme, host, port, prefix)
    before, page, after = written.rpartition(PAGE)
    if not page:
        return f"{written.rstrip('/')}{_path(prefix)}{PAGE}"
    return f"{before}{_path(prefix)}{page}{after}"


def _filled(template: str, **fields: Any) -> str:
    """As distributed.utils.format_dashboard_link, which formats without the secret path; empty where it cannot be filled."""
    try:
        return template.format(**os.environ | fields)
    except (LookupError, ValueError, AttributeError):
        return ""


def _path(prefix: str) -> str:
    return f"/{prefix}" if prefix else ""


def _template() -> str:
    # Known to Dask only once distributed is imported; until then its default is not set.
    import dask

    template = str(dask.config.get("distributed.dashboard.link", None) or TEMPLATE)
    home = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if template == TEMPLATE and home and find_spec("jupyter_server_proxy"):
        return "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}" + PAGE
    return template
