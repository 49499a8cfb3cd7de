"""The tests of gossiplog; CONTRIBUTING.rst says how they are laid out and run.

A warning that points at our own code, package or tests, is an error of the test that caused it.
"""

import re
import warnings
from pathlib import Path

import gossiplog

for _directory in (Path(gossiplog.__file__).parent, Path(__file__).parent):
    # While importing, the module is known by name; what trial repeats after a test is known by path.
    warnings.filterwarnings("error", module=rf"{_directory.name}(\.|$)|{re.escape(str(_directory))}[/\\]")
