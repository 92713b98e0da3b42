"""``check``: a doctor for a profile, whose findings appear as they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import debug_option, json_option, override_options, overrides, profile_argument
from .outcome import FAILURE
from .output import say, say_json, say_marked

if TYPE_CHECKING:
    from clusterhub.api import CheckReport, Step

MARKS = {"ok": ("✔", "green"), "warn": ("!", "yellow"), "fail": ("✘", "red")}
TITLE_WIDTH = 17
"""Cells of a step's title: the longest is not known while the first is already shown."""


@click.command(short_help="Find out whether a profile can work here.")
@profile_argument()
@override_options
@click.option("--start", is_flag=True, help="Really start one worker, compute on it, and end it.")
@json_option
@debug_option
def check(profile: str, sets: tuple[str, ...], workers: Any, start: bool, as_json: bool) -> int:
    """Find out whether profile P can work here: config, commands, queue, python, network.

    The exit code is 1 where anything would keep workers from starting.
    """
    from clusterhub.api import check as checked
    from clusterhub.profile import resolve

    given = overrides(sets, workers)
    if as_json:
        report = checked(profile, start=start, **given)
        say_json(_as_data(report))
    else:
        # Resolved here only for the first line: it must be there before the first step, which may take a minute.
        resolved = resolve(profile, given)
        say(" · ".join(dict.fromkeys((resolved.profile, resolved.backend.name))))
        report = checked(profile, start=start, on_step=_say_step, **given)
        say(_verdict(report))
    return 0 if report.ok else FAILURE


def _say_step(step: Step) -> None:
    mark, colour = MARKS[step.mark]
    first, *more = step.text.splitlines() or [""]
    under = " " * (TITLE_WIDTH + 5)
    say_marked(mark, colour, f"{step.title:<{TITLE_WIDTH}} {first}", [under + line for line in more])


def _verdict(report: CheckReport) -> str:
    from clusterhub.display.words import counted

    problems = sum(step.mark == "fail" for step in report.steps)
    doubts = sum(step.mark == "warn" for step in report.steps)
    if problems or not report.ok:
        return counted(max(problems, 1), "problem")
    return "everything works" + (f", with {counted(doubts, 'remark')}" if doubts else "")


def _as_data(report: CheckReport) -> dict[str, Any]:
    return {
        "profile": report.profile,
        "backend": report.backend,
        "ok": report.ok,
        "steps": [{"mark": step.mark, "title": step.title, "text": step.text} for step in report.steps],
    }
