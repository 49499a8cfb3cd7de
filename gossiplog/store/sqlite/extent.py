"""How much of a database is there: holes in its files, and pages that only a write-ahead log claims.

Responsible for: finding files that say they are much larger than what was written to them.
Must not know: what the pages mean.
Invariant: nothing is read but where the holes are, and the heads of frames.

To compare a key SQLite reads all of it into memory, and how long it is says the page: up to the size of the file, and
pages may lead to each other without end.  So a file of 200 KB with a hole of two gigabytes would take two gigabytes.
"""

from __future__ import annotations

import os
from typing import Final

from gossiplog.store.folder import Folder
from gossiplog.store.sqlite.header import PAGE_BYTES

HOLES_BYTES: Final = 64 * 1024 * 1024
"""Holes that any file may have, or as much as it has of the rest: some programs copy zeros as holes."""

_MOST_HOLES: Final = 16_384


def holes_damage(folder: Folder, database: str) -> str:
    """Return what is wrong with a database and its write-ahead log if they are hardly there, else ``""``.  O(holes)."""
    for name in (database, f"{database}-wal"):
        if not folder.size(name):
            continue
        descriptor = folder.open(name)
        try:
            size, holes_bytes = os.fstat(descriptor).st_size, _holes_bytes(descriptor)
            if holes_bytes > max(HOLES_BYTES, size - holes_bytes):
                return f"most of {name} was never written; if a program made it so, `cp --sparse=never` undoes it"
        finally:
            os.close(descriptor)
    return ""


def has_room_for(folder: Folder, database: str, size: int) -> bool:
    """Tell whether a database and its write-ahead log have so many bytes in pages, which the log may claim."""
    return size <= (folder.size(database) or 0) + (folder.size(f"{database}-wal") or 0) + PAGE_BYTES


def _holes_bytes(descriptor: int) -> int:
    """How much of a file the system knows to be zeros; much, if that would take long to find out."""
    seek_hole, seek_data = getattr(os, "SEEK_HOLE", None), getattr(os, "SEEK_DATA", None)
    if seek_hole is None or seek_data is None:
        return 0
    end = os.fstat(descriptor).st_size
    at = holes_bytes = 0
    try:
        for _ in range(_MOST_HOLES):
            hole = os.lseek(descriptor, at, seek_hole)
            if hole >= end:
                return holes_bytes
            try:
                at = os.lseek(descriptor, hole, seek_data)
            except OSError:  # there is none behind it
                return holes_bytes + end - hole
            holes_bytes += at - hole
    except OSError:  # this file system does not tell
        return 0
    return end
