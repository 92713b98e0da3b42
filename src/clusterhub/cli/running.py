"""``run``: an unmodified program whose bare ``Client()`` lands on a cluster that lives as long as the program."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from clusterhub.errors import ClusterGone, ClusterhubError

from .names import complete_name
from .options import debug_option, override_options, overrides, profile_argument
from .outcome import Mistake
from .output import tell_line
from .signals import Signals

if TYPE_CHECKING:
    from clusterhub.cluster import Cluster


ON = "--on"
SLOW = 10.0
"""Seconds after which whoever waits for the end of a cluster is told that it takes long."""


class Run(click.Command):
    """Reads its own options before and after P, and nothing from the command's first word on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, rest = split(args, self._takes_value(ctx), ON)
        if _says_where(ours):
            rest = ["", *rest]  # in the place of P
        return super().parse_args(ctx, [*ours, "--", *rest] if rest else ours)

    def _takes_value(self, ctx: click.Context) -> Mapping[str, bool]:
        return {
            name: not option.is_flag
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
        }


def _says_where(ours: list[str]) -> bool:
    """Whether ``--on NAME`` is among our options, so that there is no P."""
    return any(word.startswith(f"{ON}=") for word in ours) or ON in ours[:-1]


def split(args: list[str], takes_value: Mapping[str, bool], on: str = "") -> tuple[list[str], list[str]]:
    """Our options, and P with the command. ``--`` ends our options; so does the first word after P, or after ``on``."""
    ours: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(args):
        word = args[position]
        if word == "--":
            # Before P it says that P begins with a dash; after it, that the command does.
            return ours, [*rest, *args[position + 1 :]]
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if len(rest) == 2 or (on and _says_where(ours)):  # P and the first word of the command
                return ours, [*rest, *args[position + 1 :]]
            position += 1
            continue
        if rest and on and word.partition("=")[0] == on:
            raise click.UsageError(f"{on} takes the place of P; say: clusterhub run {on} NAME CMD")
        step = 2 if takes_value.get(word) else 1
        ours += args[position : position + step]
        position += step
    return ours, rest


@click.command(cls=Run, short_help="Run a script or command on a cluster that lives as long.")
@profile_argument()
@click.argument("words", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(ON, metavar="NAME", shell_complete=complete_name, help="Run on the living cluster NAME; without P.")
@override_options
@debug_option
def run(profile: str, words: tuple[str, ...], on: str | None, sets: tuple[str, ...], workers: Any) -> int:
    """Run a script or command with its Client() on a cluster of profile P.

    CMD is a program with its arguments, or a script: `clusterhub run hal analysis.py --year 2020` runs it with this
    Python. The program stays as it is: Client() without an address finds the cluster. It starts when the first worker
    is there (at once where P asks for a minimum of 0), its exit code is passed on, and the cluster ends with it.

    Options go before or after P; everything from the first word of CMD on belongs to CMD. `--` before CMD allows it to
    begin with a dash. `clusterhub run --on NAME CMD...` runs it on a cluster that lives, and leaves that running.
    """
    from .child import argv_of

    argv = argv_of(words)  # a slip in it is told before anything is started
    if on is not None and (sets or workers is not None):
        raise Mistake(
            f"{on} is as it is; --set and --workers are for a new cluster (clusterhub scale {on} 20 scales it)"
        )
    given = overrides(sets, workers)
    code: int | None = None
    with Signals() as signals, SlowEnd() as slow:
        try:
            with _opened(profile, on, given) as cluster:
                try:
                    code = _run_on(cluster, on or cluster.name, argv, signals)
                finally:
                    if on is None:
                        slow.begins(cluster.name)
        except ClusterhubError as error:
            if code is None:
                raise
            # The command has ended, and how it did is what the caller asked about.
            tell_line(f"✘ the cluster did not close as it should: {error}")
    return code


def _opened(profile: str, on: str | None, given: dict[str, Any]) -> Cluster:
    """A cluster for the command alone, or the living one, which the end of the command does not end."""
    if on is not None:
        from clusterhub.api import attach

        return attach(on, hold=True)
    from clusterhub.api import connect

    return connect(profile, **given)


def _run_on(cluster: Cluster, name: str, argv: list[str], signals: Signals) -> int:
    from .child import address_variables, run_child

    if cluster.scheduler_address.startswith("inproc"):
        raise Mistake(
            f"{cluster.name} lives inside this process ({cluster.scheduler_address}), where no other program can reach"
            " it; let its workers be processes, as with --set local.processes=true"
        )
    if cluster.report().target.minimum > 0:
        cluster.wait(1)
    with address_variables(name, cluster.scheduler_address, cluster.security) as variables:
        return run_child(argv, variables, signals, Watch(cluster))


class SlowEnd:
    """Tells once that a cluster takes long to end: a queue that does not answer is asked again for minutes."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def begins(self, name: str) -> None:
        """From now on the cluster of that name is being ended; until the end of the ``with``."""
        text = f"ending {name} takes longer than usual: its system may not answer; interrupt twice to leave that undone"
        self._timer = threading.Timer(SLOW, tell_line, [text])
        self._timer.daemon = True
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Watch:
    """Looks at the cluster while the command runs, and tells once when it will get no more workers.

    The command itself would only wait: a Dask client whose workers cannot come hears nothing of it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told = False

    def __call__(self) -> None:
        if self._told:
            return
        try:
            report = self._cluster.report()
            bad_news = report.failure_text
        except ClusterGone as gone:
            bad_news = str(gone)
        if bad_news:
            self._told = True
            tell_line(f"✘ {bad_news}")
