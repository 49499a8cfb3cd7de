"""Which journal a transaction goes by: the write-ahead log, or a rollback journal while much comes in.

Responsible for: going from one to the other and back.
Must not know: what is written.
Invariant: both keep a transaction whole through a power loss; the change from one to the other too.
"""

from __future__ import annotations

import sqlite3
from typing import Final

BULK_BYTES: Final = 96 * 1024
"""From this size on a rollback journal is better: the pages are new ones, written once instead of twice, and no
checkpoint of 4 MiB makes one commit in eight wait for 20 ms.  A small transaction takes four syncs then instead of
one."""

LARGE: Final = 16
MOST: Final = 2 * LARGE
"""A large transaction counts so much and a small one takes 1 away: the journal changes with the second large one in a
row, and back with the thirty-second small one.  A change takes 1 to 5 ms."""


class Journal:
    """I am the journal of one connection, which was opened with a write-ahead log."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Choose for ``connection``."""
        self._connection = connection
        self._mode = b"wal"
        self._level = 0

    def choose(self, size: int) -> None:
        """Make the next transaction, which adds ``size`` bytes of bodies, go by the right one; none may be open."""
        self._level = min(self._level + LARGE, MOST) if size >= BULK_BYTES else max(self._level - 1, 0)
        if self._mode == b"wal" and self._level == MOST:
            self._change("persist")
        elif not self._level:
            self.settle()

    def settle(self) -> None:
        """Go back to the write-ahead log, which leaves nothing beside the file when it is closed."""
        if self._mode != b"wal":
            self._change("wal")

    def _change(self, mode: str) -> None:
        self._mode = self._connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
