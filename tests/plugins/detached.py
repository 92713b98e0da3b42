"""A system whose clusters any process can find: each is a Dask scheduler in a process of its own, over TLS, and a file.

It exists where ``DETACHED_SYSTEM`` names its folder. Its clusters have no workers: it is there for what several processes do
with one cluster, which the simulated queue cannot show.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

from clusterhub import ClusterGone, Document, Failure, NoOptions, Plan, Ref, Sighting, Standalone, Unit, Workers
from clusterhub.backend import Backend

if TYPE_CHECKING:
    from distributed import Security

FOLDER = "DETACHED_SYSTEM"

if FOLDER in os.environ:  # a program of a test: however busy this machine is, the system is not given up
    from clusterhub.keeper import discovery

    discovery.PATIENCE = 60.0


class DetachedBackend(Backend[NoOptions]):
    """Schedulers beside one another."""

    name = "detached"
    contract = 1
    options_type = NoOptions
    features = frozenset()

    def unusable(self) -> str | None:
        """Whether there is such a system."""
        return None if os.environ.get(FOLDER) else f"{FOLDER} names no folder"

    def plan(self, name: str, spec: Any, options: NoOptions) -> Plan[NoOptions]:
        """Its name is all there is to it."""
        document = Document(title="request", text=name)
        return Plan(
            name=name, backend=self.name, spec=spec, options=options, summary="a scheduler", documents=(document,)
        )

    async def start(self, plan: Plan[NoOptions]) -> Standalone:
        """A scheduler in a session of its own, known to all once it listens."""
        from clusterhub.keeper.keys import make_keys

        identifier = uuid4().hex
        place = Path(os.environ[FOLDER]) / identifier
        place.mkdir()
        keys = make_keys(place, plan.name)
        address = place / "address.json"
        argv = [
            *(
                sys.executable,
                "-m",
                "distributed.cli.dask_scheduler",
                "--no-dashboard",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
            ),
            *("--tls-ca-file", keys.ca, "--tls-cert", keys.cert, "--tls-key", keys.key),
            *("--protocol", "tls", "--scheduler-file", str(address)),
        ]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        (place / "pid").write_text(str(process.pid))
        while not address.exists():
            assert process.poll() is None, (place / "log").read_text()
            await asyncio.sleep(0.05)
        process.returncode = 0  # not ours any more: nobody waits for it
        about = {
            "plan": plan.model_copy(update={"tls": keys}).model_dump(mode="json"),
            "pid": process.pid,
            "address": json.loads(address.read_text())["address"],
            "started": datetime.now(UTC).isoformat(),
            "kept": plan.kept,
            "workers": plan.spec.workers.minimum,
        }
        _write(place, about)
        return DetachedDeployment(place)

    async def attach(self, ref: Ref, options: NoOptions) -> Standalone:
        """What the file tells."""
        place = Path(os.environ[FOLDER]) / str(ref.data["id"])
        if not _lives(place):
            raise ClusterGone(f"there is no cluster {ref.name}")
        return DetachedDeployment(place)

    async def discover(self, options: NoOptions) -> Sequence[Sighting]:
        """Every file whose process lives."""
        places = [place for place in Path(os.environ[FOLDER]).iterdir() if _lives(place)]
        return [_sighting(place) for place in places]


class DetachedDeployment:
    """One of them."""

    native = None
    dashboard_link = ""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._about = _read(place)
        self.plan: Plan[Any] = Plan[NoOptions].model_validate_json(json.dumps(self._about["plan"]))
        self.started = datetime.fromisoformat(self._about["started"])
        self.scheduler_address: str = self._about["address"]
        self.named = self.plan.named
        self.ref = _sighting(place).ref

    @property
    def security(self) -> Security | None:
        """The keys in its folder."""
        assert self.plan.tls is not None
        return self.plan.tls.security()

    @property
    def kept(self) -> bool:
        """As the file tells."""
        return bool(_read(self._place)["kept"])

    @property
    def target(self) -> Workers:
        """As the file tells."""
        return Workers.exactly(_read(self._place)["workers"])

    async def scale(self, n: int) -> None:
        """Into the file."""
        self._change(workers=n)

    async def adapt(self, minimum: int, maximum: int) -> None:
        """Into the file."""
        self._change(workers=minimum)

    async def units(self) -> Sequence[Unit]:
        """None."""
        return (await self.observe())[0]

    async def failure(self) -> Failure | None:
        """None."""
        return (await self.observe())[1]

    async def observe(self) -> tuple[Sequence[Unit], Failure | None]:
        """Whether it lives."""
        if not _lives(self._place):
            raise ClusterGone(f"cluster {self.plan.name} has ended")
        return (), None

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """The scheduler's."""
        texts = {"scheduler": (self._place / "log").read_text()}
        return texts if unit is None else {unit: texts[unit]}

    async def keep(self) -> None:
        """Into the file."""
        self._change(kept=True)

    async def release(self) -> bool:
        """It ends, unless it is kept."""
        if self.kept:
            return False
        await self.close()
        return True

    async def close(self, *, shutdown: bool = True) -> None:
        """End its process, and return when that has ended."""
        if shutdown and _lives(self._place):
            os.kill(self._about["pid"], signal.SIGTERM)
            while _lives(self._place):
                await asyncio.sleep(0.02)

    def _change(self, **what: Any) -> None:
        _write(self._place, _read(self._place) | what)


def _sighting(place: Path) -> Sighting:
    about = _read(place)
    ref = Ref(backend="detached", name=about["plan"]["name"], data={"id": place.name})
    return Sighting(
        ref,
        profile=about["plan"]["profile"],
        kept=about["kept"],
        target=Workers.exactly(about["workers"]),
        connected=0,
        created=datetime.fromisoformat(about["started"]),
        own_name=place.name,
    )


def _lives(place: Path) -> bool:
    try:
        return bool(psutil.Process(_read(place)["pid"]).status() != psutil.STATUS_ZOMBIE)
    except (OSError, psutil.NoSuchProcess):
        return False


def _read(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "about.json").read_text())
    return found


def _write(place: Path, about: Mapping[str, Any]) -> None:
    draft = place / f"draft-{uuid4().hex}"
    draft.write_text(json.dumps(about))
    draft.rename(place / "about.json")
