"""What is to be told while a cluster starts: said where it is known, on an event loop, and shown where somebody reads."""

from __future__ import annotations

from queue import Empty, SimpleQueue

from .waiting import Display, choose


class News:
    """Sentences for whoever waits for a start. ``tell`` may be called on any thread."""

    def __init__(self) -> None:
        self._told: SimpleQueue[str] = SimpleQueue()
        self._display: Display | None = None
        self.fronted = False
        """Whether somebody calls :meth:`show` again and again, on the thread that a notebook shows things of."""

    def tell(self, text: str) -> None:
        """Say it; at once, where nobody else shows it."""
        self._told.put(text)
        if not self.fronted:
            self.show()

    def show(self) -> None:
        """Show what was told since."""
        while True:
            try:
                text = self._told.get_nowait()
            except Empty:
                return
            if self._display is None:
                self._display = choose()
            self._display.note(text)
