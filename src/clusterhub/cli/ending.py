"""``down`` and ``gc``: what ends clusters, and what clears away after those that ended badly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import click

from clusterhub.errors import ClusterGone, ClusterhubError

from . import outcome
from .names import complete_name
from .options import debug_option, json_option
from .outcome import FAILURE, Mistake
from .output import say, say_json, say_marked, say_table, tell_line


@click.command(short_help="End clusters.")
@click.argument("names", metavar="N...", nargs=-1, shell_complete=complete_name)
@click.option("--all", "everything", is_flag=True, help="End all of them.")
@click.option("--yes", is_flag=True, help="Do not ask before --all.")
@debug_option
def down(names: tuple[str, ...], everything: bool, yes: bool) -> int:
    """End clusters N, with all that they started, and say what was ended.

    Of one that died, what is left is removed. One that cannot be ended from here is told apart, and the exit code is 1.
    --all leaves alone what was made without clusterhub, in a system where clusters live elsewhere: it ends by its name.
    """
    if everything == bool(names):
        raise click.UsageError(
            "--all ends every cluster, and takes no names" if names else "name a cluster, or say --all"
        )
    from clusterhub.api.attaching import end

    chosen = [(name, partial(end, name)) for name in dict.fromkeys(names)] if names else _all(yes)
    codes = [_ended(name, end_it) for name, end_it in chosen]
    return max(codes, default=0)


Chosen = Sequence[tuple[str, Callable[[], str]]]
"""Each cluster as it is told of, and how it is ended."""


def _all(yes: bool) -> Chosen:
    """All that clusterhub made; none where that is not wanted after all."""
    from clusterhub.api.attaching import all_elsewhere
    from clusterhub.display.words import counted
    from clusterhub.keeper import end
    from clusterhub.keeper.listing import AS_FAR
    from clusterhub.keeper.records import Store

    ours, others, remarks = all_elsewhere()
    chosen: Chosen = [
        *((name, partial(end, name)) for name in Store.here().names()),
        *((f"{at.found.name} on {at.found.where}", at.end) for at in ours),
    ]
    for remark in remarks:
        tell_line(f"! {remark}")
    left = ", ".join(f"{at.found.name} on {at.found.where}" for at in others)
    spared = f"made without clusterhub, and left alone: {left}; name what is to end" if others else ""
    if not chosen:
        as_far = f"{AS_FAR}{',' if spared else ''}" if remarks else ""
        say(f"no clusters live{as_far}" + (f" but those {spared}" if spared else ""))
        return ()
    question = f"end {counted(len(chosen), 'cluster')} ({', '.join(name for name, _ in chosen)})?"
    if not yes and not sys.stdin.isatty():
        raise Mistake(f"{question} add --yes" + (f"\n  {spared}" if spared else ""))
    if spared:
        tell_line(spared)
    if not yes and not click.confirm(question, err=True):
        say("nothing was ended")
        return ()
    return chosen


def _ended(name: str, end: Callable[[], str]) -> int:
    """End one and say so; its part in the exit code. What goes wrong with it must not keep the next from its end."""
    from clusterhub.keeper.records import Store

    try:
        said = end()
    except ClusterGone as gone:
        if not gone.final or name in Store.here().names():
            return outcome.tell(gone, debug=False)
        said = str(gone)  # it had ended before, which is what was wanted
    except ClusterhubError as error:
        return outcome.tell(error, debug=False)
    say_marked("✔", "green", said)
    return 0


@click.command(short_help="Remove what dead clusters left.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@debug_option
def gc(dry_run: bool, as_json: bool) -> int:
    """Remove what dead clusters left, and leave alone what may live.

    Only what is proven dead is removed: unreachable is not dead. The systems are asked in which clusters live elsewhere, for
    two seconds at most.
    """
    from clusterhub.api.collecting import collect

    findings, remarks = collect(dry_run=dry_run)
    for remark in remarks:
        tell_line(f"! {remark}")
    if as_json:
        keys = ("name", "verdict", "reason", "ended")
        say_json([{key: getattr(found, key) for key in keys} for found in findings])
    elif not findings:
        from clusterhub.keeper.listing import AS_FAR

        say(f"nothing to remove{AS_FAR if remarks else ''}")
    else:
        _say_findings(findings)
    return FAILURE if any(found.verdict == "failed" for found in findings) else 0


def _say_findings(findings: Sequence[object]) -> None:
    from clusterhub.display.table import Column, Table
    from clusterhub.keeper import Finding

    rows = []
    for found in findings:
        assert isinstance(found, Finding)
        ended = f"; ended: {', '.join(found.ended)}" if found.ended else ""
        rows.append([found.name, found.verdict, f"{found.reason}{ended}"])
    say_table(Table([Column("NAME"), Column("WHAT"), Column("WHY")], rows))
