"""``init`` and ``schema``: what helps to write the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import debug_option
from .output import say, say_json, say_table

if TYPE_CHECKING:
    from clusterhub.errors import Problem
    from clusterhub.profile import Converted, Converting


@click.command(short_help="Write a commented config to start from.")
@click.option(
    "--from-jobqueue",
    "jobqueue",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    help="Convert the dask-jobqueue config that you have (or its section NAME).",
)
@click.option(
    "--backend", metavar="BACKEND", help="With --from-jobqueue: the backend for a section that tells no batch system."
)
@debug_option
def init(jobqueue: str | None, backend: str | None) -> None:
    """Write a commented config to start from. Never overwrites one."""
    if jobqueue is None and backend is not None:
        raise click.UsageError("--backend goes with --from-jobqueue")
    from clusterhub.profile import write_starter
    from clusterhub.profile.sources import shown_path

    if jobqueue is None:
        say(f"written  {shown_path(write_starter())}")
        say("next     change it to your liking, then: clusterhub profiles")
        return
    from clusterhub.profile import convert_jobqueue

    found = convert_jobqueue(jobqueue or None, backend)
    say(f"written  {shown_path(write_starter(converted=found.profiles))}")
    _say_converted(found)
    first = found.profiles[0].name
    say(f"next     clusterhub show {first}, clusterhub plan {first}, clusterhub check {first} --start")


def _say_converted(found: Converting) -> None:
    for converted in found.profiles:
        told = converted.conversion
        because = f": {converted.because}" if converted.because else ""
        say(
            f"\nprofile {converted.name}, from jobqueue.{converted.name} ({told.source}), backend {converted.backend}{because}"
        )
        _say_values(converted)
        _say_problems("left out, since it cannot be had here:", told.lost)
        _say_problems("not needed:", told.unused)
    for name, reason in found.skipped.items():
        say(f"\njobqueue.{name} is left alone: {reason}")
    say("")


def _say_values(converted: Converted) -> None:
    from clusterhub.display.table import Column, Table

    rows = [[path, text, note] for path, text, note in converted.values()]
    say_table(Table([Column()] * 3, rows, indent=2))


def _say_problems(head: str, problems: Sequence[Problem]) -> None:
    from clusterhub.display.table import Column, Table

    if problems:
        say(f"  {head}")
        rows = [[problem.path.split(".", 2)[-1], problem.written or "", problem.message] for problem in problems]
        say_table(Table([Column()] * 3, rows, indent=4))


@click.command(short_help="Print the JSON Schema of the config, for editors.")
@debug_option
def schema() -> None:
    """Print the JSON Schema of the config, installed backends included, for editors."""
    from clusterhub.profile import schema as schema_of_config

    say_json(schema_of_config())
