"""The line to a gateway's server: short questions, answered in seconds or not at all, each refusal in our words."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterhub import BackendUnavailable, ClusterGone, ClusterhubError, SubmitRejected
from clusterhub.profile.secrets import HIDDEN, redact_text
from clusterhub_backends.gateway.offers import Offer, offers_from
from clusterhub_backends.gateway.options import Auth, GatewayOptions

if TYPE_CHECKING:
    from dask_gateway import Gateway, GatewayCluster
    from dask_gateway.client import ClusterReport

PATIENCE = 15.0
"""Seconds in which a gateway answers a short question."""
LONG_PATIENCE = 40.0
"""Seconds for the one question that it holds back, for 20 s, until a cluster has started (``?wait``)."""


END_PATIENCE, END_LOOK = 60.0, 0.2
"""Seconds that the end of a cluster may take, and between two looks: its workers are asked nicely first."""


class Unreachable(BackendUnavailable):
    """The gateway does not answer now, and may again."""


class NoSuchCluster(ClusterGone):
    """The gateway knows no such cluster (any more)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says to a target: whether it allows so many, and in what words it does not."""

    limit: int | None
    """The most workers that a cluster of it may have, where it said so just now."""
    source: str


class Server:
    """One gateway, asked as one user. Made on the event loop that uses it; :meth:`close` hangs up.

    It goes through dask_gateway's asynchronous client, which has no ``__del__`` to deadlock in. Raises BackendUnavailable where
    the gateway cannot be used, Unreachable where it does not answer, SubmitRejected where it refuses.
    """

    def __init__(self, options: GatewayOptions) -> None:
        assert options.address is not None  # refused before
        self.address = options.address.rstrip("/")
        self._auth = options.auth
        self.gateway = _gateway(options)

    async def offers(self) -> dict[str, Offer]:
        """The options that it offers this user for a cluster."""
        async with self._translated():
            answer = await self._json("GET", "/api/v1/options")
            return offers_from(answer["cluster_options"])

    async def version(self) -> str:
        """The version of its server."""
        answer = await self._json("GET", "/api/version")
        return str(answer.get("version", "unknown")) if isinstance(answer, Mapping) else "unknown"

    async def submit(self, request: Mapping[str, Any]) -> str:
        """Ask for a cluster; its name, by which it is known from then on."""
        async with self._translated():
            answer = await self._json("POST", "/api/v1/clusters/", {"cluster_options": dict(request)})
            return str(answer["name"])

    async def report(self, name: str, *, wait: bool = False) -> ClusterReport:
        """What it tells of a cluster; with ``wait`` once that has started or failed, or after 20 s."""
        async with self._translated(name, LONG_PATIENCE if wait else PATIENCE):
            return await self.gateway.get_cluster(name, wait=wait)

    async def reports(self) -> list[ClusterReport]:
        """All clusters of this user that are starting or running."""
        async with self._translated():
            return list(await self.gateway.list_clusters())

    async def scale(self, name: str, n: int) -> Told:
        """Set the target, and stop adapting."""
        return _told(await self._json("POST", f"/api/v1/clusters/{name}/scale", {"count": n}, name))

    async def adapt(self, name: str, minimum: int, maximum: int) -> Told:
        """Let it adapt by itself."""
        order = {"minimum": minimum, "maximum": maximum, "active": True}
        return _told(await self._json("POST", f"/api/v1/clusters/{name}/adapt", order, name))

    async def stop(self, name: str) -> None:
        """Have it end a cluster, which it does by itself from then on. Idempotent."""
        async with self._translated(name):
            await self.gateway.stop_cluster(name)

    async def end(self, name: str) -> None:
        """End a cluster, and return when it has. Raises ClusterhubError where that lasts too long."""
        deadline = time.monotonic() + END_PATIENCE
        try:
            await self.stop(name)
            while (await self.report(name)).status.name not in ("STOPPED", "FAILED"):
                if time.monotonic() > deadline:
                    raise ClusterhubError(f"the gateway at {self.address} was told to end {name}, and still ends it")
                await asyncio.sleep(END_LOOK)
        except NoSuchCluster:
            return

    async def close(self) -> None:
        """Hang up."""
        await self.gateway.close()

    async def _json(self, method: str, path: str, body: Any = None, cluster: str = "") -> Any:
        async with self._translated(cluster):
            # Not by `scale_cluster` and the like: what the server says of its limits, these turn into a warning.
            answer = await self.gateway._request(method, f"{self.address}{path}", json=body)
            return await answer.json()

    @asynccontextmanager
    async def _translated(self, cluster: str = "", patience: float | None = None) -> AsyncIterator[None]:
        """Whatever can go wrong with an answer becomes an error of ours that says what it was."""
        import aiohttp
        from dask_gateway import GatewayClusterError, GatewayServerError

        patience = PATIENCE if patience is None else patience
        try:
            async with asyncio.timeout(patience):
                yield
        except TimeoutError as error:
            raise Unreachable(f"the gateway at {self.address} did not answer within {patience:g} s") from error
        except aiohttp.ContentTypeError as error:  # a kind of the next one
            raise self._no_gateway(cluster, "shows a web page") from error
        except aiohttp.ClientResponseError as error:
            raise self._refused(error.status, error.message, cluster) from error
        except aiohttp.ClientSSLError as error:
            raise BackendUnavailable(self._insecure(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(self._silent(error)) from error
        except (GatewayClusterError, GatewayServerError) as error:
            raise self._failure(error, cluster) from error
        except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError) as error:
            raise self._no_gateway(cluster, "answers, but not as a dask-gateway does") from error
        except ValueError as error:
            raise self._complaint(str(error), cluster) from error

    def _refused(self, status: int, message: str, cluster: str) -> ClusterhubError:
        who = self._who
        if status == 401:
            return BackendUnavailable(f"the gateway at {self.address} does not let {who} in (401): {self._way_in}")
        if status == 403 and cluster:
            return ClusterhubError(f"{cluster} is the cluster of another user of {self.address}; {who} may not use it")
        if status == 403:
            return BackendUnavailable(f"the gateway at {self.address} lets {who} do nothing (403): {self._way_in}")
        if status in (502, 503, 504):
            return Unreachable(f"the gateway at {self.address} is not up: {status} {message}")
        hint = "; is the address right? see gateway.address" if status in (400, 405) else ""
        if status == 400 and self.address.startswith("http://"):
            hint = "; does it speak https? see gateway.address"
        return BackendUnavailable(f"{self.address} answers {status} {message}{hint}")

    def _failure(self, error: Exception, cluster: str) -> ClusterhubError:
        if type(error).__name__ == "GatewayClusterError":  # 409: the scheduler did not take the message
            return NoSuchCluster(f"the gateway at {self.address} found the scheduler of {cluster} dead")
        text = redact_text(str(error)).strip()
        source = "" if text.startswith("<") else f"\n  {text}"
        return ClusterhubError(f"the gateway at {self.address} failed with an internal error; its log says why{source}")

    def _complaint(self, words: str, cluster: str) -> ClusterhubError:
        """Of 404 and 422, which dask_gateway does not tell apart."""
        text = redact_text(words).strip()
        if cluster and text.lower() == f"cluster {cluster} not found".lower():
            return NoSuchCluster(f"the gateway at {self.address} has no cluster {cluster} any more")
        if not text or "404" in text or "not found" in text.lower() or text.startswith(("<", "{", "[")):
            return self._no_gateway(cluster, "answers, but is no dask-gateway")
        return SubmitRejected(f"the gateway at {self.address} refuses this", source=text)

    def _no_gateway(self, cluster: str, what: str) -> BackendUnavailable:
        """Somebody else answers: for good where the address is wrong, for a moment where a proxy has lost its gateway."""
        kind = Unreachable if cluster else BackendUnavailable
        return kind(f"{self.address} {what}; see gateway.address")

    @property
    def _who(self) -> str:
        name = getattr(self.gateway.auth, "username", None)
        return repr(name) if name else f"us ({self._auth.type})"

    @property
    def _way_in(self) -> str:
        if self._auth.type == "basic":
            return "see gateway.auth.username, and password_variable or password_file"
        if self._auth.type == "jupyterhub":
            return "see gateway.auth.token_variable or token_file; the token may have expired"
        return "see gateway.auth"

    def _insecure(self, error: Exception) -> str:
        reason = getattr(getattr(error, "certificate_error", None), "verify_message", "") or str(error)
        own = isinstance(getattr(error, "certificate_error", None), ssl.SSLCertVerificationError)
        help_ = "an authority of your site's own is named by gateway.ca_file" if own else "see gateway.address"
        return f"the gateway at {self.address} cannot be trusted: {reason}; {help_}"

    def _silent(self, error: Exception) -> str:
        reason = redact_text(str(error)).replace(" ssl:default", "").strip() or type(error).__name__
        if self.address.startswith("http://") and type(error).__name__ == "ServerDisconnectedError":
            reason += "; does it speak https?"
        return f"the gateway at {self.address} cannot be reached: {reason}"


def attached(server: Server, name: str) -> GatewayCluster:
    """dask_gateway's own object for a cluster that lives, not yet connected."""
    return server.gateway.connect(name)


def _told(answer: Any) -> Told:
    if not isinstance(answer, Mapping) or answer.get("ok", True):
        return Told(None, "")
    import re

    words = str(answer.get("msg") or "")
    limit = re.search(r"limit of (\d+) workers", words)
    return Told(int(limit[1]) if limit else None, words)


def _gateway(options: GatewayOptions) -> Gateway:
    import dask
    from dask_gateway import Gateway

    # Everything is said here, so that no dask config of this process is a second, unseen source.
    with dask.config.set({"gateway.http-client.proxy": options.http_proxy}):
        gateway = Gateway(
            address=options.address,
            proxy_address=options.proxy_address
            if options.proxy_address is not None
            else _same_place(options.address or ""),
            public_address=options.public_address or options.address,
            auth=_auth(options.auth),
            asynchronous=True,
        )
    if options.ca_file is not None:
        # aiohttp makes its own context when it is imported: SSL_CERT_FILE, set later, would say nothing to it.
        gateway._request_kwargs["ssl"] = _trusting(options.ca_file)
    return gateway


def _trusting(ca_file: str) -> ssl.SSLContext:
    path = Path(os.path.expandvars(ca_file)).expanduser()
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise BackendUnavailable(f"gateway.ca_file names {path}, which is no file of certificates: {error}") from error


def _same_place(address: str) -> str:
    """Host and port of the gateway: where its proxy listens for schedulers unless another place is named."""
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"


def _auth(auth: Auth) -> Any:
    """The object that signs requests. Raises BackendUnavailable where a secret or a class is missing."""
    from dask_gateway.auth import BasicAuth, GatewayAuth, JupyterHubAuth, KerberosAuth

    try:
        secret = auth.secret.read()
        if auth.type == "basic":
            return BasicAuth(username=auth.username, password=secret)
        if auth.type == "jupyterhub":
            return JupyterHubAuth(api_token=secret)
    except LookupError as error:
        raise BackendUnavailable(f"no way into the gateway: {error.args[0]}") from error
    except ValueError as error:  # no token, and JUPYTERHUB_API_TOKEN is not set
        raise BackendUnavailable(f"no way into the gateway: {error}; see gateway.auth.token_variable") from error
    if auth.type == "kerberos":
        _need("kerberos", "gateway.auth.type is kerberos")
        return _guarded(KerberosAuth(), auth.type)
    kind = _class_of_plugin(auth.type)
    if not (isinstance(kind, type) and issubclass(kind, GatewayAuth)):
        raise BackendUnavailable(
            f"gateway.auth.type names {auth.type}, which is no class of dask_gateway's GatewayAuth"
        )
    try:
        return _guarded(kind(**{key: value.get_secret_value() for key, value in auth.arguments.items()}), auth.type)
    except Exception as error:  # a plugin may fail in any way
        raise BackendUnavailable(
            f"{auth.type} does not take gateway.auth.arguments: {_without(auth, str(error))}"
        ) from error


def _class_of_plugin(dotted: str) -> Any:
    from importlib import import_module

    module, _, name = dotted.rpartition(".")
    _need(module, f"gateway.auth.type names {dotted}")
    try:
        return getattr(import_module(module), name, None)
    except Exception as error:  # a plugin may fail in any way
        raise BackendUnavailable(
            f"gateway.auth.type names {dotted}, and {module} cannot be imported: {redact_text(str(error))}"
        ) from error


def _without(auth: Auth, text: str) -> str:
    """The text without any of the arguments, each of which may be a secret."""
    for value in auth.arguments.values():
        text = text.replace(value.get_secret_value() or "\0", HIDDEN)
    return redact_text(text)


def _guarded(inner: Any, kind: str) -> Any:
    """``inner`` as it is asked by dask_gateway; whatever it fails with becomes an error that says so."""
    from dask_gateway.auth import GatewayAuth

    class Guarded(GatewayAuth):  # type: ignore[misc]  # dask_gateway carries no annotations
        username = getattr(inner, "username", None)

        def pre_request(self, resp: Any) -> tuple[Any, Any]:
            try:
                headers, context = inner.pre_request(resp)
            except Exception as error:
                raise self._failed(error) from error
            return headers, context

        def post_response(self, resp: Any, context: Any = None) -> None:
            try:
                inner.post_response(resp, context)
            except Exception as error:
                raise self._failed(error) from error

        def _failed(self, error: Exception) -> BackendUnavailable:
            reason = redact_text(str(error)) or type(error).__name__
            return BackendUnavailable(f"no way into the gateway: {kind} failed: {reason}; see gateway.auth")

    return Guarded()


def _need(module: str, why: str) -> None:
    from importlib.util import find_spec

    try:
        found = find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        found = False
    if not found:
        raise BackendUnavailable(f"{why}, and the package {module} is not installed here")
