"""The directive ``{generated}``: a table of the reference, in the place where a page asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import causes
import sentences
import tables
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TABLES: Mapping[str, Callable[..., str]] = {
    "keys": tables.spec_keys,
    "options": tables.option_keys,
    "features": tables.feature_matrix,
    "abilities": tables.ability_matrix,
    "job-causes": causes.job_causes,
    "pod-troubles": sentences.pod_troubles,
    "waiting": causes.waiting,
    "rejections": causes.rejections,
}


class Generated(SphinxDirective):
    """Name of the table, and what it is of."""

    required_arguments = 1
    optional_arguments = 1
    has_content = False
    option_spec: ClassVar[Any] = {}

    def run(self) -> Sequence[nodes.Node]:
        """The table's Markdown, parsed as a part of the page."""
        name, *of = self.arguments
        if name not in TABLES:
            raise self.error(f"there is no table {name}; there are {', '.join(TABLES)}")
        return self.parse_text_to_nodes(TABLES[name](*of), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """As Sphinx asks extensions."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
