"""The panel of a notebook, without a notebook: what it draws and what is clicked in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clusterhub.backend import UnitState
from clusterhub.display import Report
from clusterhub.display import panel as panels
from clusterhub.display.panel import Panel
from clusterhub.spec import Workers

from .conftest import NEEDS, bad, connected, pending

pytest.importorskip("ipywidgets")

Make = Callable[..., Report]


class Clicked:
    """A panel, the orders that it gave, and its controls by what is written on them."""

    def __init__(self) -> None:
        self.orders: list[tuple[Any, ...]] = []
        self.panel = Panel(lambda n: self.orders.append(("scale", n)), lambda *bounds: self.orders.append(bounds))

    def __getitem__(self, description: str) -> Any:
        return next(found for found in self._all(self.panel.widget) if getattr(found, "description", "") == description)

    def _all(self, widget: Any) -> Iterator[Any]:
        yield widget
        for child in getattr(widget, "children", ()):
            yield from self._all(child)

    @property
    def text(self) -> str:
        """All that is written in it beside its controls."""
        return "".join(found.value for found in self._all(self.panel.widget) if type(found).__name__ == "HTML")


@pytest.fixture
def clicked() -> Clicked:
    return Clicked()


def test_it_shows_every_job_with_its_state_and_reason(clicked: Clicked, report: Make) -> None:
    clicked.panel.show(report(connected(0), pending(1), bad(2, UnitState.LOST, "its node is gone")))
    for words in ("eddies on hal (pbs)", "6 of 24 workers connected", NEEDS, "lost", "its node is gone", "8787/status"):
        assert words in clicked.text


def test_what_the_fields_say_is_ordered(clicked: Clicked, report: Make) -> None:
    clicked.panel.show(report())
    clicked["workers"].value = 7
    clicked["Scale"].click()
    clicked["between"].value, clicked["and"].value = 2, 9
    clicked["Adapt"].click()
    assert clicked.orders == [("scale", 7), (2, 9)]


def test_the_fields_follow_the_target_and_not_who_is_typing(clicked: Clicked, report: Make) -> None:
    clicked.panel.show(report())
    assert [clicked[field].value for field in ("workers", "between", "and")] == [24, 0, 24]
    clicked["workers"].value = 30
    clicked.panel.show(report(connected(0)))
    assert clicked["workers"].value == 30
    clicked.panel.show(report(target=Workers(minimum=1, maximum=5)))
    assert [clicked[field].value for field in ("workers", "between", "and")] == [1, 1, 5]


def test_what_was_refused_is_said_until_an_order_is_taken(clicked: Clicked, report: Make) -> None:
    clicked.panel.show(report())
    clicked.panel.say("n = 400 is over the limit of <200>")
    assert "over the limit of &lt;200&gt;" in clicked.text
    clicked.panel.say("")
    assert "over the limit" not in clicked.text


def test_after_the_end_it_says_why_and_takes_no_orders(clicked: Clicked, report: Make) -> None:
    clicked.panel.show(report(connected(0)))
    clicked.panel.end("closed")
    assert "closed" in clicked.text
    assert "6 of 24 workers connected" in clicked.text
    with pytest.raises(StopIteration):
        clicked["Scale"]


def test_a_notebook_is_given_the_widget_alone_so_that_others_show_html(clicked: Clicked) -> None:
    assert list(clicked.panel.bundle()) == ["application/vnd.jupyter.widget-view+json"]


def test_without_ipywidgets_or_a_notebook_there_is_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not panels.possible()
    monkeypatch.setattr(panels, "in_notebook", lambda: True)
    assert panels.possible()
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert not panels.possible()
