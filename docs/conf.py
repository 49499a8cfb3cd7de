"""Settings of Sphinx, which nobody needs to read the documents: they are plain reStructuredText."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "gossiplog"
author = "the gossiplog contributors"
exclude_patterns = ["_build"]
extensions = ["sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "gossiplog"
html_show_copyright = False
pygments_style = "default"
pygments_dark_style = "monokai"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_display_short_literal_types = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 100


def _link_pages(app, docname, source):
    """Between plain files, links name ``.rst`` files; between pages they name ``.html`` files."""
    source[0] = re.sub(r"(<[\w./-]+)\.rst((?:#[\w-]+)?>`_)", r"\1.html\2", source[0])


def setup(app):
    app.connect("source-read", _link_pages)
