"""A report for notebooks: plain HTML without scripts or style sheets, which an untrusted one shows too.

Colours are those of the notebook's own theme but for the bar and the states, and every text is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .relay import through_jupyter

if TYPE_CHECKING:
    from .report import Report

COLOURS = {"green": "#2e9e5b", "yellow": "#c98a00", "red": "#d13c3c"}
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"
_WHOLE = ";white-space:nowrap"
"""No cell but the last is broken: that is the reason, and may be long."""


def page(report: Report, note: str = "") -> str:
    """The report as one ``div``; ``note`` is a word beside the bar, such as the time that has gone by."""
    parts = [
        f"<div><strong>{escape(report.place)}</strong>: {escape(report.headline)}</div>",
        _bar(report.connected, max(report.asked, report.connected), note),
        _table(report) if report.units else "",
        f"<div>{escape(report.unlisted)}</div>" if report.unlisted else "",
        *(f"<div>{escape(remark)}</div>" for remark in report.remarks),
        f'<pre style="margin:6px 0">{escape(report.failure_text)}</pre>' if report.failure else "",
        _dashboard(report.dashboard_link),
    ]
    return f'<div class="clusterhub-report" style="line-height:1.4">{"".join(parts)}</div>'


def _bar(done: int, total: int, note: str) -> str:
    share = 100 * done // total if total else 0
    inner = f'<div style="width:{share}%;height:100%;border-radius:4px;background:{COLOURS["green"]}"></div>'
    track = "display:inline-block;width:240px;height:8px;background:rgba(128,128,128,.3);border-radius:4px"
    text = f' <span style="opacity:.7">{escape(note)}</span>' if note else ""
    label = f'role="progressbar" aria-valuemin="0" aria-valuenow="{done}" aria-valuemax="{total}"'
    return f'<div style="margin:4px 0"><div {label} style="{track}">{inner}</div>{text}</div>'


def _table(report: Report) -> str:
    from .table import STYLES

    table = report.table
    heads = "".join(f'<th style="{_CELL}">{escape(column.head.lower())}</th>' for column in table.columns)
    last = len(table.columns) - 1
    rows = []
    for row, state in zip(table.rows, table.states, strict=True):
        colour = COLOURS.get(STYLES.get(state, ""), "inherit")
        cells = [
            f'<td style="{_CELL}{"" if index == last else _WHOLE}{f";color:{colour}" if index == table.marked else ""}">'
            f"{escape(cell)}</td>"
            for index, cell in enumerate(row)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table style="margin:4px 0"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _dashboard(link: str) -> str:
    if not link:
        return ""
    # Only what a browser opens as a page becomes a link: a template gone wrong must not become a "javascript:".
    if not link.startswith(("http://", "https://", "/")):
        return f"<div>dashboard {escape(link)}</div>"
    relayed = through_jupyter(link)
    also = f" &nbsp; {_anchor(relayed, 'through Jupyter')}" if relayed else ""
    return f"<div>dashboard {_anchor(link, link)}{also}</div>"


def _anchor(link: str, text: str) -> str:
    return f'<a href="{escape(link)}" target="_blank" rel="noopener">{escape(text)}</a>'
