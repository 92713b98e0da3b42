"""Signals while a child runs: they are the child's, and the cluster is closed after it whatever came."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from .output import tell_line

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Signals:
    """Handles SIGINT, SIGTERM and SIGHUP from its ``with`` on, and puts the old handlers back at its end.

    Before the child: an interrupt is a KeyboardInterrupt, the others a SystemExit, so a starting cluster is closed.
    With the child: passed on to it, and nothing else happens here. After it, while the cluster closes: the first
    interrupt is answered, the second abandons the closing.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[Any] | None = None
        self._interrupts = 0
        self._closing = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, *ENDING):
            # What was ignored when we were started stays so: `nohup` means it, for us and for the child.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @contextmanager
    def passed_to(self, child: subprocess.Popen[Any]) -> Iterator[None]:
        """Signals are the child's until the end of this ``with``, when it has ended."""
        self._child, self._interrupts = child, 0
        try:
            yield
        finally:
            self._child, self._interrupts, self._closing = None, 0, True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._child is not None:
            self._pass_on(number, self._child)
        elif number == signal.SIGINT:
            self._interrupt()
        elif not self._closing:
            raise SystemExit(128 + number)

    def _pass_on(self, number: int, child: subprocess.Popen[Any]) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            # A terminal's Ctrl-C reaches everybody in the foreground, the child too: passing it on would interrupt it
            # twice, the second time in the middle of its clean-up. Whoever insists may mean it otherwise.
            if self._interrupts == 1 and _in_foreground():
                return
        with suppress(ProcessLookupError):
            child.send_signal(number)

    def _interrupt(self) -> None:
        if self._closing and self._interrupts == 0:
            self._interrupts = 1
            tell_line("closing the cluster; interrupt once more to leave that undone")
            return
        raise KeyboardInterrupt


def _in_foreground() -> bool:
    """Whether our process group has the terminal, so that keys pressed there reach all of it."""
    for stream in (sys.stdin, sys.stderr, sys.stdout):
        with suppress(OSError, ValueError, AttributeError):
            if stream.isatty():
                return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    return False
