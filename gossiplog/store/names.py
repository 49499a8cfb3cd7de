"""Writer names and the file names they become; names of cursors.

Responsible for: which names a local writer or a cursor may have, and an escaped file name for each writer.
Must not know: files.
Invariant: two names never share a file name, and no file name leaves its directory or begins with a dot.

>>> file_name("notes of Ann")
'notes%20of%20%41nn'
>>> writer_name(file_name("notes of Ann"))
'notes of Ann'
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from gossiplog.errors import InvalidValueError

MAX_NAME_CHARS: Final = 64
MAX_CURSOR_NAME_CHARS: Final = 256
MAX_FILE_NAME_BYTES: Final = 240
"""Common file systems take 255; the rest is for the suffix of a file that is being written."""

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.@+=")
"""Capitals are escaped too: some file systems do not tell them from small letters."""


def check_writer_name(name: str) -> str:
    """Return ``name`` if a writer may be called so, else raise :class:`InvalidValueError`."""
    if type(name) is not str or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InvalidValueError(f"a writer's name is 1 to {MAX_NAME_CHARS} characters, not {name!r:.80}")
    if name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        raise InvalidValueError(
            f"a writer's name has no slash, no control character, no dot in front: {name!r}"
        )
    if len(_escape(name)) > MAX_FILE_NAME_BYTES:
        raise InvalidValueError(f"the writer's name {name!r} is too long for a file name")
    return name


def check_cursor_name(name: str) -> str:
    """Return ``name`` if a cursor may be called so, else raise :class:`InvalidValueError`."""
    if type(name) is not str or not 1 <= len(name) <= MAX_CURSOR_NAME_CHARS:
        raise InvalidValueError(
            f"a cursor's name is 1 to {MAX_CURSOR_NAME_CHARS} characters, not {name!r:.80}"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"a cursor's name is text that UTF-8 can write, not {name!r:.80}") from None
    return name


def file_name(name: str) -> str:
    """Return the file name for the writer ``name``; :class:`InvalidValueError` for a bad one."""
    return _escape(check_writer_name(name))


def writer_name(file: str) -> str | None:
    """Return the writer's name behind a file name, ``None`` if :func:`file_name` makes no such file."""
    name = unquote(file, errors="replace")
    try:
        return name if file_name(name) == file else None
    except InvalidValueError:
        return None


def _escape(name: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in name.encode())
