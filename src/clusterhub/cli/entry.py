"""The root of the command line: which commands there are, and how each of them ends."""

from __future__ import annotations

import difflib
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from . import outcome
from .options import debug_option

# In the order of a first day: try it, see what is there, use it, write your own.
COMMANDS = {
    "demo": "demo",
    "profiles": "listing",
    "show": "showing",
    "plan": "showing",
    "check": "doctor",
    "run": "running",
    "up": "starting",
    "ls": "living",
    "status": "living",
    "scale": "living",
    "logs": "logs",
    "down": "ending",
    "gc": "ending",
    "report": "ticket",
    "init": "files",
    "schema": "files",
    "backends": "listing",
}
"""Each command and the module of this package that holds it."""


class Hub(click.Group):
    """A group whose commands are imported when they are called, and whose every end is an exit code and one message."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__package__}.{COMMANDS[cmd_name]}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no such command: {args[0]}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command. Exits, or returns the exit code where ``standalone_mode`` is off; raises nothing else."""
        self.debug = outcome.debug_by_environment()
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
            code = result if isinstance(result, int) else 0
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the end of the line: all become a message
            code = outcome.tell(error, debug=self.debug)
        if standalone_mode:
            sys.exit(code)
        return code


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"clusterhub {version('clusterhub')}")
        ctx.exit()


@click.group(cls=Hub, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@debug_option
def clusterhub() -> None:
    """Name a place, get Dask workers there, keep them, and be told the truth about them.

    P is a profile, as `clusterhub profiles` lists them, or the name of a backend.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run ``clusterhub`` with ``args`` (by default the process's own) and return its exit code.

    0: done. 1: a failure. 2: a mistake of the user's, told in one message. 130: interrupted. ``run`` passes on the exit
    code of its command.
    """
    gc.set_threshold(50_000)  # a short life: collecting amid the imports costs a tenth of it, and finds nothing
    code: int = clusterhub.main(args, prog_name="clusterhub", standalone_mode=False)
    return code
