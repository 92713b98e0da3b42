"""What people see of a cluster: its report, tables, and the display while it is waited for.

Nothing here asks a cluster anything; it is shown what others observed. Importing it loads neither Dask nor rich nor
pydantic: a command that prints one message or one table pays for no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Report
    from .table import Column, Table, has_colour
    from .waiting import Display, choose
    from .words import age, clock, counted, plural, printable

_HOMES = {
    "Report": "report",
    "Column": "table",
    "Table": "table",
    "has_colour": "table",
    "Display": "waiting",
    "choose": "waiting",
    "age": "words",
    "clock": "words",
    "counted": "words",
    "plural": "words",
    "printable": "words",
}

__all__ = [
    "Column",
    "Display",
    "Report",
    "Table",
    "age",
    "choose",
    "clock",
    "counted",
    "has_colour",
    "plural",
    "printable",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
