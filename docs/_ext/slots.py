"""The directive ``{toctree}`` whose patterns may match nothing: a section that nobody has written yet is no mistake.

Sphinx warns of it, under no name that ``suppress_warnings`` could take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.util.matching import patfilter


class SlottedTocTree(TocTree):
    """A toctree without the patterns that no page matches."""

    def run(self) -> Sequence[nodes.Node]:
        """The toctree of what there is."""
        if "glob" in self.options:
            kept = [line for line in self.content if not any(sign in line for sign in "*?[") or self._matches(line)]
            self.content = StringList(kept, source=self.state.document.current_source)
        return super().run()

    def _matches(self, pattern: str) -> bool:
        folder = PurePosixPath(self.env.docname).parent
        return bool(patfilter(self.env.found_docs, str(folder / pattern.strip())))


def setup(app: Sphinx) -> dict[str, Any]:
    """As Sphinx asks extensions."""
    app.add_directive("toctree", SlottedTocTree, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
