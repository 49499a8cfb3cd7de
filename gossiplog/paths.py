"""Paths, as a program gives them or a person types them, before anything is done with them.

Responsible for: :func:`absolute`, :func:`typed`, and telling paths from streams.
Must not know: what is or will be there.
Invariant: what :func:`absolute` returns can be given to every call of the system, and names the same place wherever the
program goes afterwards.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from gossiplog.arguments import wrong
from gossiplog.errors import InvalidValueError

AnyPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def absolute(path: AnyPath) -> str:
    """Return a path from the root on, as text in which lone surrogates stand for bytes that are none.

    :raises InvalidValueError: it is no path at all, or it is relative and the current directory is gone.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise InvalidValueError(f"a path is text, bytes or a Path, not {type(path).__name__}") from None
    try:
        os.fsencode(text)
    except UnicodeError:
        raise InvalidValueError(
            f"this path names no file that this system could have: {text!r:.80}"
        ) from None
    if not text or "\0" in text:
        raise InvalidValueError(f"a path is not empty and has no NUL in it: {text!r:.80}")
    try:
        return os.path.abspath(text)
    except OSError as error:
        raise InvalidValueError(
            f"{text}: the current directory is gone ({error.strerror}); change to another one, or name a path from / on"
        ) from None


def check_file(name: str, place: object, *methods: str) -> None:
    """Raise :class:`InvalidValueError` unless an argument is a path, or a stream with these methods."""
    if isinstance(place, str | bytes | os.PathLike):
        absolute(place)
    elif isinstance(place, type) or not all(callable(getattr(place, method, None)) for method in methods):
        raise wrong(name, f"a path, or a binary stream to {methods[0]}", place)


def typed(text: str) -> str:
    """Return the path that somebody typed as an option: ``~`` in front is the home, which a shell does not see in
    ``--store=~/notes``.

    :raises InvalidValueError: there is no such home.
    """
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        name = text.partition("/")[0]
        raise InvalidValueError(f"{name} has no home here; a file of that name is ./{name}")
    return expanded
