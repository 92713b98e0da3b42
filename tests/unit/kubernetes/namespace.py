"""A namespace of Kubernetes's in memory, as far as a deletion or a listing asks it, with the API server's own rules for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from clusterhub_backends.kubernetes.refusals import Conflict


def dask_cluster(name: str = "eddies", **metadata: Any) -> dict[str, Any]:
    """A DaskCluster as the API server has it, on which the operator has begun."""
    made = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "creationTimestamp": "2026-11-26T12:00:00Z"}
    spec = {"worker": {"replicas": 2}}
    return {
        "metadata": {**made, "labels": {}, "annotations": {}, **metadata},
        "spec": spec,
        "status": {"phase": "Running"},
    }


class Namespace:
    """As much of ``Api`` as is used."""

    server, namespace, place, kubectl = "https://lab", "ocean", "context lab", "kubectl"

    def __init__(self, **things: Sequence[Mapping[str, Any]]) -> None:
        self.things: dict[str, list[dict[str, Any]]] = {
            kind: [dict(each) for each in of] for kind, of in things.items()
        }
        self.now = datetime(2026, 11, 26, 13, 0, tzinfo=UTC)
        self.deleted: list[str] = []

    async def get(self, kind: str, name: str) -> Any:
        return next((each for each in await self.list(kind) if each["metadata"]["name"] == name), None)

    async def list(self, kind: str, *, labels: Mapping[str, str] | None = None) -> Sequence[Any]:
        def fits(thing: Mapping[str, Any]) -> bool:
            return all((thing["metadata"].get("labels") or {}).get(key) == text for key, text in (labels or {}).items())

        return [each for each in self.things.get(kind, ()) if fits(each)]

    async def delete(
        self, kind: str, name: str, *, uid: str | None = None, version: str | None = None, wait: bool = False
    ) -> bool:
        thing = await self.get(kind, name)
        if thing is None or (uid is not None and thing["metadata"]["uid"] != uid):
            return False
        self._demand(thing, version)
        self.deleted.append(f"{kind}/{name}")
        self.things[kind].remove(thing)
        if kind == "daskclusters":
            for each in ("pods", "daskautoscalers"):
                self.things[each] = []
        return True

    async def patch(self, kind: str, name: str, changes: Mapping[str, Any]) -> Any:
        thing = await self.get(kind, name)
        self._demand(thing, changes["metadata"].get("resourceVersion"))
        thing["metadata"] |= changes["metadata"]
        if thing["metadata"].get("deletionTimestamp") and not thing["metadata"]["finalizers"]:
            self.things[kind].remove(thing)
        return thing

    @staticmethod
    def _demand(thing: Mapping[str, Any], version: str | None) -> None:
        if version is not None and thing["metadata"]["resourceVersion"] != version:
            raise Conflict("it is being changed by somebody else too")
