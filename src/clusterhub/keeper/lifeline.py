"""Who holds a cluster, and what follows once nobody does any more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from clusterhub.keeper.identity import Life, Process, open_watch

LOOK = 0.5
"""Seconds between two looks at a process where the kernel does not tell of its end."""
CREATOR = "creator"
"""The token of whoever started the keeper."""
FAR_GRACE = 120.0
"""Seconds that a holder on another host may be silent before it counts as gone: laptops close, networks hiccup."""


class Lifeline:
    """Watches the processes that hold the cluster; calls ``end(reason)`` when the last of them is gone and it is not kept.

    A process is watched by its pidfd, and the creator by a pipe besides: the pipe breaks when it executes another program,
    the pidfd tells when it died and left the pipe's other end to children that it had forked.
    """

    def __init__(self, end: Callable[[str], None], *, named: bool, kept: bool, linger: float) -> None:
        self._end = end
        self._named = named
        self._linger = linger
        self._holders: dict[tuple[str, ...], _Holder] = {}
        self._waiting: asyncio.TimerHandle | None = None
        self.kept = kept
        self.lingers_until: float | None = None
        """By the loop's clock: when it ends unless somebody comes back; None while it is held or kept."""

    def hold(self, process: Process, token: str = CREATOR, pipe: int | None = None, *, silent: float = 0.0) -> bool:
        """From now on ``process`` holds the cluster, until it ends or lets go. Idempotent; False for one that has ended.

        ``token`` tells the holds of one process apart: each of its facades lets go on its own. ``silent`` is for how many
        seconds nothing was heard of it, which matters where it cannot be seen from here.
        """
        key = (*_key(process), token)
        if key in self._holders:
            self._holders[key].renew()
            return True
        try:
            holder = _Holder(process, pipe, lambda how: self._gone(key, how), silent)
        except ProcessLookupError:
            return False
        self._holders[key] = holder
        self._stop_waiting()
        return True

    def release(self, process: Process, token: str) -> bool:
        """``process`` needs the cluster no more; whether that leaves nobody, and it is to end now."""
        if (holder := self._holders.pop((*_key(process), token), None)) is not None:
            holder.close()
        return not self._holders and not self.kept

    def leave(self, process: Process, token: str) -> None:
        """``process`` lets go without a wish that it should end: for the cluster it is as if that process had ended."""
        self._gone((*_key(process), token), "let go of it")

    def established(self, *, named: bool, kept: bool) -> None:
        """The cluster stands: from now on its name, or that it is kept, lets it outlive its creator."""
        self._named = named
        if kept:
            self.keep()

    def keep(self) -> None:
        """Nobody needs to hold it any more."""
        self.kept = True
        self._stop_waiting()

    @property
    def holders(self) -> int:
        """How many processes hold it."""
        return len(self._holders)

    def close(self) -> None:
        """Watch nobody any more."""
        self._stop_waiting()
        for holder in self._holders.values():
            holder.close()
        self._holders.clear()

    def _gone(self, key: tuple[str, ...], how: str) -> None:
        holder = self._holders.pop(key, None)
        if holder is None:
            return
        holder.close()
        if self._holders or self.kept:
            return
        if not self._named:
            self._end(f"the process that made it {how}")
            return
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            reason = (
                f"the process that made it {how}, and nobody came back within {self._linger:g} s (lifecycle.linger)"
            )
            self.lingers_until = loop.time() + self._linger
            self._waiting = loop.call_later(self._linger, self._end, reason)

    def _stop_waiting(self) -> None:
        self.lingers_until = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _key(process: Process) -> tuple[str, ...]:
    return process.host, process.boot, process.namespace, str(process.pid), process.started


class _Holder:
    """One process, watched by whatever tells of its end here. Raises ProcessLookupError for one that has ended."""

    def __init__(self, process: Process, pipe: int | None, gone: Callable[[str], None], silent: float) -> None:
        self._process = process
        self._gone = gone
        self._loop: Any = asyncio.get_running_loop()
        self._fds: list[int] = []
        self._timer: asyncio.Handle | None = None
        self._heard = self._loop.time() - silent
        life = process.life()
        if life is Life.DEAD:
            raise ProcessLookupError(process.pid)
        if life is Life.UNKNOWN:
            self._timer = self._loop.call_soon(self._look_far)
        elif (pidfd := open_watch(process)) is not None:
            self._watch(pidfd, lambda fd: gone("ended"))
        else:
            self._look()
        if pipe is not None:
            self._watch(pipe, self._read)

    def renew(self) -> None:
        """It has just been heard of."""
        self._heard = self._loop.time()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        while self._fds:
            fd = self._fds.pop()
            self._loop.remove_reader(fd)
            os.close(fd)

    def _watch(self, fd: int, readable: Callable[[int], None]) -> None:
        self._fds.append(fd)
        self._loop.add_reader(fd, readable, fd)

    def _read(self, pipe: int) -> None:
        if not os.read(pipe, 4096):
            self._gone("ended or let go of it")

    def _look(self) -> None:
        if self._process.life() is Life.DEAD:
            self._gone("ended")
        else:
            self._timer = self._loop.call_later(LOOK, self._look)

    def _look_far(self) -> None:
        silence = self._loop.time() - self._heard
        if silence > FAR_GRACE:
            self._gone(f"on {self._process.host} has not been heard of for {silence:.0f} s")
        else:
            self._timer = self._loop.call_later(FAR_GRACE / 10, self._look_far)
