from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import clusterhub.demo as room
from clusterhub.cli.demo import quarters

Hub = Callable[..., Result]


class Outcome:
    """What the demo's room found out, without computing anything."""

    @property
    def figures(self) -> Any:
        from dataclasses import make_dataclass

        return make_dataclass("Figures", ["difference"])(2.9)

    def __str__(self) -> str:
        return "warming of North America"


@pytest.fixture
def climate(api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Replaces the computation and the drawing; returns the pictures drawn."""
    drawn: list[Path] = []

    def compute(client: Any, *, on_progress: Callable[[int, int], None]) -> Outcome:
        for done in range(52):
            on_progress(done, 51)
        return Outcome()

    monkeypatch.setattr(room, "compute", compute)
    monkeypatch.setattr(room, "draw", lambda result, path: drawn.append(path))
    monkeypatch.setattr(room, "missing_packages", lambda: [])
    monkeypatch.chdir(tmp_path)
    return drawn


def test_the_demo_shows_figures_the_picture_and_the_next_step(hub: Hub, api: Any, climate: list[Path]) -> None:
    result = hub("demo")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "warming of North America",
        "picture  clusterhub-demo.png",
        "next     clusterhub run hal SCRIPT.py   runs your own script there: its Client() finds the workers",
    ]
    assert result.stderr.splitlines() == [f"{done} of 51 parts computed" for done in (0, 13, 26, 39, 51)]
    assert climate == [Path("clusterhub-demo.png")]
    assert api.asked == [(None, {})]
    assert api.cluster.closed


def test_the_demo_for_programs(hub: Hub, climate: list[Path]) -> None:
    data = json.loads(hub("demo", "hal", "--json").stdout)
    assert data == {"figures": {"difference": 2.9}, "picture": "clusterhub-demo.png"}


def test_its_own_picture_is_replaced_and_no_other_file(hub: Hub, api: Any, climate: list[Path]) -> None:
    Path("clusterhub-demo.png").write_text("older")
    assert hub("demo").exit_code == 0
    Path("thesis.png").write_text("years of work")
    result = hub("demo", "--output", "thesis.png")
    assert result.exit_code == 2
    assert "exists, and is not replaced" in result.stderr
    assert len(api.asked) == 1


def test_a_place_that_cannot_be_written_is_told_before_the_work(hub: Hub, api: Any, climate: list[Path]) -> None:
    result = hub("demo", "--output", "nowhere/x.png")
    assert (result.exit_code, api.asked) == (2, [])
    assert "there is no directory" in result.stderr


def test_missing_packages_come_with_the_line_that_installs_them(
    hub: Hub, api: Any, climate: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "missing_packages", lambda: ["matplotlib", "netcdf4"])
    result = hub("demo")
    assert (result.exit_code, api.asked) == (2, [])
    assert result.stderr.startswith("✘ the demo needs matplotlib, netcdf4, not installed here: pip install")


def test_progress_without_a_terminal_is_five_lines_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    show = quarters()
    for done in (0, 0, 0, 30, 51, 51):
        show(done, 51)
    assert capsys.readouterr().err.splitlines() == [f"{done} of 51 parts computed" for done in (0, 30, 51)]
