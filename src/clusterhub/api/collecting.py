"""Removes what dead clusters left: those that are written down in this home, and orphans in the systems that clusters live in."""

from __future__ import annotations

from functools import partial

from clusterhub import keeper
from clusterhub.api import elsewhere
from clusterhub.backend import SupportsCollection
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.collecting import Finding
from clusterhub.keeper.discovery import Found, under_way


def collect(*, dry_run: bool = False) -> tuple[list[Finding], tuple[str, ...]]:
    """Remove every cluster that is proven dead; what was found, and a sentence for each system that could not be asked.

    Living ones are not mentioned, and neither are clusters elsewhere of which it is not proven that nobody needs them.
    """
    seen = elsewhere.systems().look()
    orphans = [finding for found in seen.found if (finding := _judged(found, dry_run)) is not None]
    return [*keeper.collect(dry_run=dry_run), *orphans], seen.remarks


def _judged(found: Found, dry_run: bool) -> Finding | None:
    proof, backend = found.sighting.orphaned, found.system.backend
    if not proof or not isinstance(backend, SupportsCollection):
        return None
    reason = f"on {found.where}: {proof}"
    if dry_run:
        return Finding(found.name, "would be removed", reason)
    try:
        was = under_way(partial(backend.end_orphan, found.sighting.ref, found.system.options)).result()
    except ClusterhubError as error:
        return Finding(found.name, "failed", f"{reason}; what it left cannot be removed: {error}")
    return Finding(found.name, "removed", reason) if was else None  # somebody has taken it over, or ended it, meanwhile
