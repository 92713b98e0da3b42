"""The panel of a cluster in a notebook: its report, and below it what changes the number of workers. It needs ipywidgets."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from clusterhub.spec import LARGEST_COUNT

from .html import COLOURS, page
from .waiting import in_notebook

if TYPE_CHECKING:
    from clusterhub.spec import Workers

    from .report import Report


def possible() -> bool:
    """Whether a notebook's kernel runs this code, and has the widgets; a report as HTML needs none."""
    return in_notebook() and find_spec("ipywidgets") is not None


class Panel:
    """What it shows may be set from any thread; ``scale`` and ``adapt`` are called on the kernel's, and must not block it."""

    def __init__(self, scale: Callable[[int], None], adapt: Callable[[int, int], None]) -> None:
        from ipywidgets import HTML, Button, HBox, Layout, VBox

        self._scale, self._adapt = scale, adapt
        self._target: Workers | None = None
        self._page = HTML(layout=Layout(margin="0"))
        self._page.add_class("jp-RenderedHTMLCommon")  # JupyterLab then draws links and tables as in any other output
        self._said = HTML(layout=Layout(margin="0"))
        self._number = _count("workers", 56)
        self._low, self._high = _count("between", 60), _count("and", 32)
        scaling = Button(
            description="Scale", tooltip="have this many workers, and replace lost ones", layout=Layout(width="72px")
        )
        adapting = Button(
            description="Adapt", tooltip="let the number of workers follow the load", layout=Layout(width="72px")
        )
        scaling.on_click(self._scale_clicked)
        adapting.on_click(self._adapt_clicked)
        gap = Layout(margin="0 24px 0 0")
        controls = HBox(
            [
                HBox([self._number, scaling], layout=gap),
                HBox([self._low, self._high, adapting]),
            ],
            layout=Layout(flex_flow="row wrap", margin="4px 0 0 0"),
        )
        self.widget = VBox([self._page, controls, self._said])
        self.widget.add_class("clusterhub-panel")

    def show(self, report: Report) -> None:
        """This is known now. The fields follow the target when that changes, and are otherwise left to who types in them."""
        self._page.value = page(report)
        if report.target != self._target:
            self._target = report.target
            self._number.value = report.target.minimum
            self._low.value = report.target.minimum if report.target.adapts else 0
            self._high.value = report.target.maximum

    def say(self, text: str) -> None:
        """Say what became of an order; an empty text takes back what was said."""
        self._said.value = f'<pre style="margin:4px 0;color:{COLOURS["red"]}">{escape(text)}</pre>' if text else ""

    def end(self, text: str) -> None:
        """Show nothing new from now on, take no orders, and say why."""
        self._said.value = f"<div>{escape(text)}</div>"
        self._page.value = f'<div style="opacity:.6">{self._page.value}</div>'
        self.widget.children = (self._page, self._said)

    def bundle(self) -> dict[str, Any]:
        """What a notebook draws it from; beside it HTML and text belong into the output, for whoever has no widgets."""
        made: dict[str, Any] = self.widget._repr_mimebundle_()
        return {kind: content for kind, content in made.items() if "widget-view" in kind}

    def _scale_clicked(self, button: object) -> None:
        self._scale(self._number.value)

    def _adapt_clicked(self, button: object) -> None:
        self._adapt(self._low.value, self._high.value)


def _count(description: str, pixels: int) -> Any:
    from ipywidgets import BoundedIntText, Layout

    field = BoundedIntText(min=0, max=LARGEST_COUNT, description=description, layout=Layout(width=f"{pixels + 84}px"))
    field.style.description_width = f"{pixels}px"
    return field
