"""Text that others wrote: the one place where it becomes fit for a terminal, a log and a line.

Responsible for: :func:`printable` and :func:`brief`.
Must not know: where the text comes from, nor where it goes to.
Invariant: what comes out is one line that steers no terminal, and coming here twice changes nothing more.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from gossiplog.limits import MAX_MARKS, MAX_PRINTED_CHARS

_JOINERS: Final = frozenset("\u200c\u200d")
"""Without these Persian words and family emoji fall apart."""

_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0")
"""Hangul fillers: letters to Unicode, and nothing to see."""


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that could steer a terminal, reorder a line or hide in it.

    That is controls (C0, DEL, C1), separators of lines and paragraphs, spaces but the common one, bidirectional and
    other format characters, lone surrogates, code points without a meaning, and combining marks that have no letter
    before them or pile up.  A joiner stays between two characters of a script that needs it; O(n).

    >>> printable("hi\\x1b[2J there\\n")
    'hi\\\\x1b[2J there\\\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = MAX_MARKS  # at the beginning there is nothing that a mark belongs to
    for place, char in enumerate(text):
        if char.isascii():
            stays = char.isprintable()
            marks = 0
        elif unicodedata.category(char) in ("Mn", "Me"):
            marks += 1
            stays = marks <= MAX_MARKS
        elif char in _JOINERS:
            before, after = text[place - 1 : place], text[place + 1 : place + 2]
            stays = marks < MAX_MARKS and shown[-1:] == [before] and _joins(before) and _joins(after)
        else:
            stays = char.isprintable() and char not in _BLANK
            marks = 0
        shown.append(char if stays else char.encode("unicode_escape").decode())
    return "".join(shown)


def brief(text: str) -> str:
    """Return :func:`printable` text of at most :data:`MAX_PRINTED_CHARS`, for lines in which it is one thing of many.

    >>> brief("x" * 10_000)[-30:]
    'xxxxxxxxxxxxxx... (10000 characters)'[-30:]
    """
    shown = printable(text[: MAX_PRINTED_CHARS + 1])
    if len(shown) <= MAX_PRINTED_CHARS:
        return shown
    end = f"... ({len(text)} characters)"
    return shown[: MAX_PRINTED_CHARS - len(end)] + end


def _joins(char: str) -> bool:
    """Whether a joiner may stand beside this character: one that is shown; scripts with capitals need none."""
    cased = unicodedata.category(char or " ") in ("Lu", "Ll", "Lt")
    return not (cased or char.isascii() or char in _BLANK) and char.isprintable()
