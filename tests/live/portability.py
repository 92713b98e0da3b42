"""The same analyses in all kinds of places, by hand: ``make portability`` (``python -m live.portability [PLACE...]``).

Ends with one table: how long each took, and whether its digest is that of a bare ``Client()`` without us.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from live.analyses import ANALYSES, Analysis
from live.places import PLACES, Failed, Place

BARE = "bare Client()"


@dataclass(frozen=True)
class Ran:
    """One analysis in one place: its digest, or why there is none."""

    place: str
    analysis: str
    seconds: float
    digest: str | None
    failure: str = ""

    @classmethod
    def of(cls, place: str, analysis: Analysis, run: Callable[[], str]) -> Ran:
        began = time.monotonic()
        try:
            digest, failure = run(), ""
        except Failed as error:
            digest, failure = None, str(error)
        return cls(place, analysis.name, time.monotonic() - began, digest, failure)


def in_place(kind: type[Place]) -> Iterator[Ran]:
    """All of them there, one after the other."""
    with tempfile.TemporaryDirectory(prefix="clusterhub-portability-") as folder, kind.standing(Path(folder)) as place:
        for analysis in ANALYSES:
            yield Ran.of(kind.name, analysis, lambda: analysis.on(place, analysis.small))  # noqa: B023  it is called at once


def without_us() -> Iterator[Ran]:
    """All of them with the cluster that Dask makes for itself: what the others are held against."""
    for analysis in ANALYSES:
        yield Ran.of(BARE, analysis, lambda: analysis.without_us(analysis.small))  # noqa: B023  it is called at once


def table(ran: list[Ran]) -> Table:
    """A row for each place and a column for each analysis; what differs from the first row is marked."""
    expected = {each.analysis: each.digest for each in ran if each.place == BARE}
    shown = Table(
        title="The same analysis everywhere: seconds from the command to its end, with the cluster's own start and end"
    )
    shown.add_column("")
    for name in expected:
        shown.add_column(name)
    for place in dict.fromkeys(each.place for each in ran):
        there = {each.analysis: each for each in ran if each.place == place}
        shown.add_row(place, *(cell(there[name], expected[name]) for name in expected))
    shown.add_section()
    shown.add_row("digest", *(digest or "none" for digest in expected.values()))
    return shown


def cell(ran: Ran, expected: str | None) -> str:
    if ran.digest is None:
        return "✘ failed"
    return f"{'=' if ran.digest == expected else f'✘ {ran.digest}'} {ran.seconds:7.1f}"


def verdict(ran: list[Ran]) -> tuple[str, bool]:
    """One line on all of them, and whether all is well."""
    expected = {each.analysis: each.digest for each in ran if each.place == BARE}
    wrong = [each for each in ran if each.digest is None or each.digest != expected[each.analysis]]
    if wrong:
        return f"✘ {len(wrong)} of {len(ran)} runs failed or have another digest", False
    places = len({each.place for each in ran}) - 1
    return f"✔ {places} backends × {len(expected)} analyses: every digest is that of a {BARE}", True


def main(asked: list[str]) -> int:
    known = {kind.name: kind for kind in PLACES}
    if unknown := set(asked) - set(known):
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 120)
    ran: list[Ran] = []
    absent: dict[str, str] = {}

    def tell(runs: Iterator[Ran]) -> None:
        for each in runs:
            console.print(
                f"{each.place}: {each.analysis}, {each.seconds:.1f} s, {each.digest or each.failure}", markup=False
            )
            ran.append(each)

    tell(without_us())
    for kind in [known[name] for name in asked] or PLACES:
        if reason := kind.missing():
            absent[kind.name] = reason
        else:
            tell(in_place(kind))
    console.print(table(ran))
    line, well = verdict(ran)
    console.print(line)
    for name, reason in absent.items():
        console.print(f"! NOT tried: {name} ({reason})", markup=False)
    return 0 if well and not absent else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
