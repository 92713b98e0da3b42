"""Dask's status, whatever form a cluster manager gives it."""

from __future__ import annotations

from distributed.core import Status

__all__ = ["Status", "coerce_status"]

_WORDS = {"pending": Status.starting, "stopped": Status.closed, "stopping": Status.closing}


def coerce_status(status: object) -> Status:
    """The Status meant by ``status``: dask-gateway's clusters have a text where everyone else has the enum.

    A text nobody knows counts as ``undefined``: a Client refuses closed clusters, and waits for all others.
    """
    if isinstance(status, Status):
        return status
    word = str(status).lower()
    if word in _WORDS:
        return _WORDS[word]
    return Status[word] if word in Status.__members__ else Status.undefined
