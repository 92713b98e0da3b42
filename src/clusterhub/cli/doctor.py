"""``check``: a doctor for a profile, whose findings appear as they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import Patience, debug_option, json_option, override_options, overrides, profile_argument
from .outcome import FAILURE
from .output import say, say_json, say_marked, tell_line

if TYPE_CHECKING:
    from clusterhub.api import CheckReport
    from clusterhub.backend import Finding

MARKS = {"ok": ("✔", "green"), "warn": ("!", "yellow"), "fail": ("✘", "red")}
TITLE_WIDTH = 17
"""Cells of a finding's title: the longest is not known while the first is already shown."""


@click.command(short_help="Find out whether a profile can work here.")
@profile_argument()
@override_options
@click.option("--start", is_flag=True, help="Really start one worker, compute on it, and end it.")
@click.option(
    "--timeout", metavar="T", type=Patience(), help="How long --start waits in a queue, as 30m; by default 5m."
)
@json_option
@debug_option
def check(profile: str, sets: tuple[str, ...], workers: Any, start: bool, timeout: float | None, as_json: bool) -> int:
    """Find out whether profile P can work here: config, commands, queue, python, network.

    The exit code is 1 where anything would keep workers from starting.
    """
    from clusterhub.api import check as checked
    from clusterhub.profile import resolve

    if timeout is not None and not start:
        raise click.UsageError("--timeout is how long --start waits; add --start")
    given = overrides(sets, workers)
    if timeout is not None:
        given["patience"] = timeout
    if as_json:
        report = checked(profile, start=start, **given)
        say_json(_as_data(report))
    else:
        # Resolved here only for the first line: it must be there before the first finding, which may take a minute.
        resolved = resolve(profile, overrides(sets, workers))
        say(" · ".join(dict.fromkeys((resolved.profile, resolved.backend.name))))
        report = checked(profile, start=start, on_step=_say_step, on_news=_tell_news, **given)
        say(report.verdict)
    return 0 if report.ok else FAILURE


def _say_step(finding: Finding) -> None:
    mark, colour = MARKS[finding.mark]
    first, *more = finding.text.splitlines()
    under = " " * (TITLE_WIDTH + 5)
    say_marked(mark, colour, f"{finding.title:<{TITLE_WIDTH}} {first}", [under + line for line in more])


def _tell_news(text: str) -> None:
    """What is waited for, about the work and so not to stdout."""
    tell_line(f"  · {'':<{TITLE_WIDTH}} {text}")


def _as_data(report: CheckReport) -> dict[str, Any]:
    return {
        "profile": report.profile,
        "backend": report.backend,
        "ok": report.ok,
        "steps": [
            {"mark": found.mark, "title": found.title, "text": found.text, "because": found.because}
            for found in report.steps
        ],
    }
