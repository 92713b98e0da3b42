"""Starts a keeper and waits for its answer; on the side of the process that wants the cluster."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from clusterhub.errors import ClusterhubError
from clusterhub.keeper.report import ready_from
from clusterhub.keeper.wire import Order, Ready

LOG_TAIL = 15
"""Lines of keeper.log that are shown of a keeper that ended without a word."""


class Launch:
    """One keeper process, started and waited for; this process is its creator."""

    pipe = True

    def __init__(self, name: str, folder: Path) -> None:
        """Start it, before it is known whether it is needed: it imports what it will need, and waits for an :meth:`order`.

        It ends by itself where none comes. ``folder`` is a place of ours for what it says until then.
        """
        self._log = folder / f".starting-{uuid4().hex}.log"
        theirs, ours = os.pipe()
        answer, their_answer = os.pipe()
        self.lifeline: int | None = ours
        """Our end of the pipe that breaks with this process: whoever closes it lets go of the cluster."""
        self._answer: int | None = answer
        stderr = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            # It forks at once and ends, and the keeper is its child: so nobody has to wait for that one. In our own working
            # directory, which relative paths of the plan mean; -P: whose modules must not replace Python's.
            self._starter = subprocess.Popen(
                [sys.executable, "-P", "-m", "clusterhub.keeper", name],
                stdin=theirs, stdout=their_answer, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            self.let_go()
            raise
        finally:
            for fd in (theirs, their_answer, stderr):
                os.close(fd)

    def __del__(self) -> None:
        self.let_go()

    def adopt(self, log: Path) -> None:
        """From now on what it says is to be found in ``log``. Raises ClusterhubError where it could not be started."""
        self._log.replace(log)
        self._log = log
        if code := self._starter.wait():
            words = self._words()
            self.let_go()
            raise ClusterhubError(f"a keeper cannot be started (exit code {code}){words}")

    def order(self, order: Order) -> None:
        """Say what to keep."""
        assert self.lifeline is not None
        text = order.model_dump_json().encode()
        view = memoryview(struct.pack("!Q", len(text)) + text)
        while view:
            view = view[os.write(self.lifeline, view) :]

    async def ready(self) -> Ready:
        """The keeper's answer once clients can connect. Raises the error that kept it from that, as if it happened here.

        When it is cancelled, the keeper ends, and with it all that it has started.
        """
        reading = asyncio.ensure_future(asyncio.to_thread(self._read))
        try:
            text = await asyncio.shield(reading)
        except BaseException:
            self.let_go()
            await asyncio.wait([reading])
            raise
        if not text:
            raise ClusterhubError(f"the keeper ended before it was ready{self._words()}")
        return ready_from(text)

    def _read(self) -> bytes:
        assert self._answer is not None
        fd, self._answer = self._answer, None
        with os.fdopen(fd, "rb") as answer:
            return answer.read()

    def let_go(self) -> None:
        """Break the pipe. Idempotent."""
        for fd in (self.lifeline, self._answer):
            if fd is not None:
                os.close(fd)
        self.lifeline = self._answer = None
        if self._log.name.startswith("."):  # it was never needed
            self._log.unlink(missing_ok=True)
            self._starter.wait()

    def _words(self) -> str:
        """What it said last, in keeper.log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
        except OSError:
            lines = []
        return "".join(["; it said:", *(f"\n  │ {line}" for line in lines)]) if lines else " and without a word"
