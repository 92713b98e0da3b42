"""``init`` and ``schema``: what helps to write the config."""

from __future__ import annotations

import click

from .options import debug_option
from .outcome import Mistake
from .output import say, say_json


@click.command(short_help="Write a commented config to start from.")
@click.option(
    "--from-jobqueue",
    "jobqueue",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    help="Convert the dask-jobqueue config that you have (or its section NAME).",
)
@debug_option
def init(jobqueue: str | None) -> None:
    """Write a commented config to start from. Never overwrites one."""
    if jobqueue is not None:
        raise Mistake("--from-jobqueue comes with the batch backends (pbs, slurm), which are not there yet")
    from clusterhub.profile import write_starter

    written = write_starter()
    say(f"written  {written}")
    say("next     change it to your liking, then: clusterhub profiles")


@click.command(short_help="Print the JSON Schema of the config, for editors.")
@debug_option
def schema() -> None:
    """Print the JSON Schema of the config, installed backends included, for editors."""
    from clusterhub.profile import schema as schema_of_config

    say_json(schema_of_config())
