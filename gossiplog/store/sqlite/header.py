"""The first page of the database file: what is always the same in it.

Responsible for: telling from its bytes, before SQLite looks at them, whether the file is ours and whether a bit of its
header turned over; the mark of our format.
Must not know: the tables; how a file is opened or mended.
Invariant: no flipped bit makes a file of ours look like one of another program, of another version or of other pages.
The mark says its version twice, so that two of them differ in two bits at least; and the definitions of our tables
stand in the first page, which nothing changes after it was made.  The other fields of the header do no harm, but for
those of the free pages, which SQLite's own check compares with these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gossiplog.limits import DISK_PAGE_BYTES

APPLICATION_ID: Final = int.from_bytes(b"glog", "big")
PAGE_BYTES: Final = DISK_PAGE_BYTES

HEADER_BYTES: Final = 100
LEAST_BYTES: Final = 512
"""SQLite takes a shorter file for an empty one."""

_LOW: Final = 0xFFFF


def mark(version: int) -> int:
    """Return what stands for a version of the format in the header (SQLite's ``user_version``)."""
    return version << 16 | version ^ _LOW


SCHEMA_VERSION: Final = 6
MARK: Final = mark(SCHEMA_VERSION)

_UNMARKED: Final = (1, 2, 3)
"""Versions that said their number once."""

_FIXED: Final = (
    (0, b"SQLite format 3\0", "what it begins with"),
    (16, PAGE_BYTES.to_bytes(2, "big"), "the size of a page"),
    (20, b"\0\x40\x20\x20", "how a page is used"),
    (52, (11).to_bytes(4, "big"), "the last page that a table begins with"),
    (56, (1).to_bytes(4, "big"), "the encoding of text"),
    (60, MARK.to_bytes(4, "big"), "the version"),
    (64, (1).to_bytes(4, "big"), "how free pages are given back"),
    (68, APPLICATION_ID.to_bytes(4, "big"), "the program"),
    (72, bytes(20), "what is not used"),
)
_JOURNALS: Final = (b"\1\1", b"\2\2")
_FORMATS: Final = (b"\0\0\0\1", b"\0\0\0\4")
"""What an SQLite may have been built to write."""


def version_of(page: bytes) -> int | None:
    """Return the version of our format that the header is marked with; ``None`` if that is no mark."""
    found = int.from_bytes(page[60:64], "big")
    version = found if found in _UNMARKED else found >> 16
    is_mark = found in _UNMARKED or found == mark(version)
    return version if is_mark and page[68:72] == APPLICATION_ID.to_bytes(4, "big") else None


def is_ours(page: bytes, definitions: Iterable[bytes]) -> bool:
    """Tell whether a first page has the definition of any of our tables, in pages of our size or of none."""
    size = int.from_bytes(page[16:18], "big")
    if size != PAGE_BYTES and size.bit_count() == 1 and (size == 1 or size >= LEAST_BYTES):
        return False  # no single bit makes one valid size of another
    return any(definition in page for definition in definitions)


def header_damage(page: bytes, file_bytes: int | None) -> str:
    """Return what is wrong with the header of a file of ours, ``""`` if nothing is.

    ``file_bytes`` is how large the file is when nothing that belongs to it is in a file beside it.
    """
    for place, value, meaning in _FIXED:
        if page[place : place + len(value)] != value:
            return meaning
    if page[18:20] not in _JOURNALS:
        return "the kind of its journal"
    if page[44:48] not in _FORMATS:
        return "the format of its rows"
    if file_bytes is not None and page[24:28] == page[92:96]:
        pages = int.from_bytes(page[28:32], "big")
        if pages != file_bytes // PAGE_BYTES:
            return "the number of its pages"
    return ""
