"""Every analysis of docs/examples ends with the same result when workers die under it, and when their walltimes end."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from live.analyses import ANALYSES, ORBITS, Analysis
from live.places import Pbs, Place, Slurm

pytestmark = pytest.mark.timeout(1200)

BEGUN = 4
"""Tasks that are computed when workers are killed."""
ATTEMPTS = 3
"""The shortest lasts for seconds, and a machine that is busy with others may miss them."""


@cache
def expected(analysis: Analysis, arguments: tuple[str, ...]) -> str:
    """Its digest with the cluster that Dask makes for itself, where nobody dies."""
    return analysis.without_us(arguments)


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.name)
def test_half_of_the_workers_are_killed_in_its_midst(place: Place, analysis: Analysis) -> None:
    with place.cluster("survivor") as name:
        in_time = (_half_are_killed(place, name, analysis) for _ in range(ATTEMPTS))
        assert any(in_time), "each time it was over before anybody was killed: make it longer"


def _half_are_killed(place: Place, name: str, analysis: Analysis) -> bool:
    """Whether they were while it ran."""
    before = place.connected(name)
    doomed = before[: len(before) // 2]
    assert doomed
    with place.awaiting(name, BEGUN) as begun:
        running = analysis.started_on(place, name, analysis.longer)
        begun()
    place.kill(name, doomed)
    in_time = not running.is_over
    assert running.digest() == expected(analysis, analysis.longer)
    place.until_replaced(name, doomed)
    return in_time


@pytest.mark.parametrize(
    "place", [pytest.param(kind, id=kind.name) for kind in (Pbs, Slurm)], indirect=True, scope="module"
)
def test_its_jobs_walltimes_end_in_its_midst(place: Any) -> None:
    with place.cluster("survivor", "--set", f"job.walltime={place.shortest_walltime}") as name:
        first = {unit["name"] for unit in place.connected(name)}
        running = ORBITS.started_on(place, name, ORBITS.longest)
        assert running.digest() == expected(ORBITS, ORBITS.longest)
        last = {unit["name"] for unit in place.connected(name)}
        assert last, "its last jobs ended, and none came after them"
        assert not first & last, "it was over before the first walltimes were: make it longer"
