"""``demo``: a real analysis on real data, to see a profile work before one's own work depends on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import debug_option, json_option, override_options, overrides, profile_argument
from .outcome import Mistake
from .output import say, say_json, tell_line

if TYPE_CHECKING:
    from clusterhub.demo import ClimateResult

PICTURE = "clusterhub-demo.png"

Progress = Callable[[int, int], None]


@click.command(short_help="A real analysis on real data: progress, result, picture.")
@profile_argument(required=False)
@override_options
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help=f"Where the picture goes, by default ./{PICTURE}. Another file that exists is not replaced.",
)
@json_option
@debug_option
def demo(profile: str | None, sets: tuple[str, ...], workers: Any, output: Path | None, as_json: bool) -> None:
    """Compute how North America warms, on profile P or your default one: progress, result, picture."""
    destination = _destination(output)
    _require_packages()
    given = overrides(sets, workers)
    result, name = _computed(profile, given)
    from clusterhub.demo import draw

    draw(result, destination)
    if as_json:
        from dataclasses import asdict

        say_json({"figures": asdict(result.figures), "picture": str(destination)})
        return
    say(str(result))
    say(f"picture  {destination}")
    say(f"next     clusterhub run {name} SCRIPT.py   runs your own script there: its Client() finds the workers")


def _destination(output: Path | None) -> Path:
    """Where the picture goes. Raises Mistake where it cannot, or would replace what is not the demo's own."""
    from clusterhub.demo import check_destination
    from clusterhub.errors import ClusterhubError

    path = Path(PICTURE) if output is None else output
    if output is not None and path.exists() and path.name != PICTURE:
        raise Mistake(f"{path} exists, and is not replaced; name another file, or move it away")
    try:
        check_destination(path.absolute())
    except ClusterhubError as error:
        raise Mistake(f"{error}" + ("" if output else "; name another place with --output")) from None
    return path


def _require_packages() -> None:
    from clusterhub.demo import missing_packages

    if missing := missing_packages():
        raise Mistake(f'the demo needs {", ".join(missing)}, not installed here: pip install "clusterhub[demo]"')


def _computed(profile: str | None, given: dict[str, Any]) -> tuple[ClimateResult, str]:
    """The result, and the name of the profile it was computed on. The cluster is closed again."""
    from clusterhub.api import connect
    from clusterhub.demo import compute

    with connect(profile, **given) as cluster:
        report = cluster.report()
        if report.target.minimum > 0:
            cluster.wait(1)
        client = cluster.get_client()
        try:
            with progress() as show:
                return compute(client, on_progress=show), report.profile
        finally:
            client.close()


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows parts done on stderr: a bar on a terminal, else a line for each quarter."""
    from clusterhub.display.table import has_colour
    from clusterhub.display.words import carries

    # A bar without colours is still a bar, but a terminal that cannot move its cursor has none.
    if has_colour(sys.stderr) and carries("━╸", sys.stderr):
        with _bar() as show:
            yield show
    else:
        yield quarters()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Drawn
    from rich.theme import Theme

    console = Console(file=sys.stderr, theme=Theme({"progress.elapsed": ""}), highlight=False)
    columns = (BarColumn(30, complete_style="green", finished_style="green"), TextColumn("{task.description}"))
    with Drawn(TextColumn(" "), *columns, TimeElapsedColumn(), console=console) as drawn:
        task = drawn.add_task("starts", total=None)

        def show(done: int, total: int) -> None:
            drawn.update(task, completed=done, total=total, description=f"{done} of {total} parts")

        yield show


def quarters() -> Progress:
    """Tells the first call, and every further quarter once."""
    told = -1

    def show(done: int, total: int) -> None:
        nonlocal told
        quarter = 4 * done // total if total else 4
        if quarter > told:
            told = quarter
            tell_line(f"{done} of {total} parts computed")

    return show
