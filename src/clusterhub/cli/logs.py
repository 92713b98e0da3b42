"""``logs``: what the parts of a living cluster have said, and what they go on to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .names import find, name_argument
from .options import debug_option, json_option
from .outcome import Mistake
from .output import say, say_json, tell_line

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster

OURS = ("keeper", "scheduler")
"""Logs that a cluster has besides those of its units; one that lives elsewhere has no keeper."""


@click.command(short_help="Print the logs of a cluster.")
@name_argument
@click.option("--unit", metavar="U", help="Only the log of unit U (as `status` names it), of scheduler or keeper.")
@click.option("--follow", is_flag=True, help="Go on with what is new, until it ends or you interrupt.")
@json_option
@debug_option
def logs(name: str, unit: str | None, follow: bool, as_json: bool) -> int:
    """Print the latest log lines of cluster N: of its keeper, its scheduler and each unit."""
    if follow and as_json:
        raise click.UsageError("--follow prints lines as they come, --json one answer; choose one")
    at = find(name)
    with at.attach() as cluster:
        texts = _asked(cluster, unit)
        if as_json:
            say_json(dict(texts))
            return 0
        shown = Shown(headed=unit is None)
        shown.first(texts)
        if not follow:
            return 0
        from .watching import until_it_ends

        # A unit that is gone for a moment, as a worker that restarts is, may come back.
        return until_it_ends(cluster, lambda: shown.more(_now(cluster, unit)), tell_line, recorded=at.recorded)


def _asked(cluster: Cluster, unit: str | None) -> Mapping[str, str]:
    try:
        return cluster.logs(unit)
    except KeyError:
        texts = cluster.logs()
        there = ", ".join([*(name for name in OURS if name in texts), *(found.name for found in cluster.units())])
        raise Mistake(f"{cluster.name} has no unit {unit}; there are: {there}") from None


def _now(cluster: Cluster, unit: str | None) -> Mapping[str, str]:
    try:
        return cluster.logs(unit)
    except KeyError:
        return {}


class Shown:
    """What of several logs was printed already."""

    def __init__(self, headed: bool) -> None:
        self._headed = headed
        self._seen: dict[str, list[str]] = {}
        self._under = ""

    def first(self, texts: Mapping[str, str]) -> None:
        """Print all of it, the keeper's and the scheduler's first."""
        for source in sorted(texts, key=lambda name: (name not in OURS, OURS.index(name) if name in OURS else 0)):
            self._seen[source] = texts[source].splitlines()
            self._print(source, self._seen[source] or ["(nothing yet)"])

    def more(self, texts: Mapping[str, str]) -> None:
        """Print what is new."""
        for source, text in texts.items():
            lines = text.splitlines()
            if fresh := news(self._seen.get(source, []), lines):
                self._print(source, fresh)
            self._seen[source] = lines

    def _print(self, source: str, lines: list[str]) -> None:
        if self._headed and source != self._under:
            self._under = source
            say(f"──── {source} ────")
        say("\n".join(lines))


def news(old: list[str], new: list[str]) -> list[str]:
    """The lines at the end of ``new`` that ``old`` has not: both are the last lines of one log, at two moments.

    A last line that was only half written is told again as a whole.
    """
    for common in range(min(len(old), len(new)), 0, -1):
        if old[-common:-1] == new[: common - 1] and new[common - 1].startswith(old[-1]):
            return new[common:] if new[common - 1] == old[-1] else new[common - 1 :]
    return new
