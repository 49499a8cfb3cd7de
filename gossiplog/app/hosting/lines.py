"""On which line of a TOML file a key stands, which ``tomllib`` does not tell.

Responsible for: :func:`lines_of`.
Must not know: what the keys mean.
Invariant: only for a text that ``tomllib`` takes; a key is on the line where it begins, or on none that is known.

>>> lines_of('a = 1\\n[network.garden]\\nlisten = [\\n"tcp:1",\\n]\\nb.c = 2\\n')[("network", "garden", "b", "c")]
6
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, TypeAlias

Key: TypeAlias = tuple[str, ...]

_MOST_LINES: Final = 200
"""Of one value, which is parsed again with each of its lines."""


def lines_of(text: str) -> dict[Key, int]:
    """Return the line of each table and key by its path; those in an array of tables have the path of the array."""
    found: dict[Key, int] = {}
    header, begun, at = "", "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if not begun:
            at = number
            if line.lstrip().startswith("["):
                header = line
        begun += f"{line}\n"
        try:
            said = tomllib.loads(begun if begun == f"{header}\n" else f"{header}\n{begun}")
        except tomllib.TOMLDecodeError:
            if number - at >= _MOST_LINES:
                break  # the lines of what follows are not known
            continue
        with suppress(RecursionError):  # what is that deep is no key of ours
            for key in _keys(said, ()):
                found.setdefault(key, at)
        begun = ""
    return found


def _keys(said: Any, before: Key) -> Iterator[Key]:
    if isinstance(said, dict):
        for name, value in said.items():
            yield (*before, name)
            yield from _keys(value, (*before, name))
    elif isinstance(said, list):
        for value in said:
            yield from _keys(value, before)
