"""A LocalCluster in which each worker sees GPUs of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import LocalCluster


class GpuCluster(LocalCluster):  # type: ignore[misc]  # distributed carries no annotations
    """Gives each worker the ``each`` first of ``gpus`` that no living worker has, by ``CUDA_VISIBLE_DEVICES``."""

    def __init__(self, gpus: Sequence[str], each: int, *, n_workers: int, **arguments: Any) -> None:
        self._gpus, self._each = tuple(gpus), each
        # None are started by the parent class, which would start them all alike.
        super().__init__(n_workers=0, **arguments)
        for _ in range(n_workers):
            self.worker_spec.update(self.new_worker_spec())

    def new_worker_spec(self) -> dict[Any, Any]:
        """The next worker, with its GPUs in its environment and as a resource that tasks can ask for."""
        (name, spec), *_ = super().new_worker_spec().items()
        taken = {gpu for other in self.worker_spec.values() for gpu in _gpus_of(other)}
        free = [gpu for gpu in self._gpus if gpu not in taken][: self._each]
        options = dict(spec["options"])
        options["env"] = {**options.get("env", {}), "CUDA_VISIBLE_DEVICES": ",".join(free)}
        options["resources"] = {"GPU": len(free)}
        return {name: {**spec, "options": options}}


def _gpus_of(spec: dict[str, Any]) -> list[str]:
    return str(spec["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES", "")).split(",")
