"""The places of docs/examples' analyses, each brought up for a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from live.places import Place


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever takes a place is run in all of them, unless it says in which."""
    marked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "place" in metafunc.fixturenames and "place" not in marked:
        from live.places import PLACES

        metafunc.parametrize("place", PLACES, ids=lambda kind: kind.name, indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One that is up; skipped loudly where it cannot be had, and failing where CLUSTERHUB_LIVE names it."""
    kind: type[Place] = request.param
    named = kind.name in os.environ.get("CLUSTERHUB_LIVE", "").split(",")
    why = kind.missing()
    if why is None and kind.takes_minutes_to_build and not named:
        why = f"CLUSTERHUB_LIVE does not name {kind.name}"
    if why is not None:
        assert not named, f"CLUSTERHUB_LIVE names {kind.name}, and {why}"
        pytest.skip(f"{why}: that analyses end the same on {kind.name} was NOT tested")
    with kind.standing(tmp_path_factory.mktemp(kind.name)) as standing:
        yield standing
