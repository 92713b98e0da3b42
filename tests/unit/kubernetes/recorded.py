"""What Kubernetes 1.34 told of clusters that did not come up, recorded on the lab, and cut to what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from clusterhub import Failure, Unit
from clusterhub_backends.kubernetes.pods import cause_of, scheduler_trouble, units_of

SAMPLES = Path(__file__).parent / "samples"


@dataclass
class Recorded:
    """One cluster at one moment."""

    pods: list[dict[str, Any]]
    deployments: list[dict[str, Any]]
    events: list[dict[str, Any]]
    now: datetime

    @classmethod
    def of(cls, name: str) -> Recorded:
        """The sample of that name."""
        told = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
        return cls(told["pods"], told["deployments"], told["events"], datetime.fromisoformat(told["recorded"]))

    def later(self, seconds: float) -> Recorded:
        """The same, with nothing new after that time."""
        return Recorded(self.pods, self.deployments, self.events, self.now + timedelta(seconds=seconds))

    @property
    def pod(self) -> dict[str, Any]:
        """The only one of a worker."""
        [pod] = [each for each in self.pods if each["metadata"]["labels"]["dask.org/component"] == "worker"]
        return pod

    def units(self, workers: Mapping[str, str] | None = None, wanted: int = 1, **more: Any) -> Sequence[Unit]:
        return units_of(self.pods, self.deployments, self.events, workers or {}, wanted, self.now, **more)

    def cause(self, workers: Mapping[str, str] | None = None, wanted: int = 1, **more: Any) -> Failure | None:
        return cause_of(self.pods, self.deployments, self.events, workers or {}, wanted, self.now, **more)

    def scheduler(self) -> Failure | None:
        return scheduler_trouble(self.pods, self.deployments, self.events, self.now)

    def says(self, reason: str, message: str = "", ago: float = 1) -> None:
        """An event about the worker's pod, that many seconds ago."""
        self.events.append(
            {
                "involvedObject": {"kind": "Pod", "uid": self.pod["metadata"]["uid"]},
                "reason": reason,
                "message": message,
                "lastTimestamp": (self.now - timedelta(seconds=ago)).isoformat(),
            }
        )
