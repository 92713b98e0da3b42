"""``show`` and ``plan``: what a profile comes to, and what would be sent for it. Neither sends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import debug_option, json_option, override_options, overrides, profile_argument
from .output import say, say_json, say_table

if TYPE_CHECKING:
    from clusterhub.profile import Resolved

HEADLINE_KEYS = frozenset({"backend", "description"})
"""Told by the first line, and so left out of the table."""
UNSET = frozenset({"null", "[]", "{}"})
"""How a default reads that says nothing."""


@click.command(short_help="Show what a profile comes to, and where each value was said.")
@profile_argument()
@override_options
@click.option("--all", "with_unset", is_flag=True, help="Also list the keys that are not set.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print a profile to paste into a file, without origins.")
@json_option
@debug_option
def show(profile: str, sets: tuple[str, ...], workers: Any, with_unset: bool, as_yaml: bool, as_json: bool) -> None:
    """Show what profile P comes to: every value, and where it was said."""
    if as_yaml and as_json:
        raise click.UsageError("--yaml and --json are two forms of one answer; choose one")
    from clusterhub.profile import resolve

    resolved = resolve(profile, overrides(sets, workers), anywhere=True)
    if as_yaml:
        say(resolved.as_yaml().rstrip("\n"))
    elif as_json:
        say_json(_as_data(resolved))
    else:
        _say_shown(resolved, with_unset)


def _as_data(resolved: Resolved) -> dict[str, Any]:
    from .arithmetic import in_all

    return {
        "profile": resolved.profile,
        "backend": resolved.backend.name,
        "description": resolved.spec.description,
        "values": [
            {"key": leaf.path, "text": leaf.text, "origin": leaf.origin, "default": leaf.is_default}
            for leaf in resolved.leaves()
        ],
        "in_all": in_all(resolved.spec, resolved.backend),
        "unused": [
            {"key": problem.path, "text": problem.written, "origin": problem.origin, "reason": problem.message}
            for problem in resolved.unused
        ],
    }


def _say_shown(resolved: Resolved, with_unset: bool) -> None:
    from clusterhub.display.table import Column, Table
    from clusterhub.display.words import counted

    from .arithmetic import in_all

    say(" · ".join(dict.fromkeys(filter(None, (resolved.profile, resolved.backend.name, resolved.spec.description)))))
    leaves = [leaf for leaf in resolved.leaves() if leaf.path not in HEADLINE_KEYS]
    shown = [leaf for leaf in leaves if with_unset or not (leaf.is_default and leaf.text in UNSET)]
    say_table(Table([Column()] * 3, [[leaf.path, leaf.text, leaf.origin] for leaf in shown], indent=2))
    say(in_all(resolved.spec, resolved.backend))
    if resolved.unused:
        say("of the dask config this has no effect here:")
        rows = [[f"{problem.path} = {problem.written}", problem.origin, problem.message] for problem in resolved.unused]
        say_table(Table([Column()] * 3, rows, indent=2))
    if unset := len(leaves) - len(shown):
        say(f"{counted(unset, 'more key')} not set: clusterhub show {resolved.profile} --all")


@click.command(short_help="Print what would be sent for a profile; sends nothing.")
@profile_argument()
@override_options
@json_option
@debug_option
def plan(profile: str, sets: tuple[str, ...], workers: Any, as_json: bool) -> None:
    """Print the job script, manifest or request that would be sent for profile P. Sends nothing."""
    from clusterhub.api import plan as planned

    made = planned(profile, **overrides(sets, workers))
    if as_json:
        documents = [{"title": doc.title, "language": doc.language, "text": doc.text} for doc in made.documents]
        say_json({"name": made.name, "backend": made.backend, "summary": made.summary, "documents": documents})
        return
    say(str(made))
