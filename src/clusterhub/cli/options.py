"""What several commands take: a profile, values for it, and the form of the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from clusterhub.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

NOT_OF_A_PROFILE = frozenset({"profile", "name", "keep", "start", "patience", "on_step", "on_news"})
"""Parameters of the functions that overrides are handed to: as keys of ``--set`` they would change their meaning."""


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().command.debug = True  # type: ignore[attr-defined] # the root is a Hub


def debug_option(function: F) -> F:
    """``--debug``, before or after the command's name."""
    option = click.option(
        "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_debug, help="Show tracebacks of errors."
    )
    return option(function)


def json_option(function: F) -> F:
    """``--json``, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def complete_profile(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The profiles that begin so. Nothing where the config is broken: a shell is no place to say why."""
    try:
        from clusterhub.profile import profiles

        fitting = [info for info in profiles() if info.name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - whatever is wrong, completion has nothing to offer, and `show` will tell
        return []
    return [CompletionItem(info.name, help=info.description or "") for info in fitting]


def profile_argument(*, required: bool = True) -> Callable[[F], F]:
    """The argument P."""
    metavar = "P" if required else "[P]"
    return click.argument("profile", metavar=metavar, required=required, shell_complete=complete_profile)


class Count(click.ParamType):  # type: ignore[type-arg] # not generic before click 8.4
    """``20``, or a range as ``0..200``."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | dict[str, int]:
        """What ``workers`` takes; whether it can be meant is for the spec to say."""
        match = re.fullmatch(r"(-?\d+)(?:\.\.(\d+))?", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no number of workers; write 20, or a range as 0..200", param, ctx)
        low, high = match.groups()
        return int(low) if high is None else {"minimum": int(low), "maximum": int(high)}


class Patience(click.ParamType):  # type: ignore[type-arg] # not generic before click 8.4
    """``30m``, as seconds."""

    name = "T"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, from what a profile would call a duration."""
        from clusterhub.quantities import Duration

        try:
            return float(Duration.parse(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


def override_options(function: F) -> F:
    """``--set`` and ``--workers``, as the arguments ``sets`` and ``workers``; see ``overrides``."""
    sets = click.option(
        "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a value, as worker.memory=8GiB. Repeatable."
    )
    workers = click.option("--workers", type=Count(), help="How many workers: 20, or a range as 0..200.")
    return sets(workers(function))


def overrides(sets: Sequence[str], workers: int | dict[str, int] | None) -> dict[str, Any]:
    """What ``--set`` and ``--workers`` say, as the overrides of a call. Raises ConfigError for what cannot be meant."""
    from clusterhub.profile import parse_set

    given = dict(parse_set(sets)) if sets else {}
    if strange := sorted(NOT_OF_A_PROFILE & given.keys()):
        raise ConfigError.of("unknown key; --set takes the keys of a profile", origin="--set", path=strange[0])
    if workers is not None:
        if "workers" in given:
            raise ConfigError.of("given twice, by --set and by --workers; leave one out", origin="call", path="workers")
        given["workers"] = workers
    return given
