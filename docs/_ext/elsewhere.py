"""Links of the pages that lead out of docs/: on a code host they open a file or folder, here its name is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[2]
MOVED = {"CHANGELOG.md": "changes", "CONTRIBUTING.md": "contributing"}
"""Files of the checkout that are pages of the site under another name."""


def outside(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.Node | None:
    """What becomes of a link that leads to no page: nothing, unless it names what is in the checkout."""
    target = str(node.get("reftarget", "")).partition("#")[0]
    found = (Path(env.doc2path(node["refdoc"])).parent / target).resolve()
    if node.get("reftype") != "myst" or not found.is_relative_to(ROOT) or not found.exists():
        return None
    if page := MOVED.get(str(found.relative_to(ROOT))):
        uri = app.builder.get_relative_uri(node["refdoc"], page)
        return nodes.reference("", "", text, internal=True, refuri=uri)
    return text


def undownload(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """A link to a file beside the pages is text: the site shows pages, and nobody needs copies of the checkout."""
    for node in list(tree.findall(download_reference)):
        target = (Path(app.env.doc2path(docname)).parent / str(node["reftarget"])).resolve()
        if target.is_relative_to(ROOT) and not target.is_relative_to(ROOT / "docs"):
            node.replace_self(node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """As Sphinx asks extensions."""
    app.connect("missing-reference", outside)
    app.connect("doctree-read", lambda app, tree: undownload(app, tree, app.env.docname))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
