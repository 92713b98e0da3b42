"""What is shown while somebody waits for workers: a live display on a terminal or in a notebook, else a line a change.

Waiting is what matters: a display that breaks falls silent, and whoever waits never learns of it.
"""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType
from typing import IO, Any, Protocol, Self

from .report import Report
from .words import carries, clock, printable

log = logging.getLogger(__name__)

MARKS = "✔━╸·"
"""What the terminal's display is drawn with; a stream that cannot show these gets plain lines."""


class Face(Protocol):
    """One way to show a wait. Called in this order, from the waiting thread; only ``leave`` may come at any time."""

    def begin(self, report: Report, wanted: int) -> None:
        """The wait for ``wanted`` workers begins."""

    def show(self, report: Report, elapsed: float) -> None:
        """This is known after ``elapsed`` seconds; called again and again, also when nothing changed."""

    def end(self, report: Report, elapsed: float) -> None:
        """The wait is over, whatever came of it."""

    def note(self, text: str) -> None:
        """Say ``text`` once, outside of any wait."""

    def leave(self) -> None:
        """Put everything back as it was found. Idempotent, and harmless before ``begin``."""


class Display:
    """Shows a wait through a face. No method ever raises an Exception; as a context manager it leaves a clean terminal.

    Nothing is shown for workers that are already there, so that a ``wait()`` in a loop stays quiet.
    """

    def __init__(self, face: Face) -> None:
        self._face = face
        self._wanted = 0
        self._begun = False
        self._elapsed = 0.0

    @property
    def kind(self) -> str:
        """``terminal``, ``notebook``, ``lines`` or ``silent``."""
        return type(self._face).__name__.lower()

    def start(self, report: Report, *, wanted: int | None = None) -> None:
        """The wait begins, for ``wanted`` workers or for all that are asked."""
        self._wanted = report.asked if wanted is None else wanted
        self._elapsed = 0.0
        self._begun = False
        self.update(report, 0.0)

    def update(self, report: Report, elapsed_seconds: float) -> None:
        """This is known now; may be called as often as one likes."""
        self._elapsed = elapsed_seconds
        try:
            if not self._begun:
                if report.connected >= self._wanted and report.failure is None:
                    return
                self._begun = True
                self._face.begin(report, self._wanted)
            self._face.show(report, elapsed_seconds)
        except Exception:  # noqa: BLE001 - whatever is wrong with a terminal or a notebook, waiting goes on
            self._fall_silent()

    def note(self, text: str) -> None:
        """Say one thing, when there is nothing to wait for."""
        try:
            self._face.note(text)
        except Exception:  # noqa: BLE001 - as above
            self._fall_silent()

    def finish(self, report: Report) -> None:
        """The wait is over, well or badly: the last state stays readable. The caller tells what came of it."""
        try:
            if self._begun:
                self._face.end(report, self._elapsed)
        except Exception:  # noqa: BLE001 - as above
            self._fall_silent()
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was found. Idempotent; ``finish`` and the end of a ``with`` do it too."""
        self._begun = False
        try:
            self._face.leave()
        except Exception:
            log.debug("the wait display could not be put away", exc_info=True)

    def _fall_silent(self) -> None:
        log.debug("the wait display failed and is silent from now on", exc_info=True)
        self.close()
        self._face = Silent()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def choose(stream: IO[str] | None = None, *, bare: bool = False) -> Display:
    """The display that fits: live in a notebook, live on a terminal, else lines on ``stream`` (by default stderr).

    A ``bare`` one shows the wait alone, for whoever says by other means what cluster it is and where.
    """
    out = sys.stderr if stream is None else stream
    if out is None:  # pythonw, and daemons that closed it
        return silent()
    if in_notebook():
        from .notebook import Notebook

        return Display(Notebook())
    if out.isatty() and os.environ.get("TERM", "") not in ("", "dumb") and carries(MARKS, out):
        from .terminal import Terminal

        return Display(Terminal(out, bare=bare))
    return Display(Lines(out, bare=bare))


def silent() -> Display:
    """The display that shows nothing."""
    return Display(Silent())


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this code; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    # By name along the line of ancestors: Colab's and others' shells derive from it.
    return any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)


class Silent:
    """Shows nothing."""

    def begin(self, report: Report, wanted: int) -> None: ...

    def show(self, report: Report, elapsed: float) -> None: ...

    def end(self, report: Report, elapsed: float) -> None: ...

    def note(self, text: str) -> None: ...

    def leave(self) -> None: ...


class Lines:
    """A line for every change and no more, each with the time gone by: for logs, pipes and plain terminals."""

    def __init__(self, stream: IO[str], *, bare: bool = False) -> None:
        self._stream = stream
        self._bare = bare
        self._seen: object = None

    def begin(self, report: Report, wanted: int) -> None:
        if self._bare:
            return
        goal = "" if wanted == report.asked else f" (waiting for {wanted})"
        self._line(0.0, f"{report.place}{goal}, scheduler {report.scheduler_address}")

    def show(self, report: Report, elapsed: float) -> None:
        seen = _essence(report)
        if seen != self._seen:
            self._seen = seen
            sources = dict.fromkeys(group.source for group in report.groups if group.source)
            self._line(elapsed, " · ".join([f"{report.name}: {report.headline}", *sources]))

    def end(self, report: Report, elapsed: float) -> None:
        self.show(report, elapsed)

    def note(self, text: str) -> None:
        self._stream.write(printable(f"{text}\n", self._stream))
        self._stream.flush()

    def leave(self) -> None:
        self._seen = None

    def _line(self, elapsed: float, text: str) -> None:
        self._stream.write(printable(f"{clock(elapsed)}  {text}\n", self._stream))
        self._stream.flush()


def _essence(report: Report) -> object:
    """What makes a change worth a line: not the system's wording or its estimate, which differ at every question."""
    groups = tuple((group.state, group.reason, group.number) for group in report.groups)
    return report.connected, report.asked, groups, report.failure
