"""Aligned tables: the same words on a terminal and in a pipe, where nothing is ever cut or wrapped away.

On a terminal rich draws them, so that long last columns wrap under themselves; elsewhere rich is not even imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from .words import carries, flat, printable, width

if TYPE_CHECKING:
    from rich.table import Table as RichTable

GAP = 2
NARROWEST = 16
"""Cells that the last column needs to be readable when it wraps; with less, all columns do."""

STYLES = {
    "ok": "green", "ready": "green", "connected": "green",
    "warn": "yellow", "submitting": "yellow", "pending": "yellow", "running": "yellow",
    "fail": "red", "failed": "red", "missing": "red", "lost": "red", "not ready": "red",
}  # fmt: skip
"""The colour of each state. Colour marks state and nothing else."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``head`` may be empty for all columns of a table, which then has no heading."""

    head: str = ""
    right: bool = False
    """Whether its cells are aligned to the right, as numbers are."""


@dataclass(frozen=True)
class Table:
    """Rows of text under columns, each row with an optional state that colours its ``marked`` column."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    states: Sequence[str] = ()
    """One for each row, or none at all; a key of ``STYLES``, anything else is left uncoloured."""
    marked: int = -1
    """The index of the column that a row's state colours."""
    indent: int = 0

    def lines(self) -> list[str]:
        """The table as plain lines without trailing blanks; a cell's own line breaks become blanks."""
        grid = [[flat(cell) for cell in row] for row in self._with_heading()]
        widths = self._widths(grid)
        return [self._line(row, widths) for row in grid]

    def _widths(self, grid: Sequence[Sequence[str]]) -> list[int]:
        return [max((width(row[index]) for row in grid), default=0) for index in range(len(self.columns))]

    def _with_heading(self) -> list[Sequence[str]]:
        heads = [column.head for column in self.columns]
        return [heads, *self.rows] if any(heads) else list(self.rows)

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [
            " " * (space - width(cell)) + cell if column.right else cell + " " * (space - width(cell))
            for column, cell, space in zip(self.columns, row, widths, strict=True)
        ]
        return (" " * self.indent + (" " * GAP).join(cells)).rstrip()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def write(self, stream: IO[str]) -> None:
        """Write the table with a final line break, drawn where ``stream`` is a terminal."""
        if stream.isatty() and os.environ.get("TERM") != "dumb" and all(carries(line, stream) for line in self.lines()):
            from rich.console import Console

            # Emoji and markup are off: what a system says (":x:", "[red]") is shown as it was said.
            console = Console(file=stream, highlight=False, emoji=False, markup=False)
            console.print(self.rich(console.width))
        else:
            stream.write("".join(f"{printable(line, stream)}\n" for line in self.lines()))

    def rich(self, available: int) -> RichTable:
        """The same for rich: only the last column wraps, unless ``available`` is too narrow even for that."""
        from rich.table import Table as RichTable
        from rich.text import Text

        heads = any(column.head for column in self.columns)
        *before, last_width = self._widths([[flat(cell) for cell in row] for row in self._with_heading()])
        roomy = self.indent + sum(before) + GAP * len(before) + min(NARROWEST, last_width) <= available
        drawn = RichTable(box=None, show_header=heads, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for index, column in enumerate(self.columns):
            last = index == len(self.columns) - 1
            drawn.add_column(
                Text((" " * self.indent if index == 0 else "") + column.head),
                justify="right" if column.right else "left",
                no_wrap=roomy and not last,
                overflow="fold",
            )
        for number, row in enumerate(self.rows):
            drawn.add_row(*self._texts(number, row))
        return drawn

    def _texts(self, number: int, row: Sequence[str]) -> list[Any]:
        from rich.text import Text

        state = self.states[number] if self.states else ""
        texts = [Text((" " * self.indent if index == 0 else "") + flat(cell)) for index, cell in enumerate(row)]
        if style := STYLES.get(state):
            texts[self.marked].stylize(style)
        return texts


def has_colour(stream: IO[str]) -> bool:
    """Whether colour may be written to ``stream``: a terminal that can, and a person who has not set NO_COLOR."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
