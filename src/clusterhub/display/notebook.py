"""The wait display of a notebook: one output, updated in place. It needs IPython and no widgets."""

from __future__ import annotations

from html import escape
from typing import Any

from .html import page
from .report import Report
from .words import clock


class Notebook:
    """Shows the report with its bar, and sends it again only when it differs."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = ""

    def begin(self, report: Report, wanted: int) -> None:
        from IPython.display import HTML, display

        self._shown = page(report, clock(0))
        self._handle = display(HTML(self._shown), display_id=True)

    def show(self, report: Report, elapsed: float) -> None:
        from IPython.display import HTML

        content = page(report, clock(elapsed))
        if self._handle is not None and content != self._shown:
            self._shown = content
            self._handle.update(HTML(content))

    def end(self, report: Report, elapsed: float) -> None:
        self.show(report, elapsed)

    def note(self, text: str) -> None:
        from IPython.display import HTML, display

        display(HTML(f"<div>{escape(text)}</div>"))

    def leave(self) -> None:
        self._handle = None
