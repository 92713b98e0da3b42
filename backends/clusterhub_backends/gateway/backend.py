"""The gateway backend: what it offers and refuses, what it would send, and the clusters that a gateway has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from clusterhub import (
    BackendUnavailable,
    ClusterhubError,
    ClusterSpec,
    Document,
    Feature,
    Finding,
    Plan,
    Ref,
    Sighting,
    Standalone,
    Workers,
)
from clusterhub.backend import Backend
from clusterhub_backends.gateway.options import GatewayOptions
from clusterhub_backends.gateway.request import Wishes

if TYPE_CHECKING:
    from dask_gateway.client import ClusterReport

    from clusterhub_backends.gateway.server import Server


SIGHT_PATIENCE = 1.2
"""Seconds in which a scheduler says what it is, to whoever lists clusters: all together have two."""


class GatewayBackend(Backend[GatewayOptions]):
    """Clusters that a dask-gateway starts and keeps."""

    name = "gateway"
    contract = 1
    options_type = GatewayOptions
    unit_noun = "worker"
    features = frozenset(
        {
            Feature.GPUS,
            Feature.VARIABLES,
            Feature.TLS,
            Feature.IDLE_TIMEOUT,
            Feature.MAX_AGE,
            Feature.LINGER,
        }
    )
    left_open = frozenset({"worker.cores", "worker.memory", "worker.threads"})

    def load(self) -> None:
        """Import dask_gateway, which also teaches distributed its ``gateway://`` addresses."""
        try:
            import dask_gateway  # noqa: F401
        except ImportError as error:
            raise BackendUnavailable(f'not installed: pip install "clusterhub[gateway]" ({error})') from error

    def dask_config(self) -> Mapping[str, Any]:
        """What ``gateway`` says in the Dask config, as a hub's administrators and dask-gateway's users have written it."""
        from clusterhub_backends.gateway.dask_config import converted

        return converted()

    def refusals(self, spec: ClusterSpec, options: GatewayOptions) -> Mapping[str, str]:
        """What no gateway does, whatever it offers; the rest its server is asked before anything is created."""
        reasons: dict[str, str] = {}
        if options.address is None:
            reasons["gateway.address"] = (
                "where is it? write its address, as its users are told; on a hub it is often in the Dask config, which"
                " connect('gateway') and extends: dask read"
            )
        if spec.network.tls is False:
            reasons[Feature.TLS] = "a gateway's schedulers speak nothing but TLS; leave it out"
        return reasons

    def problems(self, spec: ClusterSpec, options: GatewayOptions) -> Iterable[Finding | str]:
        """The way to the server, whether it lets us in, what it offers, and the way to its schedulers."""
        from clusterhub_backends.gateway.doctor import findings

        return findings(spec, options)

    def plan(self, name: str, spec: ClusterSpec, options: GatewayOptions) -> Plan[GatewayOptions]:
        """The request that makes the cluster, as far as it is known without asking the gateway for its options."""
        wishes = Wishes(spec, options)
        said = wishes.said()
        cores, memory = said.get("worker.cores"), said.get("worker.memory")
        parts = [
            f"{cores:g} cores" if cores else "",
            str(memory or ""),
            f"{spec.worker.gpus} GPUs" if spec.worker.gpus else "",
        ]
        shape = ", ".join(filter(None, parts))
        address = (options.address or "").rstrip("/")
        body = json.dumps({"cluster_options": wishes.preview()}, indent=2)
        return Plan(
            name=name,
            backend=self.name,
            spec=spec,
            options=options,
            summary=f"workers: {spec.workers}, {f'of {shape}' if shape else 'as large as the gateway makes them'}; options named"
            " as most gateways name them, `clusterhub check` asks this one",
            documents=(
                Document(title="request", text=f"POST {address}/api/v1/clusters/\n\n{body}\n", language="json"),
            ),
        )

    async def start(self, plan: Plan[GatewayOptions]) -> Standalone:
        """A new cluster; nothing is left of it where its start fails."""
        from clusterhub_backends.gateway.deployment import GatewayDeployment

        return await GatewayDeployment.start(plan)

    async def attach(self, ref: Ref, options: GatewayOptions) -> Standalone:
        """The living cluster behind ``ref``, also one that was made without clusterhub."""
        from clusterhub_backends.gateway.deployment import GatewayDeployment

        plain = self.plan(ref.name, ClusterSpec(backend=self.name, workers=Workers.exactly(0)), options)
        return await GatewayDeployment.attached(ref, options, plain)

    async def end(self, ref: Ref, options: GatewayOptions) -> None:
        """Have the gateway end the cluster behind ``ref``, in whatever state it is, and return when it has."""
        from clusterhub_backends.gateway.server import Server

        server = Server(options)
        try:
            await server.end(str(ref.data["cluster"]))
        finally:
            await server.close()

    async def discover(self, options: GatewayOptions) -> Sequence[Sighting]:
        """All clusters of this user that the gateway has; each scheduler is asked what it is, all at once."""
        from clusterhub_backends.gateway.server import Server

        server = Server(options)
        try:
            return await asyncio.gather(*(_sighting(server, report) for report in await server.reports()))
        finally:
            await server.close()


async def _sighting(server: Server, report: ClusterReport) -> Sighting:
    from clusterhub.elsewhere import moments, plan_from

    starting = report.status.name == "PENDING"
    memory, silent = (None, False) if starting else await _recalled(report)
    reason, plan = "its scheduler does not answer, so what it is cannot be told" if silent else "", None
    if memory and memory["plan"] is not None:
        try:
            plan = plan_from(memory["plan"], GatewayOptions)
        except ValueError:
            reason = "another version of clusterhub made it"
    elif not starting and not silent:
        reason = "made without clusterhub"
    said = memory["plan"] if memory and isinstance(memory["plan"], Mapping) else {}
    data: dict[str, Any] = {"address": server.address, "cluster": report.name}
    idle_since, ends = moments(memory or {})
    asked = memory["asked"] if memory else None
    return Sighting(
        ref=Ref(
            backend="gateway", name=plan.name if plan is not None else str(said.get("name", report.name)), data=data
        ),
        own_name=report.name,
        state="starting" if starting else "running",
        silent=silent,
        reason=reason,
        profile=plan.profile if plan is not None else str(said.get("profile", "")),
        kept=bool(memory and memory["kept"]),
        target=Workers(minimum=asked[0], maximum=asked[1]) if asked else None,
        connected=memory["connected"] if memory else None,
        created=report.start_time.astimezone(UTC),
        idle_since=idle_since,
        ends=ends,
        where=server.address.partition("://")[2].partition("/")[0],
    )


async def _recalled(report: ClusterReport) -> tuple[Mapping[str, Any] | None, bool]:
    """What its caretaker remembers, where it has one; and whether its scheduler says nothing, which may not hide the others."""
    from clusterhub.parts import Line
    from clusterhub_backends.gateway.caretaker import GatewayCaretaker

    assert report.security is not None  # a running cluster has keys
    line = Line(str(report.scheduler_address), report.security, GatewayCaretaker)
    try:
        async with asyncio.timeout(SIGHT_PATIENCE):
            return await line.recall(), False
    except (TimeoutError, ClusterhubError):
        return None, True
    finally:
        await line.close()
