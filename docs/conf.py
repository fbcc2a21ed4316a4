"""How Sphinx builds the documentation: `make docs`."""

from typing import Any

from sphinx.application import Sphinx

import dreamgym

project = "dreamgym"
author = "The dreamgym authors"
version = release = dreamgym.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"dreamgym {version}"

autodoc_inherit_docstrings = False  # Gymnasium's own are on its own pages
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "code"  # `single backticks` in our docstrings, as in Markdown
napoleon_numpy_docstring = False
myst_heading_anchors = 3


def headings(
    app: Sphinx, what: str, name: str, object_: Any, options: Any, lines: list[str]
) -> None:
    """Turn Gymnasium's headings in a docstring, such as `## Rewards`, into Sphinx's rubrics."""
    lines[:] = [
        new
        for line in lines
        for new in ((f".. rubric:: {line[3:]}", "") if line.startswith("## ") else (line,))
    ]


def setup(app: Sphinx) -> None:
    """Let headings be turned before napoleon reads the docstring's sections."""
    app.connect("autodoc-process-docstring", headings, priority=400)
