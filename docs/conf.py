"""Settings of Sphinx, which nobody needs to read the documents: they are plain reStructuredText."""

import re

project = "gossiplog"
author = "the gossiplog contributors"
exclude_patterns = ["_build"]
html_theme = "basic"


def _link_pages(app, docname, source):
    """Between plain files, links name ``.rst`` files; between pages they name ``.html`` files."""
    source[0] = re.sub(r"(<[\w./-]+)\.rst((?:#[\w-]+)?>`_)", r"\1.html\2", source[0])


def setup(app):
    app.connect("source-read", _link_pages)
