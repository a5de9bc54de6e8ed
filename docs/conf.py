"""How Sphinx builds the documentation: `make docs`, then open docs/_build/index.html."""

import sys
from pathlib import Path

import fadae

sys.path.insert(0, str(Path(__file__).parent))

project = "fadae"
author = "The fadae developers"
copyright = "2026, the fadae developers"
version = release = fadae.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "notebooks",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"fadae {release}"
html_show_sphinx = False
