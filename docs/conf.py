"""How the site is built: `make docs`, from these pages, the docstrings and the models. It needs no network."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "clusterhub"
author = "the authors of clusterhub"
copyright = f"2026, {author}"
version = release = installed("clusterhub")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_click", "generated", "elsewhere", "slots"]
exclude_patterns = ["_build", "_ext", "_templates", "**/.ipynb_checkpoints", "**/README.md"]
nitpicky = True
nitpick_ignore_regex = [  # other projects' words, which no page here explains, and forms that are nobody's name
    (r"py:(class|obj)", r"(collections|datetime|types|typing|pydantic|annotated_types|distributed)\..*"),
    ("py:class", r"Security|Scheduler|Client|.*\.O|.*\.Annotated|(tuple|dict)\[.*"),
    (
        "py:class",
        r"(.*\.)?(Opening|Adapting|Display|Said|TlsFiles|Leaf|Caretaker|Group|Table|ProfileInfo)",
    ),  # of the inside
]

# Pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
nb_execution_mode = "force"  # what a notebook shows is what it did just now
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True
highlight_language = "none"

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "clusterhub"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "clusterhub"},
    "navbar_center": [],
    "navbar_persistent": [],
    "navbar_end": ["search-button", "theme-switcher"],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"**": ["all-pages"]}
