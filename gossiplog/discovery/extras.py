"""Packages that only some ways of finding peers need.

Responsible for: saying what to install when one is asked for that is not there.
Must not know: what a package is used for.
Invariant: whoever asks for nothing optional imports nothing optional.
"""

from __future__ import annotations

from importlib.util import find_spec

from gossiplog.errors import MissingExtraError


def require(package: str, extra: str, what: str) -> None:
    """Raise :class:`MissingExtraError` unless ``package`` can be imported, which ``what`` needs."""
    if find_spec(package) is None:
        raise MissingExtraError(f"{what} needs {package}: pip install 'gossiplog[{extra}]'")
