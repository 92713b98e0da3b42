"""From a profile to a plan, and from a plan to a cluster: everything that can be refused is refused before it starts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from clusterhub.backend import Plan, refuse_unsupported
from clusterhub.errors import BackendUnavailable, ConfigError, Unsupported
from clusterhub.profile import Overrides, Resolved, resolve
from clusterhub.spec import ClusterSpec

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""What every system takes: a job's name in PBS, a DNS label in Kubernetes with room for a suffix."""


def connect(
    profile: str | ClusterSpec | None = None,
    *,
    name: str | None = None,
    keep: bool = False,
    **overrides: Unpack[Overrides],
) -> Cluster:
    """A running cluster of that profile (or backend), with the workers it was asked for on their way.

    ``overrides`` carry the names of the spec: ``workers=20``, ``worker={"memory": "8 GiB"}``, ``pbs={"queue": "big"}``.
    Without a profile: ``CLUSTERHUB_PROFILE``, else the config's ``default``, else ``local``.

    Raises ConfigError (every problem, with where it was written), BackendUnavailable and Unsupported before anything is
    started, and WorkersFailed or SubmitRejected when the start fails; nothing is left of it then.
    """
    resolved, planned = prepare(profile, name, keep, overrides)
    refuse_unusable(resolved)
    from clusterhub.cluster import Cluster

    return Cluster(resolved, planned)


def plan(profile: str | ClusterSpec | None = None, **overrides: Unpack[Overrides]) -> Plan[Any]:
    """What ``connect`` would send (job script, manifest, request), and sends nothing. Raises as ``connect`` does."""
    return prepare(profile, None, False, overrides)[1]


def prepare(
    profile: str | ClusterSpec | None, name: str | None, keep: bool, overrides: Mapping[str, Any]
) -> tuple[Resolved, Plan[Any]]:
    """The resolved profile and its plan, with everything refused that cannot be honoured. Starts nothing."""
    if name is not None:
        _check_name(name)
    resolved = resolve(profile, overrides)
    backend = resolved.backend
    # On the caller's thread: dask_jobqueue replaces signal handlers when it is imported, and fails on another (its #667).
    backend.load()
    if keep:
        raise Unsupported(
            backend.name, {"keep": "clusters end with the process that made them in this version; leave keep out"}
        )
    refuse_unsupported(backend, resolved.spec, resolved.options, resolved.origins)
    return resolved, backend.plan(name or new_name(resolved.profile), resolved.spec, resolved.options)


def refuse_unusable(resolved: Resolved) -> None:
    """Raise BackendUnavailable where the backend cannot work on this machine. A plan can be made there all the same."""
    if reason := resolved.backend.unusable():
        support = f"\n  help  {resolved.spec.support}" if resolved.spec.support else ""
        raise BackendUnavailable(f"{resolved.profile} cannot be used here: {reason}{support}")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError.of(
            "a name has 1 to 40 lower-case letters, digits and -, and neither begins nor ends with -",
            origin="call",
            path=f"name = {str(name)[:60]!r}",
        )


def new_name(profile: str) -> str:
    """A name for an unnamed cluster: the profile's, as far as it can be one, and six digits that nobody else has."""
    stem = re.sub(r"[^a-z0-9]+", "-", profile.lower()).strip("-")[:30].strip("-")
    return f"{stem or 'cluster'}-{secrets.token_hex(3)}"
