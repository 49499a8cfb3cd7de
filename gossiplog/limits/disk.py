"""Limits of stores and disks."""

from __future__ import annotations

from typing import Final

DISK_PAGE_BYTES: Final = 16_384
"""A page of the database: eight hold a full segment; the same row in 4 KiB pages costs twice the time.  Whatever is a
little too large to share one has it for itself, and quotas count it so."""

AUTHOR_DISK_BYTES: Final = 130
"""What an author takes on disk beside its rows: 75 bytes in a table, 45 to 60 in its index.  Measured, as the next."""

AUTHOR_MEMORY_BYTES: Final = 560
"""What an author that is held takes in memory: its key, head, fingerprint, and what it takes on disk.  After a start it
is 480, just after 200,000 of them came 530 to 580, with what is remembered of who sent them."""

FORK_MEMORY_BYTES: Final = 340
"""What is added when it is known as forked."""

MAX_AUTHORS: Final = 1_000_000
"""Authors of others that a node takes if nothing else was chosen, and the machine has four times the memory for it."""

DISK_SHARE: Final = 0.9
"""Of the room that is free at the start, what all logs together may take if nothing else was chosen: appends of our own
writers, and whatever else is on that disk, find the rest."""

DISK_LOOK_SECONDS: Final = 10.0
"""While somebody is refused because that room is used up, until it is looked at again: a disk that was full at the
start may be empty now.  To look takes some microseconds."""
