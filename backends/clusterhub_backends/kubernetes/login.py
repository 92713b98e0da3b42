"""Which Kubernetes is meant, as whom it is asked, and in which namespace: what a kubeconfig says, or the pod that we are in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusterhub import BackendUnavailable
from clusterhub.profile.secrets import redact_text

if TYPE_CHECKING:
    import httpx
    from kr8s.asyncio import Api as Kr8s

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own token, authority and namespace."""
RENEWALS = {
    "gke-gcloud-auth-plugin": "gcloud auth login",
    "aws": "aws sso login",
    "aws-iam-authenticator": "aws sso login",
    "kubelogin": "az login",
    "oci": "oci session authenticate",
    "doctl": "doctl auth init",
    "tsh": "tsh login",
}
"""What logs in again, by the command that a kubeconfig has asked for a token."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one API server."""

    context: str | None
    """The context of the kubeconfig; None for the service account of the pod that we are in."""
    files: str
    """The kubeconfig, as kr8s takes it; empty for a pod's service account."""
    namespace: str
    command: str = ""
    """The command that logs in, where the kubeconfig names one."""

    @property
    def place(self) -> str:
        """As people call it."""
        if self.context is None:
            return "the Kubernetes that this pod is in"
        return f"context {self.context} of {shown(self.files)}"

    @property
    def renewal(self) -> str:
        """What to do where the server does not take our word."""
        if self.context is None:
            return "the token of this pod is refused; its service account may be gone"
        name = Path(self.command).name
        if name in RENEWALS:
            return f"log in again: {RENEWALS[name]}"
        if self.command:
            return f"log in again; {self.command} says how"
        return (
            f"its token or certificate may have expired: get a new kubeconfig, and try it with: {self.kubectl} version"
        )

    @property
    def kubectl(self) -> str:
        """kubectl as it asks the same server."""
        return "kubectl" if self.context is None else f"kubectl --context {self.context}"


def way(kubeconfig: str | None, context: str | None, namespace: str | None) -> Way:
    """Which server is meant, from what is said and what there is.

    Raises BackendUnavailable where there is none, or the context that is asked for is not among those there.
    """
    files = _files(kubeconfig)
    if not files:
        return _own(context, namespace)
    text = os.pathsep.join(str(file) for file in files)
    config = [_read(file) for file in files]
    contexts = {str(each["name"]): each.get("context") or {} for each in _entries(config, "contexts", text)}
    chosen = context or next((str(each["current-context"]) for each in config if each.get("current-context")), None)
    if chosen is None and context is None and not contexts and kubeconfig is None and _in_pod():
        return _own(context, namespace)
    if chosen is None or chosen not in contexts:
        raise BackendUnavailable(_no_context(chosen, context is not None, contexts, text))
    user = next((each for each in _entries(config, "users", text) if each["name"] == contexts[chosen].get("user")), {})
    login = (user.get("user") or {}).get("exec") or {}
    said = namespace or contexts[chosen].get("namespace") or "default"
    return Way(chosen, text, str(said), str(login.get("command", "")))


async def opened(found: Way) -> Kr8s:
    """kr8s's object for that way, which nobody shares, logged in and with a session of its own on this event loop.

    Nothing has been asked yet. Raises BackendUnavailable where the kubeconfig cannot be used.
    """
    from kr8s.asyncio import Api as Kr8s

    # Not by kr8s.api(), which keeps them by thread, loop and arguments: one that is closed would close the others', and loops
    # that come after one another may have the same id. All is said: by itself, kr8s takes the namespace of the current context
    # for any other, and that of a pod for "default"; and of two files that say the same it takes the last. `apart` is no word
    # of kr8s's, but part of the key that it keeps it by.
    line = Kr8s(
        bypass_factory=True,
        kubeconfig=os.pathsep.join(reversed(found.files.split(os.pathsep))) or None,
        context=found.context,
        namespace=found.namespace,
        serviceaccount=str(ACCOUNT) if found.context is None else "",
        apart=object(),
    )
    if found.context is None:
        line.auth._kubeconfig_path_or_dict = False  # type: ignore[assignment]  # its own word for none
    await _log_in(line, found)
    try:
        await line._create_session()  # now: of two questions at the same time, each would make one, and one be lost
    except (OSError, ValueError) as error:  # no certificate, or none that goes with its key
        raise BackendUnavailable(_unfit(error, found)) from error
    finally:
        _forget_keys(line)
    assert line._session is not None
    line._session.event_hooks = {"request": [_watch_handshake]}
    return line


async def _watch_handshake(request: httpx.Request) -> None:
    """Have the connection closed whose TLS handshake is broken off: httpcore does so after errors alone, and questions may be
    cancelled."""
    connected: list[Any] = []

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            connected.append(info["return_value"])
        elif event.endswith(".start_tls.failed"):
            for stream in connected:
                await stream.aclose()

    request.extensions["trace"] = trace


async def renewed(line: Kr8s, found: Way) -> Kr8s:
    """The line with a new token, or another one with new certificates, where those are what logs in.

    The old one stays open, since others may be in the midst of a question, or a tunnel: whoever calls closes it in the end.
    """
    if line.auth.token is None or line._session is None:
        return await opened(found)
    await _log_in(line, found)
    _forget_keys(line)
    line._session.headers["Authorization"] = f"Bearer {line.auth.token}"
    return line


async def _log_in(line: Kr8s, found: Way) -> None:
    """Read token and certificates (anew), or run the command that gets them."""
    try:
        await line.auth.reauthenticate()
    except Exception as error:  # of files, of commands, and of what is or is not in them
        raise BackendUnavailable(_unfit(error, found)) from error


def _forget_keys(line: Kr8s) -> None:
    """kr8s writes keys that a kubeconfig holds into files for ssl to read, and leaves them there."""
    auth = line.auth
    for name, holder, key in (
        ("client_key_file", auth._user, "client-key-data"),
        ("client_cert_file", auth._user, "client-certificate-data"),
        ("server_ca_file", auth._cluster, "certificate-authority-data"),
    ):
        if key in holder and (path := getattr(auth, name)) is not None:
            Path(str(path)).unlink(missing_ok=True)


def _unfit(error: Exception, found: Way) -> str:
    reason = redact_text(str(error)).strip() or type(error).__name__
    if found.command:
        missing = isinstance(error, FileNotFoundError) and Path(str(error.filename)).name == Path(found.command).name
        what = "does not exist here; install it" if missing else f"failed: {reason}\n  {found.renewal}"
        return f"{found.place} logs in by {found.command}, which {what}"
    if isinstance(error, KeyError):
        reason = f"it lacks {reason}"
    return f"{found.place} cannot be used: {reason}; does {found.kubectl} version work?"


def _files(kubeconfig: str | None) -> Sequence[Path]:
    """Those that there are, as kubectl takes them. Raises BackendUnavailable where one is asked for that there is not."""
    said = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(os.path.expandvars(part)).expanduser() for part in said.split(os.pathsep) if part]
    found = [path for path in paths if path.is_file()]
    if kubeconfig and not found:
        raise BackendUnavailable(f"kubernetes.kubeconfig names {kubeconfig}, and there is no such file")
    return found


def _read(file: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        config = YAML(typ="safe").load(file)
    except OSError as error:
        raise BackendUnavailable(f"{shown(str(file))} cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise BackendUnavailable(f"{shown(str(file))} is no kubeconfig: it is not YAML") from error
    if config is not None and not isinstance(config, Mapping):
        raise BackendUnavailable(f"{shown(str(file))} is no kubeconfig; see kubernetes.kubeconfig")
    return config or {}


def _entries(config: Sequence[Mapping[str, Any]], what: str, files: str) -> Iterator[Mapping[str, Any]]:
    """Those of all files, the later first: the first file counts where two say the same."""
    for each in reversed(config):
        for entry in each.get(what) or ():
            if not isinstance(entry, Mapping) or "name" not in entry:
                raise BackendUnavailable(f"{shown(files)} is no kubeconfig: one of its {what} has no name")
            yield entry


def _own(context: str | None, namespace: str | None) -> Way:
    """The way of a pod to the Kubernetes that it is in."""
    if context is not None:
        raise BackendUnavailable(f"kubernetes.context is {context}, and there is no kubeconfig here: {_sought()}")
    if not _in_pod():
        raise BackendUnavailable(
            f"no Kubernetes is known here: {_sought()}, and this is no pod; name a kubeconfig with kubernetes.kubeconfig"
        )
    own = ACCOUNT / "namespace"
    return Way(None, "", namespace or (own.read_text(encoding="utf-8").strip() if own.is_file() else "default"))


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (ACCOUNT / "token").is_file()


def _sought() -> str:
    said = os.environ.get("KUBECONFIG")
    return f"KUBECONFIG names {said}, which does not exist" if said else "there is no ~/.kube/config"


def _no_context(chosen: str | None, asked: bool, contexts: Mapping[str, Any], files: str) -> str:
    there = f"there are {', '.join(sorted(contexts))}" if contexts else "it has none"
    if chosen is None:
        return f"{shown(files)} says no current context, and kubernetes.context is not set; {there}"
    who = "kubernetes.context" if asked else "its current context"
    return f"{who} is {chosen}, which is not in {shown(files)}; {there}"


def shown(path: str) -> str:
    """A path, or several, as people write them."""
    home = str(Path.home())
    return os.pathsep.join(
        f"~{part[len(home) :]}" if part.startswith(f"{home}/") else part for part in path.split(os.pathsep)
    )
