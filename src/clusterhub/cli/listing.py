"""``profiles`` and ``backends``: what there is to choose from, and whether it can work here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clusterhub.errors import BackendUnavailable, ConfigError

from .options import debug_option, json_option
from .outcome import tell
from .output import say, say_json, say_table

if TYPE_CHECKING:
    from clusterhub.registry import Candidate

READY = "ready"


@click.command(short_help="List the profiles, and whether each can work here.")
@json_option
@debug_option
def profiles(as_json: bool) -> int:
    """List the profiles: backend, where each is defined, whether it can work here.

    What could be read is listed even where a file is broken; the exit code is 2 then, and stderr says what is wrong.
    """
    from clusterhub.profile import profiles as known

    found = known()
    if as_json:
        keys = ("name", "backend", "description", "origin", "is_default", "here")
        say_json([{key: getattr(info, key) for key in keys} for info in found])
    elif not found:
        say("no profiles yet: clusterhub init writes a file to start from, clusterhub backends lists what is there")
    else:
        from clusterhub.display.table import Column, Table

        rows = [["*" if info.is_default else "", info.name, info.backend, info.origin, info.here] for info in found]
        states = [READY if info.here == READY else "not ready" for info in found]
        heads = ("", "NAME", "BACKEND", "FROM", "HERE")
        # The mark has a column of its own, but no gap: its heading would stand apart from all the others.
        joined = [[f"{mark or ' '} {name}", *rest] for mark, name, *rest in rows]
        say_table(Table([Column(f"  {heads[1]}"), *map(Column, heads[2:])], joined, states=states, marked=3))
    if not found.problems:
        return 0
    return tell(ConfigError(found.problems), debug=False)


@click.command(short_help="List the installed backends and what they offer.")
@json_option
@debug_option
def backends(as_json: bool) -> None:
    """List the installed backends, their features, and those that cannot load, with the reason."""
    from clusterhub.registry import candidates

    found = [_described(candidate) for candidate in candidates().values()]
    if as_json:
        say_json(found)
    elif not found:
        say("no backend is installed, not even local: this installation of clusterhub is broken; install it again")
    else:
        from clusterhub.display.table import Column, Table

        rows = [
            [one["name"], ", ".join(one["distributions"]), one["problem"] or READY, ", ".join(one["features"])]
            for one in found
        ]
        states = ["not ready" if one["problem"] else READY for one in found]
        heads = ("NAME", "DISTRIBUTION", "HERE", "FEATURES")
        say_table(Table([Column(head) for head in heads], rows, states=states, marked=2))


def _described(candidate: Candidate) -> dict[str, Any]:
    """What is known of a backend without importing its native library, which takes seconds for some."""
    known: dict[str, Any] = {"name": candidate.name, "distributions": list(candidate.distributions)}
    try:
        backend = candidate.load()
    except BackendUnavailable as error:
        return {**known, "loads": False, "problem": str(error), "features": [], "unit": None, "remote": None}
    return {
        **known,
        "loads": True,
        "problem": backend.unusable(),
        "features": sorted(str(feature) for feature in backend.features),
        "unit": backend.unit_noun,
        "remote": backend.remote,
    }
