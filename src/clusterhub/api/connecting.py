"""From a profile to a plan, and from a plan to a cluster: everything that can be refused is refused before it starts."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack

from clusterhub import keeper
from clusterhub.api import named
from clusterhub.backend import Backend, Feature, Plan, SubmitsKeeper, SupportsAttach, refuse_unsupported
from clusterhub.display.words import moment
from clusterhub.errors import BackendUnavailable, ConfigError, Unsupported
from clusterhub.keeper.logout import ends_with_login
from clusterhub.profile import Overrides, Resolved, resolve
from clusterhub.profile.kinds import backend_named
from clusterhub.spec import ClusterSpec

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster, Opening
    from clusterhub.keeper.launch import Launch

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

    With a ``name`` that lives, it is that cluster, told to have the ``workers`` that are given here. One that is named
    outlives this process for ``lifecycle.linger``, so that a restarted notebook finds it again; with ``keep`` it lives
    until it is told to end, is idle for ``lifecycle.idle_timeout`` or reaches ``lifecycle.max_age``.

    Raises ConfigError (every problem, with where it was written; a living cluster of that name and another shape),
    BackendUnavailable and Unsupported before anything is started, and WorkersFailed or SubmitRejected when the start
    fails; nothing is left of it then.
    """
    prepared = prepare(profile, name, keep, overrides, start=True)
    from clusterhub.cluster import Cluster

    return Cluster(prepared.plan, prepared.opening())


def plan(profile: str | ClusterSpec | None = None, **overrides: Unpack[Overrides]) -> Plan[Any]:
    """What ``connect`` would send (job script, manifest, request), and sends nothing. Raises as ``connect`` does.

    A profile that is made for other hosts can be planned for as well: a plan is reviewed where there is time for it.
    """
    return prepare(profile, None, False, overrides, anywhere=True).plan


@dataclass(frozen=True)
class Prepared:
    """A cluster that can be started: nothing is left to refuse."""

    resolved: Resolved
    plan: Plan[Any]
    in_keeper: bool
    """Whether it lives in a process of its own, beside this one or as a job."""
    workers_said: bool
    """Whether the call itself says how many workers it wants."""
    launch: Launch | None = None
    """The keeper, where one was started in advance."""

    def opening(self) -> Opening:
        """How a facade starts it, or finds the one that has its name already."""
        target = self.plan.spec.workers if self.workers_said else None
        if self.in_keeper:
            return kept_opening(
                self.plan, named=self.plan.named, kept=self.plan.kept, target=target, launch=self.launch
            )
        if self.elsewhere:
            return named.opening(self.plan, self.resolved.backend, target)
        from clusterhub.cluster import Opening

        return Opening(partial(self.resolved.backend.start, self.plan))

    @property
    def elsewhere(self) -> bool:
        """Whether it lives in a system that knows of it, and has no record here."""
        return not self.in_keeper and isinstance(self.resolved.backend, SupportsAttach)


def kept_opening(plan: Plan[Any], *, named: bool, kept: bool, **further: Any) -> Opening:
    """How a facade starts a cluster in a keeper, which tells what it waits for."""
    from clusterhub.cluster import Opening
    from clusterhub.display.news import News

    news = News()
    start = partial(keeper.start, plan, named=named, kept=kept, tell=news.tell, **further)
    return Opening(start, inline=False, news=news)


def prepare(
    profile: str | ClusterSpec | None,
    name: str | None,
    keep: bool,
    overrides: Mapping[str, Any],
    *,
    start: bool = False,
    anywhere: bool = False,
) -> Prepared:
    """The resolved profile and its plan, with everything refused that cannot be honoured.

    With ``start`` also what cannot work on this machine; and a keeper that will be needed starts up meanwhile, idle, since
    it has to import as much as we do. ``anywhere`` takes profiles that are made for other hosts.
    """
    if name is not None:
        check_name(name)
    said = _said_host(overrides)
    likely = said == "process" or (said in (None, "auto") and (name is not None or keep))
    launch = keeper.in_advance(name) if start and likely and not _is_elsewhere(profile, overrides) else None
    try:
        resolved = resolve(profile, overrides, anywhere=anywhere)
        beside_us = _host(resolved, outlives_us=name is not None or keep) == "process"
        if launch is None and start and beside_us and resolved.backend.unusable() is None:
            launch = keeper.in_advance(name)
        called = name or new_name(resolved.profile)
        prepared = _prepared(resolved, profile, called, overrides, named=name is not None, keep=keep, anywhere=anywhere)
        if start:
            refuse_unusable(prepared.resolved)
    except BaseException:
        if launch is not None:
            launch.let_go()
        raise
    if launch is not None and not beside_us:
        launch.let_go()
        launch = None
    return replace(prepared, launch=launch)


def _is_elsewhere(profile: str | ClusterSpec | None, overrides: Mapping[str, Any]) -> bool:
    """Whether its backend needs no keeper; told by a look, before all that is said is put together and checked."""
    return isinstance(backend_named(profile, overrides.get("backend")), SupportsAttach)


def _said_host(overrides: Mapping[str, Any]) -> Any:
    lifecycle = overrides.get("lifecycle")
    return lifecycle.get("host") if isinstance(lifecycle, Mapping) else None


def _prepared(
    resolved: Resolved,
    profile: str | ClusterSpec | None,
    called: str,
    overrides: Mapping[str, Any],
    *,
    named: bool,
    keep: bool,
    anywhere: bool,
) -> Prepared:
    backend = resolved.backend
    # On the caller's thread: dask_jobqueue replaces signal handlers when it is imported, and fails on another (its #667).
    backend.load()
    host = _host(resolved, outlives_us=named or keep)
    if host != "inline" and resolved.spec.lifecycle.host == "auto":
        resolved = resolve(profile, _with_host(overrides, host), anywhere=anywhere)
    if keep and (reason := _no_keep(backend, host)):
        raise Unsupported(backend.name, {"keep": reason}, origins={}, support=resolved.spec.support)
    refuse_unsupported(backend, resolved.spec, resolved.options, resolved.origins)
    if host == "job" and not isinstance(backend, SubmitsKeeper):
        reason = "it has no jobs that a cluster could live in; leave it auto"
        raise Unsupported(backend.name, {"lifecycle.host": reason}, origins=resolved.origins)
    return Prepared(
        resolved=resolved,
        plan=planned(resolved, called).model_copy(update={"named": named, "kept": keep}),
        in_keeper=host != "inline",
        workers_said=overrides.get("workers") is not None,
    )


def planned(resolved: Resolved, name: str) -> Plan[Any]:
    """The backend's plan, with what only the hub knows."""
    plain: Plan[Any] = resolved.backend.plan(name, resolved.spec, resolved.options)
    if (script := keeper.document_of(plain)) is not None:
        summary = f"{plain.summary}; before them the keeper, as a job of its own"
        plain = plain.model_copy(update={"documents": (script, *plain.documents), "summary": summary})
    return plain.model_copy(
        update={
            "profile": resolved.profile,
            "unit_noun": resolved.backend.unit_noun,
            "values": tuple(resolved.leaves()),
            "uid": uuid.uuid4().hex,
        }
    )


def _host(resolved: Resolved, *, outlives_us: bool) -> Literal["inline", "process", "job"]:
    """Where the cluster is to live: as the profile says, else where what is asked of it can be kept."""
    asked, backend = resolved.spec.lifecycle.host, resolved.backend
    if asked != "auto":
        return asked
    if Feature.HOST not in backend.features or isinstance(backend, SupportsAttach):
        return "inline"  # it lives elsewhere anyway, or cannot
    if not outlives_us:
        return backend.home
    ends_with_us = isinstance(backend, SubmitsKeeper) and (backend.allocation() is not None or ends_with_login())
    return "job" if ends_with_us else "process"


def _with_host(overrides: Mapping[str, Any], host: str) -> dict[str, Any]:
    said = overrides.get("lifecycle")
    return {**overrides, "lifecycle": {**(said if isinstance(said, Mapping) else {}), "host": host}}


def _no_keep(backend: Backend[Any], host: str) -> str:
    """Why a cluster that lives there cannot be kept; empty where it can."""
    if host == "process":
        allocation = backend.allocation(with_end=True)
        if allocation is None:
            return ""
        ends = f" at {moment(allocation.ends, datetime.now(UTC))}" if allocation.ends is not None else ""
        return f"this process is part of {allocation.name}, and a keeper beside it ends{ends} with it; set lifecycle.host: job"
    if host == "job" or isinstance(backend, SupportsAttach):
        return ""
    if Feature.HOST in backend.features:
        return "with lifecycle.host: inline it ends with the process that made it; leave lifecycle.host auto"
    return "its clusters end with the process that made them; leave keep out"


def refuse_unusable(resolved: Resolved) -> None:
    """Raise BackendUnavailable where the backend cannot work on this machine. A plan can be made there all the same."""
    if reason := resolved.backend.unusable():
        support = f"\n  help  {resolved.spec.support}" if resolved.spec.support else ""
        raise BackendUnavailable(f"{resolved.profile} cannot be used here: {reason}{support}")


def check_name(name: str) -> None:
    """Raise ConfigError for a name that no cluster can have."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError.of(
            "a name has 1 to 40 lower-case letters, digits and -, and neither begins nor ends with -",
            origin="call",
            path=f"name = {str(name)[:60]!r}",
        )


def new_name(profile: str) -> str:
    """A name for an unnamed cluster: the profile's, as far as it can be one, and six digits that nobody else has."""
    stem = re.sub(r"[^a-z0-9]+", "-", profile.lower()).strip("-")[:30].strip("-") or "cluster"
    # Kubernetes has names that begin with a letter: its Services'.
    return f"{stem if stem[0].isalpha() else f'on-{stem}'}-{secrets.token_hex(3)}"
