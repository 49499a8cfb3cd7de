"""What every error is, and the codes that sessions end with.

Responsible for: the root of the tree of errors; the codes.
Must not know: what can go wrong.
Invariant: what an error says is one line.
"""

from __future__ import annotations

from enum import IntEnum

from gossiplog.printable import brief


class ByeCode(IntEnum):
    """Why a session ends, as said in BYE; 64 and up are free for applications."""

    NORMAL = 0
    STOPPING = 1
    DUPLICATE = 2
    SELF = 3
    VERSION = 4
    MALFORMED = 5
    UNEXPECTED = 6
    TOO_LARGE = 7
    BAD_SEGMENT = 8
    BAD_SIGNATURE = 9
    BAD_FORK = 10
    LIMIT = 11
    TIMEOUT = 12
    REFUSED = 13
    INTERNAL = 14
    FULL = 15


class GossiplogError(Exception):
    """Base of everything gossiplog raises on purpose.

    What it says is one line and steers no terminal, whatever it quotes: it ends up in logs and tracebacks by itself.
    """

    def __str__(self) -> str:
        return brief(super().__str__())
