"""An address book as bytes.

Responsible for: :func:`dump`, :func:`load`.
Must not know: where the bytes are kept.
Invariant: whatever the bytes are, a book comes of them that keeps its limits; times are of the wall clock there, which
may have been wrong, or be: one that lies ahead counts as now, and an address that was met too long ago is tried once
more, as one that was told of.
"""

from __future__ import annotations

from typing import Any, Final

from msgpack import packb, unpackb

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.gossip.book import Book

KEPT_AS: Final = "book"
_VERSION: Final = 1
_NODE_BYTES: Final = 32


def dump(book: Book, now: float, wall: float) -> bytes:
    """Return what of ``book`` is worth keeping; ``now`` is the time of its clock, ``wall`` of that on the wall."""
    rows = []
    for known in book:
        at, (ip, port) = known.verified_at, known.address
        rows.append((ip, port, known.node, None if at is None else int(wall - (now - at)), known.is_shared))
    saved: bytes = packb((_VERSION, rows))
    return saved


def load(saved: bytes | None, book: Book, now: float, wall: float) -> None:
    """Put into ``book`` what was saved; what makes no sense is left out."""
    if saved is None:
        return
    try:
        version, rows = unpackb(saved, use_list=False)
    except (ValueError, TypeError):
        return
    if version != _VERSION or type(rows) is not tuple:
        return
    for row in rows[: limits.MAX_BOOK]:
        known = _read(row)
        if known is None:
            continue
        address, node, verified_wall, is_shared = known
        age = limits.FORGOTTEN_SECONDS if verified_wall is None else max(0.0, wall - verified_wall)
        if node is None or age >= limits.FORGOTTEN_SECONDS:
            book.heard(address, node, None, now)
        else:
            book.verified(address, node, now - age, is_shared=is_shared)


def _read(row: Any) -> tuple[Address, bytes | None, float | None, bool] | None:
    if type(row) is not tuple or len(row) != 5:
        return None
    ip, port, node, verified, is_shared = row
    is_address = type(ip) is bytes and len(ip) in (4, 16) and type(port) is int and 1 <= port <= 65535
    is_node = node is None or (type(node) is bytes and len(node) == _NODE_BYTES)
    is_time = verified is None or type(verified) is int
    if not (is_address and is_node and is_time and type(is_shared) is bool):
        return None
    return Address(ip, port), node, verified, is_shared
