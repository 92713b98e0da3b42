"""By trial: at which of its addresses a scheduler on another host can be reached from here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit


async def first_to_answer(addresses: Sequence[str], patience: float) -> str:
    """The first of ``addresses`` that takes a connection, all tried at once; empty where none does within ``patience`` s.

    Of several that answer at once the one that is named first is taken.
    """
    trials = [asyncio.ensure_future(_answers(address)) for address in addresses]
    try:
        async with asyncio.timeout(patience):
            while pending := [trial for trial in trials if not trial.done()]:
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if answered := _answered(addresses, trials):
                    return answered
    except TimeoutError:
        pass
    finally:
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
    return _answered(addresses, trials)


def is_loopback(address: str) -> bool:
    """Whether ``address`` means the host that reads it, whichever that is."""
    try:
        return ip_address(urlsplit(address).hostname or "").is_loopback
    except ValueError:
        return False  # a name


def _answered(addresses: Sequence[str], trials: Sequence[asyncio.Future[bool]]) -> str:
    done = (
        address
        for address, trial in zip(addresses, trials, strict=True)
        if trial.done() and not trial.cancelled() and trial.result()
    )
    return next(done, "")


async def _answers(address: str) -> bool:
    place = urlsplit(address)
    try:
        _, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
