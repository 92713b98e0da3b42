"""Clusters that live elsewhere, in a system that knows of them: found again, shared, kept, and ended by whoever may."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from distributed import Client

import clusterhub
from clusterhub.backend import Backend, Plan, Standalone, SupportsAttach
from clusterhub.cluster import Cluster
from clusterhub.display.waiting import silent
from clusterhub.errors import ClusterGone, ConfigError
from clusterhub.profile import resolve
from clusterhub.testing.base import Base


class Attaching(Base):
    """What users expect of a backend that is SupportsAttach; of another one nothing is tested here."""

    another_shape: ClassVar[Mapping[str, Any]] = {"worker": {"memory": "1 GiB"}}
    """What is not what ``overrides`` ask for."""

    def test_it_can_be_attached_to_by_its_ref(self) -> None:
        self._attachable()
        asyncio.run(self._attach_story())

    def test_its_clusters_are_told_of_by_their_names(self) -> None:
        with self.named() as cluster:
            backend = self._attachable()
            sightings = asyncio.run(backend.discover(self.resolved().options))
            (seen,) = [sighting for sighting in sightings if sighting.ref.name == cluster.name]
            assert seen.state == "running"
            assert seen.profile == self.resolved().profile
            assert seen.kept is False
            assert seen.created is None or seen.created.tzinfo is not None
            assert seen.target is None or seen.target.minimum == self.per_unit()

    def test_a_named_cluster_that_lives_is_taken_and_told_the_target(self) -> None:
        per = self.per_unit()
        with self.named() as first:
            first.wait(timeout=self.timeout, display=silent())
            again = self._connect(first.name, workers=2 * per)
            assert _scheduler(again) == _scheduler(first)
            again.wait(timeout=self.timeout, display=silent())
            assert again.report().connected == 2 * per
            self.eventually("all hear of the target", lambda: first.report().target.minimum == 2 * per)
            again.detach()
            assert first.report().connected == 2 * per

    def test_another_shape_is_refused_and_changes_nothing(self) -> None:
        with self.named() as cluster:
            said = {key: _merged(self.overrides.get(key), value) for key, value in self.another_shape.items()}
            with pytest.raises(ConfigError, match=rf"{cluster.name} (has|left|is another)"):
                self._connect(cluster.name, workers=3 * self.per_unit(), **said)
            assert cluster.report().target.minimum == self.per_unit()

    def test_closing_one_that_was_attached_to_leaves_it_running(self) -> None:
        with self.named() as cluster:
            cluster.wait(timeout=self.timeout, display=silent())
            with self._attach(cluster.name) as found:
                assert (found.name, _scheduler(found)) == (cluster.name, _scheduler(cluster))
                with found.get_client(set_as_default=False) as client:
                    assert client.submit(abs, -3).result(timeout=self.timeout) == 3
            assert cluster.report().connected == self.per_unit()

    def test_a_client_finds_it_by_its_name_alone(self) -> None:
        with self.named() as cluster:
            self._attach(cluster.name).close()  # else it is not tested that names lead here
            cluster.wait(timeout=self.timeout, display=silent())
            with Client(f"hub://{cluster.name}", set_as_default=False) as client:
                assert client.submit(abs, -4).result(timeout=self.timeout) == 4

    def test_a_kept_one_survives_its_closing_and_ends_when_it_is_told(self) -> None:
        with self.named(keep=True) as cluster:
            assert cluster.kept
            scheduler = _scheduler(cluster)
            cluster.close()
            again = self._connect(cluster.name)
            assert (_scheduler(again), again.kept) == (scheduler, True)
            again.shutdown()
            assert cluster.name not in self._names()

    def test_a_detached_one_lives_on_without_its_maker(self) -> None:
        with self.named() as cluster:
            cluster.detach()
            assert cluster.name in self._names()
            with self._connect(cluster.name) as again:
                assert again.kept

    def test_closing_one_that_nobody_keeps_ends_it(self) -> None:
        with self.named() as cluster:
            cluster.close()
            assert cluster.name not in self._names()
        with self.named(name=None) as cluster:
            ref = self._deployment_ref(cluster)
            cluster.close()
            assert ref not in self._refs()

    # How the stories are told

    @contextmanager
    def named(self, **said: Any) -> Iterator[Cluster]:
        """A cluster of a name that nothing else has; nothing of it is left, whatever becomes of the test."""
        self._attachable()
        name = said.pop("name", f"suite-{secrets.token_hex(4)}")
        cluster = self._connect(name, **{"workers": self.per_unit(), **said})
        try:
            yield cluster
        finally:
            cluster.close()
            asyncio.run(self._ended(cluster.name))

    def _attachable(self) -> SupportsAttach:
        backend: Backend[Any] = self.loaded()
        if not isinstance(backend, SupportsAttach):
            pytest.skip(f"the clusters of {backend.name} end with the process that made them")
        return backend

    def _connect(self, name: str | None, **said: Any) -> Cluster:
        return clusterhub.connect(self.backend, name=name, **{**self.overrides, **said})

    def _attach(self, name: str) -> Cluster:
        if resolve(self.backend, {}).options != self.resolved().options:
            pytest.skip(
                f"attach({name!r}) asks the systems that profiles name: that it finds this one was NOT tested; let `backend` be"
                " a profile that holds the options in `overrides`"
            )
        return clusterhub.attach(name)

    def _refs(self) -> list[Any]:
        sightings = asyncio.run(self._attachable().discover(self.resolved().options))
        return [sighting.ref for sighting in sightings if sighting.state != "ending"]

    def _names(self) -> list[str]:
        return [ref.name for ref in self._refs()]

    def _deployment_ref(self, cluster: Cluster) -> Any:
        (ref,) = [ref for ref in self._refs() if ref.name == cluster.name]
        return ref

    async def _ended(self, name: str) -> None:
        backend, options = self._attachable(), self.resolved().options
        for sighting in await backend.discover(options):
            if sighting.ref.name == name and sighting.state != "ending":
                await (await backend.attach(sighting.ref, options)).close()

    async def _attach_story(self) -> None:
        resolved = self.resolved(workers=self.per_unit())
        backend = resolved.backend
        assert isinstance(backend, SupportsAttach)
        plan: Plan[Any] = backend.plan("attach-story", resolved.spec, resolved.options)
        first = await backend.start(plan)
        try:
            assert isinstance(first, Standalone)
            assert first.ref in [sighting.ref for sighting in await backend.discover(resolved.options)]
            ref = type(first.ref).model_validate_json(first.ref.model_dump_json())
            second = await backend.attach(ref, resolved.options)
            assert isinstance(second, Standalone)
            assert second.ref == first.ref
            assert (second.plan.name, second.plan.backend) == (plan.name, plan.backend)
            await second.close(shutdown=False)
            assert await first.units() is not None, "letting go of it ended it for the others"
        finally:
            await first.close()
        assert first.ref not in [sighting.ref for sighting in await backend.discover(resolved.options)]
        with pytest.raises(ClusterGone):
            await backend.attach(ref, resolved.options)


def _merged(base: Any, change: Any) -> Any:
    return {**base, **change} if isinstance(base, Mapping) and isinstance(change, Mapping) else change


def _scheduler(cluster: Cluster) -> str:
    """Which scheduler it is. Its address tells nothing: each process may reach it in a way of its own."""
    return str(cluster.scheduler_info["id"])
