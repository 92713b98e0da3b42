"""What differs between the objects of Dask's cluster interface, asked in one place.

Two kinds matter. A *spec cluster* (``distributed.SpecCluster``: LocalCluster, dask-jobqueue, SSHCluster) keeps a list of
the workers it wants by name, and objects for those it has. Of anything else only ``scale(n)`` is known.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

ENDED = frozenset({"closed", "failed"})


class Surface:
    """One native cluster, asked and told in the few words that all of them understand."""

    def __init__(self, native: Any) -> None:
        self.native = native

    @property
    def keeps_names(self) -> bool:
        """Whether it is a spec cluster, whose workers can be ended by name."""
        return isinstance(getattr(self.native, "worker_spec", None), dict)

    @property
    def planned(self) -> frozenset[str] | None:
        """Names of the workers it means to have, or None where it does not say."""
        return frozenset(map(str, self.native.worker_spec)) if self.keeps_names else None

    @property
    def ended(self) -> Mapping[str, str]:
        """Names of the planned workers whose own object says that they ended, with the status they ended in."""
        if not self.keeps_names:
            return {}
        return {
            str(name): status
            for name, worker in self.native.workers.items()
            if (status := _status(worker, default=None)) in ENDED
        }

    @property
    def given_up(self) -> Mapping[str, str]:
        """Names of the planned workers for which it has no object any more; while it launches, also those on their way.

        A spec cluster drops the object of a worker that the scheduler lost 15 s ago, and makes a new one when it is next
        told to scale.
        """
        if not self.keeps_names:
            return {}
        return {str(name): "gone" for name in self.native.worker_spec if name not in self.native.workers}

    @property
    def status(self) -> str:
        """Its status by the name of Dask's enum."""
        return _status(self.native, default="running")

    @property
    def dashboard_link(self) -> str:
        """Its link to the dashboard as it opens from here, or an empty text while it has none."""
        from clusterhub._dask.dashboard import relinked
        from clusterhub._dask.hosting import has_dashboard

        if not has_dashboard(self.native):
            return ""
        try:
            return relinked(str(self.native.dashboard_link or ""))
        except (AttributeError, IndexError, KeyError, ValueError):
            # KubeCluster raises IndexError before it is connected, others lack the attribute.
            return ""

    async def started(self) -> None:
        """Return when it has started; raises what its start raised."""
        if hasattr(self.native, "__await__"):
            await self.native

    async def scale(self, n: int) -> None:
        """Tell it to have ``n`` workers. Only for what does not :attr:`keeps_names`: it chooses itself whom it ends."""
        await asyncio.shield(_maybe(self.native.scale(n)))

    async def add(self, n: int) -> None:
        """Launch ``n`` more workers, and return when they have started or failed to. Only for what :attr:`keeps_names`."""
        for _ in range(n):
            self.native.worker_spec.update(self.native.new_worker_spec())
        await self._as_planned()

    async def forget(self, names: Iterable[str]) -> None:
        """End the workers of these names, and do not replace them. Only for what :attr:`keeps_names`."""
        wanted = set(names)
        own = [name for name in {*self.native.worker_spec, *self.native.workers} if str(name) in wanted]
        for name in own:
            self.native.worker_spec.pop(name, None)
        if own:
            await self._as_planned()

    async def _as_planned(self) -> None:
        """Launch and end workers until those that are here are those that are planned; raises what a launch raised.

        Awaiting the cluster itself, as ``scale_down`` does, would leave the failures of earlier launches unretrieved, each
        dumped in the log as an exception that nobody looked at. Shielded: a worker that is cancelled in the middle of
        starting or closing never ends, and closing the cluster would wait for it for ever.
        """
        await asyncio.shield(self.native._correct_state())

    async def have_ended(self, names: Collection[str], patience: float) -> None:
        """Wait until the objects of these workers have ended by themselves, for ``patience`` seconds at most.

        A worker that was retired tells its nanny to end; ending the nanny meanwhile dumps a traceback in the log.
        """
        deadline = time.monotonic() + patience
        while set(names) - set(self.ended) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """End it. Idempotent."""
        from clusterhub._dask.hosting import impatient, last_words

        if self.status not in ENDED:
            with impatient(self.native), last_words(self.native):
                await _maybe(self.native.close())


def _status(thing: Any, default: object) -> str:
    from clusterhub._dask.status import coerce_status

    return str(coerce_status(getattr(thing, "status", default)).name)


async def _maybe(result: Any) -> None:
    """Dask's own managers disagree on which of their methods are coroutines."""
    if inspect.isawaitable(result):
        await result
