"""How a keeper's start is told to whoever waits for it: once, through a pipe or through a file."""

from __future__ import annotations

import contextlib
import json
from typing import Any, BinaryIO, Protocol

from clusterhub.errors import ClusterhubError
from clusterhub.keeper.record import ANSWER
from clusterhub.keeper.records import Store
from clusterhub.keeper.wire import Ready, error_from, plain_error


class Report(Protocol):
    """What a keeper says of its start: one line of JSON, ever. Whoever waited for it may be gone; the lifeline knows."""

    def ready(self, ready: Ready) -> None:
        """The cluster is there."""

    def failed(self, error: BaseException) -> None:
        """The cluster is not there, for ``error``, and nothing is left of it."""


class PipedReport:
    """To the process that started this one."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def ready(self, ready: Ready) -> None:
        """See :class:`Report`."""
        self._say(_ready(ready))

    def failed(self, error: BaseException) -> None:
        """See :class:`Report`."""
        self._say(_failed(error))

    def _say(self, answer: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._pipe.write(answer)
            self._pipe.close()


class FiledReport:
    """To whoever looks into the folder of the cluster ``uid``, or of what is remembered of it."""

    def __init__(self, store: Store, uid: str, name: str) -> None:
        self._store, self._uid, self._name = store, uid, name

    def ready(self, ready: Ready) -> None:
        """See :class:`Report`."""
        self._file(_ready(ready))

    def failed(self, error: BaseException) -> None:
        """See :class:`Report`."""
        self._file(_failed(error))

    def _file(self, answer: bytes) -> None:
        with contextlib.suppress(ClusterhubError):
            self._store.put(self._uid, self._name, ANSWER, answer)


def _ready(ready: Ready) -> bytes:
    return json.dumps({"ready": ready.model_dump(mode="json")}).encode() + b"\n"


def _failed(error: BaseException) -> bytes:
    return json.dumps({"error": plain_error(error)}).encode() + b"\n"


def ready_from(answer: bytes) -> Ready:
    """What was reported. Raises the error that kept the cluster from being there, as if it happened here."""
    data: dict[str, Any] = json.loads(answer)
    if "error" in data:
        raise error_from(data["error"])
    return Ready.model_validate_json(json.dumps(data["ready"]))
