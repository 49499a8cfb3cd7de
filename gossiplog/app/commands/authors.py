"""What people type for an author.

Responsible for: finding the one that is meant among those that are known.
Must not know: who is known, or why.
Invariant: a text that could mean two authors means none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gossiplog.errors import InvalidValueError
from gossiplog.log.keys import format_author, parse_author

SHORTEST_PREFIX: Final = 4
"""Characters of an author's id that may stand for it."""


def find_author(
    known: Collection[bytes], text: str, otherwise: str = "the store holds no entry of it"
) -> bytes:
    """Return the author of a full id, or of the start of one, among those known; ``otherwise`` says why it is not."""
    if text.startswith("author_") or len(text) == 64:
        author = parse_author(text)
        if author not in known:
            raise InvalidValueError(f"unknown author {text}: {otherwise}")
        return author
    found = [one for one in known if format_author(one).partition("_")[2].startswith(text)]
    if len(text) < SHORTEST_PREFIX or len(found) != 1:
        reason = "it stands for several" if len(found) > 1 else otherwise
        raise InvalidValueError(f"unknown author {text!r}: {reason}")
    return found[0]
