"""Asks the backends whose clusters live elsewhere which of them there are: all at once, each with a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait

from clusterhub.backend import Ref, SupportsAttach
from clusterhub.errors import BackendUnavailable
from clusterhub.registry import candidates

PATIENCE = 2.0
"""Seconds that a backend may take: whoever lists clusters waits for the slowest."""


def discovered_refs(patience: float = PATIENCE) -> tuple[list[Ref], tuple[str, ...]]:
    """What the installed backends know of, and a sentence for each that failed or did not answer within ``patience`` s."""
    asked = _asked()
    wait(asked.values(), patience)
    refs: list[Ref] = []
    remarks = []
    for name, answer in asked.items():
        if not answer.done():
            remarks.append(f"{name} did not answer within {patience:g} s; its clusters are not listed")
        elif (error := answer.exception()) is not None:
            remarks.append(f"{name} could not be asked for its clusters: {error}")
        else:
            refs += answer.result()
    return refs, tuple(remarks)


def _asked() -> Mapping[str, Future[Sequence[Ref]]]:
    """A question to each backend that can answer it, under way; one that cannot be loaded has no clusters to tell of."""
    able: dict[str, SupportsAttach] = {}
    for name, candidate in candidates().items():
        try:
            backend = candidate.load()
        except BackendUnavailable:
            continue  # `clusterhub backends` tells
        if isinstance(backend, SupportsAttach) and backend.unusable() is None:
            able[name] = backend
    return {name: _under_way(backend) for name, backend in able.items()}


def _under_way(backend: SupportsAttach) -> Future[Sequence[Ref]]:
    """By a daemon: an executor's threads would be waited for at the interpreter's end, however long they hang."""
    answer: Future[Sequence[Ref]] = Future()

    def ask() -> None:
        try:
            answer.set_result(asyncio.run(backend.discover()))
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is told as its remark
            answer.set_exception(error)

    threading.Thread(target=ask, name="clusterhub-discover", daemon=True).start()
    return answer
